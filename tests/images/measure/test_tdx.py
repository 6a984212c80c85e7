from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from attestation.eventlog import log
from attestation.intel import evidence
from attestation.intel.report import TdReport
from images.measure import firmware, setup_header, tdvf, tdx
from images.measure.errors import FirmwareError, LaunchParameterError, MeasureError, PeError
from images.measure.firmware import Firmware
from images.measure.tdx import BootVariables, PageOrder, Platform
from tests import vectors
from tests.fakes import ovmf, pe

FIRMWARE = firmware.parse(ovmf.firmware())
ACPI = vectors.ROOT / "measure" / "tdx-canonical-defaults" / "acpi_tables.bin"


def slow_mrtd(image: Firmware, order: PageOrder) -> str:
    """Return MRTD of an image with the sections of `tests/fakes/ovmf.py`, written down a second time."""
    text = ""
    for offset, raw, gpa, size, _, attributes in ovmf.TDVF:
        pages = [
            (gpa + at, image.data[offset + at : offset + min(at + 4096, raw)]) for at in range(0, size, 4096)
        ]
        adds = [
            ("4d454d2e504147452e41444400000000" + at.to_bytes(8, "little").hex()).ljust(256, "0")
            for at, _ in pages
        ]
        extends = [
            "".join(
                ("4d522e455854454e4400000000000000" + (at + chunk).to_bytes(8, "little").hex()).ljust(
                    256, "0"
                )
                + data[chunk : chunk + 256].hex()
                for chunk in range(0, 4096, 256)
            )
            if attributes & 1
            else ""
            for at, data in pages
        ]
        if order is PageOrder.EACH_SECTION:
            text += "".join(adds) + "".join(extends)
        else:
            text += "".join(add + extend for add, extend in zip(adds, extends, strict=True))
    return hashlib.sha384(bytes.fromhex(text)).hexdigest()


@pytest.mark.parametrize("order", list(PageOrder))
@settings(max_examples=8, deadline=None)
@given(st.binary(max_size=8))
def test_mrtd_is_that_of_the_slow_implementation(order: PageOrder, seed: bytes) -> None:
    image = firmware.parse(ovmf.firmware(seed=seed))
    assert tdx.mrtd(image, order).hex() == slow_mrtd(image, order)


def test_orders_of_pages_have_different_digests() -> None:
    assert len({tdx.mrtd(FIRMWARE, order) for order in PageOrder}) == 2


def test_pages_that_are_added_later_do_not_count() -> None:
    later = (*ovmf.TDVF, (0, 0, 0x900000, 0x1000, 3, 2))
    image = firmware.parse(ovmf.firmware(tdx=ovmf.tdx_metadata(later)))
    assert [section.added for section in tdvf.sections(image)] == [True, True, True, True, False]
    assert tdx.mrtd(image).hex() == slow_mrtd(image, PageOrder.EACH_PAGE)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ((0, 0, 0x900000, 0x1000, 4, 0), "kind 4, want 0 to 3"),
        ((0, 0, 0x900000, 0x1000, 3, 4), "attributes 0x4"),
        ((0, 0, 0x900001, 0x1000, 3, 0), "whole pages"),
        ((0, 0, 0x900000, 0x1001, 3, 0), "whole pages"),
        ((0, 0, 0x900000, 0, 3, 0), "at least one"),
        ((0, 0, 1 << 40, 0x1000, 3, 0), "below 4 GiB"),
        ((0, 0, 0xFFFF_FFFF_FFFF_F000, 0x1000, 3, 0), "below 4 GiB"),
        ((0, 0x1000, 0x900000, 0x1000, 3, 0), "nothing in the image"),
        ((0, 0x1000, 0x900000, 0x2000, 0, 0), "all of a volume"),
        ((0, 0x2000, 0x900000, 0x1000, 0, 0), "inside the image"),
        ((0xF001, 0x1000, 0x900000, 0x1000, 0, 0), "inside the image"),
        ((0xFFFFFFFF, 0x1000, 0x900000, 0x1000, 0, 0), "inside the image"),
        ((0, 0, 0x900000, 0x1000, 3, 3), "one of both"),
        ((0, 0, 0x810000, 0x1000, 3, 0), "two at 0x810000"),
        ((0, 0, 0x20000000, 0x10000000, 3, 0), "want at most 65536"),
    ],
)
def test_section_that_cannot_be_launched_is_refused(row: tuple[int, ...], match: str) -> None:
    image = firmware.parse(ovmf.firmware(tdx=ovmf.tdx_metadata((*ovmf.TDVF, row))))
    with pytest.raises(FirmwareError, match=match):
        tdx.mrtd(image)


