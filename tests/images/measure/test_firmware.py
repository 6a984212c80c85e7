from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images.measure import firmware, sev_metadata, tdvf
from images.measure.errors import FirmwareError, KernelHashesError, MeasureError
from images.measure.sev_metadata import SectionKind
from tests.broken import manipulate
from tests.fakes import ovmf

DEBIAN = Path("/usr/share/ovmf/OVMF.fd")


def sections(sev: bytes) -> tuple[sev_metadata.Section, ...]:
    return sev_metadata.sections(firmware.parse(ovmf.firmware(sev)))


def test_table_and_metadata_are_read() -> None:
    read = firmware.parse(ovmf.firmware())
    assert (read.gpa, read.end) == (0xFFFF0000, 1 << 32)
    assert [(s.gpa, s.size, int(s.kind)) for s in sev_metadata.sections(read)] == list(ovmf.AMD_SEV)
    assert sev_metadata.reset_address(read) == ovmf.AP_ADDRESS
    assert sev_metadata.hash_table_address(read) == ovmf.HASH_AREA[0]


def test_debians_firmware_is_read() -> None:
    if not DEBIAN.is_file():
        pytest.skip(f"no {DEBIAN} (apt install ovmf)")
    read = firmware.parse(DEBIAN.read_bytes())
    kinds = {section.kind for section in sev_metadata.sections(read)}
    assert {SectionKind.SEC_MEM, SectionKind.SECRETS, SectionKind.CPUID} <= kinds
    assert any(section.measured for section in tdvf.sections(read))
    with pytest.raises(KernelHashesError, match="an empty area"):
        sev_metadata.hash_table_address(read)


@pytest.mark.parametrize("size", [0, 1, 4095, 4097, firmware.MAXIMUM_SIZE + 4096])
def test_image_that_is_no_whole_pages_or_too_large_is_refused(size: int) -> None:
    with pytest.raises(FirmwareError, match="whole pages"):
        firmware.parse(bytes(size))


def test_image_without_a_table_is_refused() -> None:
    with pytest.raises(FirmwareError, match="no table at its end"):
        firmware.parse(bytes(0x10000))


@pytest.mark.parametrize("size", [0, 17, 19, 35, 0xFFFF])
def test_table_of_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(FirmwareError):
        sev_metadata.sections(firmware.parse(ovmf.firmware(table_size=size)))


def test_entry_that_stands_twice_is_refused() -> None:
    image = bytearray(ovmf.firmware(entries={ovmf.SVSM: b"\1\0\0\0"}))
    at = image.rindex(ovmf.entry(ovmf.SVSM, b"")[2:])
    image[at : at + 16] = ovmf.entry(ovmf.RESET, b"")[2:]
    with pytest.raises(FirmwareError, match="a second entry"):
        firmware.parse(bytes(image))


def test_entry_that_reaches_beyond_the_table_is_refused() -> None:
    image = bytearray(ovmf.firmware())
    at = image.rindex(ovmf.entry(ovmf.TDX, b"")[2:])
    image[at - 2 : at] = struct.pack("<H", 0x1000)
    with pytest.raises(FirmwareError, match="4096 bytes, want 18 to"):
        firmware.parse(bytes(image))