@pytest.mark.parametrize(
    "header",
    [{"signature": b"TDXF"}, {"version": 2}, {"count": 5}, {"count": 3}, {"count": 1 << 31}, {"size": 0}],
)
def test_header_of_the_metadata_is_checked(header: dict[str, int | bytes]) -> None:
    image = firmware.parse(ovmf.firmware(tdx=ovmf.tdx_metadata(ovmf.TDVF, **header)))
    with pytest.raises(FirmwareError, match=r"TDX metadata\.header"):
        tdx.mrtd(image)


def test_firmware_without_metadata_or_without_measured_sections_is_refused() -> None:
    with pytest.raises(FirmwareError, match="no TDX metadata"):
        tdx.mrtd(firmware.parse(ovmf.firmware(entries={ovmf.TDX: None})))
    with pytest.raises(FirmwareError, match="else any firmware has this digest"):
        tdx.mrtd(firmware.parse(ovmf.firmware(tdx=ovmf.tdx_metadata(ovmf.TDVF[1:]))))


def test_configuration_volume_must_be_one() -> None:
    assert tdvf.configuration_volume(FIRMWARE) == FIRMWARE.data[:0x4000]
    with pytest.raises(FirmwareError, match="0 configuration volumes"):
        tdvf.configuration_volume(firmware.parse(ovmf.firmware(tdx=ovmf.tdx_metadata(ovmf.TDVF[::2]))))


def test_registers_of_a_real_domain_are_reproduced() -> None:
    """A real quote signs the registers; its log has digests of what only that machine has."""
    case = next((case for case in vectors.load("ccel") if case.id == "eventlog/ccel-live"), None)
    if case is None:
        pytest.skip(vectors.ABSENT)
    report = evidence.parse(case.read("quote")).report
    assert isinstance(report, TdReport)
    events = log.parse(case.read("log")).events
    platform, programs = ([e.digests["sha384"] for e in events if e.register == number] for number in (1, 2))
    acpi = tuple(e.digests["sha384"] for e in events if e.data == b"ACPI DATA")
    assert tdx.rtmr0_of_digests(platform[0], platform[1], acpi) == report.rtmrs[0]
    assert tdx.rtmr0_of_digests(platform[0], platform[1], acpi, BootVariables.FIRST) != report.rtmrs[0]
    assert tdx.rtmr1_of_digest(programs[0]) == report.rtmrs[1]


def test_rtmr0_takes_digests_of_what_the_monitor_gave() -> None:
    if not ACPI.is_file():
        pytest.skip(vectors.ABSENT)
    given_files = (b"hob", b"loader", b"rsdp", ACPI.read_bytes())
    digests = [hashlib.sha384(data).digest() for data in given_files]
    volume = hashlib.sha384(FIRMWARE.data[:0x4000]).digest()
    expected = tdx.rtmr0_of_digests(digests[0], volume, tuple(digests[1:]))
    assert tdx.rtmr0(FIRMWARE, Platform(*given_files)) == expected
    for number in range(4):
        changed = [data + b"x" if at == number else data for at, data in enumerate(given_files)]
        assert tdx.rtmr0(FIRMWARE, Platform(*changed)) != expected


def extend(*events: bytes) -> bytes:
    value = bytes(48)
    for event in events:
        value = hashlib.sha384(value + hashlib.sha384(event).digest()).digest()
    return value


def test_rtmr2_is_command_line_and_initrd() -> None:
    line = "a b initrd=initrd\0".encode("utf-16-le")
    assert tdx.rtmr2(b"initrd", b"a b") == extend(line, b"initrd")
    assert tdx.rtmr2(b"", b"a b") == extend("a b\0".encode("utf-16-le"))
    assert tdx.rtmr2(b"", b"") == bytes(48)


@pytest.mark.parametrize("line", [b"\xc3\xa4", b"\xff", b"a\0b", b"\0"])
def test_command_line_that_firmware_would_change_is_refused(line: bytes) -> None:
    with pytest.raises(LaunchParameterError, match="ASCII without zero bytes"):
        tdx.rtmr2(b"", line)


def test_rtmr1_needs_a_kernel() -> None:
    assert tdx.rtmr1(pe.image([(".text", b"kernel")])) != tdx.rtmr1(pe.image([(".text", b"Kernel")]))
    for data in (b"", b"\x7fELF", b"MZ"):
        with pytest.raises(PeError):
            tdx.rtmr1(data)


def bzimage(**fields: int) -> bytes:
    kernel = bytearray(pe.image([(".text", bytes(0x1000))], fields={"headers": 0x400}).ljust(0x2000, b"\0"))
    values = {"protocol": 0x20F, "flags": 1, "xloadflags": 3, "initrd_addr_max": 0x7FFFFFFF} | fields
    kernel[0x202:0x206] = b"HdrS"
    kernel[0x206:0x208] = values["protocol"].to_bytes(2, "little")
    kernel[0x211] = values["flags"]
    kernel[0x22C:0x230] = values["initrd_addr_max"].to_bytes(4, "little")
    kernel[0x236:0x238] = values["xloadflags"].to_bytes(2, "little")
    return bytes(kernel)


@pytest.mark.parametrize(
    ("memory", "fields", "address"),
    [
        (0x40000000, {}, 0x3FFD7000 - 0x1000),
        (0x40000000, {"xloadflags": 0, "initrd_addr_max": 0x37FFFFFF}, 0x37FFE000),
        (0x100000000, {}, 0x7FFD7000 - 0x1000),
        (0xAFFFF000, {}, 0xAFFD6000 - 0x1000),
    ],
)
def test_old_qemu_writes_into_the_header(memory: int, fields: dict[str, int], address: int) -> None:
    kernel = bzimage(**fields)
    found = setup_header.patched(kernel, 0x1001, memory)
    differing = [at for at in range(len(kernel)) if kernel[at] != found[at]]
    assert set(differing) <= {0x210, 0x211, *range(0x218, 0x220), 0x224, 0x225, *range(0x228, 0x22C)}
    assert (found[0x210], found[0x211], found[0x224:0x226], found[0x228:0x22C]) == (
        0xB0,
        0x81,
        b"\0\xfe",
        b"\0\0\2\0",
    )
    assert int.from_bytes(found[0x218:0x21C], "little") == address
    assert int.from_bytes(found[0x21C:0x220], "little") == 0x1001


def test_initrd_of_whole_pages_ends_below_the_last_byte() -> None:
    found = setup_header.patched(bzimage(), 0x1000, 0x40000000)
    assert int.from_bytes(found[0x218:0x21C], "little") == 0x40000000 - 0x28000 - 0x2000


def test_kernel_that_qemu_would_load_otherwise_is_refused() -> None:
    for kernel in (b"", bytes(0x300), bzimage(protocol=0x20B), bzimage(flags=0)):
        with pytest.raises(PeError, match=r"kernel\.header"):
            setup_header.patched(kernel, 0, 1 << 30)
    with pytest.raises(LaunchParameterError, match="room for an initrd"):
        setup_header.patched(bzimage(), 1 << 30, 1 << 30)


@given(st.binary(max_size=600))
def test_only_our_error_escapes(data: bytes) -> None:
    try:
        tdx.rtmr1(data)
        setup_header.patched(data, len(data), 1 << 30)
    except MeasureError as error:
        assert error.want


def test_kernel_of_debian_is_read() -> None:
    kernels = sorted(Path("/boot").glob("vmlinuz-*"))
    if not kernels:
        pytest.skip("no kernel in /boot (apt install linux-image-cloud-amd64)")
    kernel = kernels[-1].read_bytes()
    assert tdx.rtmr1(kernel) != tdx.rtmr1(setup_header.patched(kernel, 0, 1 << 30))