@pytest.mark.parametrize(
    ("guid", "data", "match"),
    [
        (ovmf.SEV, None, "no SEV metadata"),
        (ovmf.SEV, b"\0\0", "2 bytes, want at least 4"),
        (ovmf.SEV, struct.pack("<I", 0x10001), "a start at -1"),
        (ovmf.SEV, struct.pack("<I", 15), "a start at"),
        (ovmf.SEV, struct.pack("<I", 0x8000), "want b'ASEV' version 1"),
    ],
)
def test_place_of_the_metadata_is_checked(guid: str, data: bytes | None, match: str) -> None:
    with pytest.raises(FirmwareError, match=match):
        sev_metadata.sections(firmware.parse(ovmf.firmware(entries={guid: data})))


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"signature": b"ASEX"}, "ASEX"),
        ({"version": 2}, "version 2"),
        ({"count": 6}, "with 6 sections"),
        ({"count": 8}, "with 8 sections"),
        ({"count": 0xFFFFFFFF}, "sections, want"),
        ({"size": 99}, "99 bytes"),
        ({"size": 0xFFFFFFFF}, "4294967295 bytes"),
    ],
)
def test_header_of_the_metadata_is_checked(header: dict[str, int | bytes], match: str) -> None:
    with pytest.raises(FirmwareError, match=match):
        sections(ovmf.sev_metadata(ovmf.AMD_SEV, **header))


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ((0x900000, 0x1000, 5), "kind 0x5, want one of 0x1, 0x2, 0x3, 0x4, 0x10"),
        ((0x900000, 0x1000, 0), "kind 0x0"),
        ((0x900001, 0x1000, 1), "whole pages"),
        ((0x900000, 0x1001, 1), "whole pages"),
        ((0x900000, 0, 1), "at least one"),
        ((0xFFFFF000, 0x2000, 1), "below 4 GiB"),
        ((0x900000, 0x2000, 2), "one page for SECRETS"),
        ((0x900000, 0x2000, 3), "one page for CPUID"),
        ((0x900000, 0x5000000, 1), "want at most 16384"),
        ((0x900000, 0x1000, 0x10), "several for kernel hashes"),
        ((0x808000, 0x1000, 1), "two at 0x808000"),
        ((0x800000, 0x1000, 1), "two at 0x800000"),
        ((0x7FF000, 0x2000, 1), "two at 0x800000"),
    ],
)
def test_section_that_cannot_be_launched_is_refused(row: tuple[int, int, int], match: str) -> None:
    with pytest.raises(FirmwareError, match=match):
        sections(ovmf.sev_metadata((*ovmf.AMD_SEV, row)))


@pytest.mark.parametrize(
    ("area", "match"),
    [
        (None, "no such entry"),
        (struct.pack("<II", 0, 0), r"an empty area \(0x0, 0 bytes\)"),
        (struct.pack("<II", 0, 0x400), "an empty area"),
        (struct.pack("<II", 0x810C00, 0), "an empty area"),
        (struct.pack("<II", 0x810C00, 175), "a small area"),
    ],
)
def test_empty_area_for_kernel_hashes_is_refused(area: bytes | None, match: str) -> None:
    with pytest.raises(KernelHashesError, match=match):
        sev_metadata.hash_table_address(firmware.parse(ovmf.firmware(entries={ovmf.HASHES: area})))


@pytest.mark.parametrize("address", [0x80FC00, 0x811000, 0x810F51, 0x900C00])
def test_area_outside_its_section_is_refused(address: int) -> None:
    read = firmware.parse(ovmf.firmware(entries={ovmf.HASHES: struct.pack("<II", address, 0x400)}))
    place = next(s for s in sev_metadata.sections(read) if s.kind is SectionKind.KERNEL_HASHES)
    with pytest.raises(KernelHashesError, match="inside the section"):
        sev_metadata.hash_table_offset(read, place)


def test_reset_block_must_say_something() -> None:
    for data in (None, bytes(4), b"\1"):
        with pytest.raises(FirmwareError, match="SEV-ES reset block"):
            sev_metadata.reset_address(firmware.parse(ovmf.firmware(entries={ovmf.RESET: data})))


@given(st.binary(max_size=4096), st.integers(0, 0x400 - 1))
def test_only_our_error_escapes_from_damage(damage: bytes, place: int) -> None:
    image = bytearray(ovmf.firmware())
    start = max(0, len(image) - 0x400 - 600 + place)
    image[start : start + len(damage)] = damage[: len(image) - start]
    _read_all(bytes(image))


def test_only_our_error_escapes_from_flipped_bits() -> None:
    image = ovmf.firmware(size=0x2000)
    for damaged in manipulate.one_bit_in_each_byte(image, len(image) - 0x400 - 260, len(image)):
        _read_all(damaged)


def _read_all(image: bytes) -> None:
    try:
        read = firmware.parse(image)
    except FirmwareError:
        return
    for reader in (
        sev_metadata.sections,
        sev_metadata.reset_address,
        sev_metadata.hash_table_address,
        tdvf.sections,
    ):
        try:
            reader(read)
        except MeasureError as error:
            assert error.want
