"""Unified kernel images: what is in them, where, and of what none is made."""

from __future__ import annotations

import itertools
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images import pe_sections, uki
from images.boot_errors import BootImageError, CommandLineError, KernelError, StubError
from images.measure import pcr, pe, uki as unified
from images.pe_sections import NewSection
from images.uki import Parts
from tests import guest, measured_boot
from tests.broken import manipulate
from tests.fakes import pe as fakes
from tests.fakes.bzimage import LIMIT, RELEASE, kernel
from tests.fakes.pe import ORIGINAL, stub

KERNEL = kernel()
PARTS = Parts(KERNEL, b"070701" * 101, "console=ttyS0 quiet", b"ID=shim\n")
PE, OPTIONAL = 64, 64 + 24


STUB = stub()


def contents(data: bytes) -> dict[str, bytes]:
    image = pe.parse(data)
    return {section.name: image.contents(section) for section in image.sections}


def test_what_was_given_is_inside() -> None:
    found = contents(uki.image(STUB, PARTS))
    expected = {
        **dict(ORIGINAL),
        ".osrel": b"ID=shim\n",
        ".cmdline": b"console=ttyS0 quiet",
        ".uname": RELEASE.encode(),
        ".initrd": PARTS.initrd,
        ".linux": KERNEL,
    }
    assert found == expected
    assert list(found) == list(expected)
    assert unified.parse(uki.image(STUB, PARTS)).stub == 257


def test_parts_that_are_empty_have_no_section() -> None:
    found = contents(uki.image(STUB, Parts(KERNEL, b"", "", b"ID=x")))
    assert ".initrd" not in found
    assert ".cmdline" not in found


def test_the_stub_itself_stays_but_for_what_counts_sections() -> None:
    made = uki.image(STUB, PARTS)
    changed = {at for at in range(len(STUB)) if STUB[at] != made[at]}
    table = OPTIONAL + 240 + 40 * len(ORIGINAL)
    counts = {PE + 6, *range(OPTIONAL + 8, OPTIONAL + 12), *range(OPTIONAL + 56, OPTIONAL + 60)}
    assert changed <= {*counts, *range(OPTIONAL + 64, OPTIONAL + 68), *range(table, table + 5 * 40)}
    assert struct.unpack_from("<H", made, PE + 6)[0] == len(ORIGINAL) + 5
    # SizeOfInitializedData grows by what was added.
    added = sum(map(len, (PARTS.os_release, PARTS.command_line, RELEASE, PARTS.initrd, KERNEL)))
    assert struct.unpack_from("<I", made, OPTIONAL + 8)[0] == added


def test_sections_do_not_touch_in_memory_or_in_the_file() -> None:
    image = pe.parse(uki.image(STUB, PARTS))
    end_in_file, end_in_memory = image.headers, 0
    for section in image.sections:
        assert section.offset == end_in_file
        assert section.address >= end_in_memory
        end_in_file = section.offset + section.size
        end_in_memory = section.address + section.virtual_size
    assert all(section.address % 4096 == 0 for section in image.sections[len(ORIGINAL) :])
    assert end_in_file == len(image.data)
    size = struct.unpack_from("<I", image.data, OPTIONAL + 56)[0]
    assert size % 4096 == 0
    assert end_in_memory <= size < end_in_memory + 4096


def summed(data: bytes, at: int) -> int:
    """Add words one by one, as IMAGHELP.DLL does."""
    total = 0
    whole = data[:at] + bytes(4) + data[at + 4 :]
    for place in range(0, len(whole), 2):
        total += int.from_bytes(whole[place : place + 2], "little")
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(data)


@given(st.binary(min_size=8, max_size=300), st.integers(0, 2))
def test_checksum_is_the_sum_of_words(data: bytes, place: int) -> None:
    assert pe_sections.checksum(data, 2 * place) == summed(data, 2 * place)


def test_checksum_of_zeros_and_of_a_full_sum() -> None:
    for data in (bytes(8), bytes(4) + b"\xff\xff" * 3, bytes(4) + b"\x01\x00\xfe\xff"):
        assert pe_sections.checksum(data, 0) == summed(data, 0)
    made = uki.image(STUB, PARTS)
    assert struct.unpack_from("<I", made, OPTIONAL + 64)[0] == summed(made, OPTIONAL + 64)


# --- symbols at the end of the stub


def with_symbols(count: int, strings: bytes, *, at: int | None = None, behind: bytes = b"") -> bytes:
    data = bytearray(STUB + b"symbol of 18 bytes" * count + strings + behind)
    struct.pack_into("<II", data, PE + 12, len(STUB) if at is None else at, count)
    return bytes(data)


STRINGS = struct.pack("<I", 12) + b"a_symbol"


def test_symbols_at_the_end_are_left_out() -> None:
    made = uki.image(with_symbols(3, STRINGS), PARTS)
    assert struct.unpack_from("<II", made, PE + 12) == (0, 0)
    assert struct.unpack_from("<H", made, PE + 22)[0] & 0x8
    assert b"symbol of" not in made
    assert contents(made) == contents(uki.image(STUB, PARTS))


@pytest.mark.parametrize(
    "data",
    [
        with_symbols(3, STRINGS, behind=b"more"),
        with_symbols(3, struct.pack("<I", 4) + b"a_symbol"),
        with_symbols(3, STRINGS, at=1),
        with_symbols(0, b"something that is no symbol"),
    ],
)
def test_anything_else_at_the_end_stays(data: bytes) -> None:
    made = uki.image(data, PARTS)
    assert made[len(STUB) : len(data)] == data[len(STUB) :]
    assert struct.unpack_from("<II", made, PE + 12) == struct.unpack_from("<II", data, PE + 12)
    assert contents(made) == contents(uki.image(STUB, PARTS))


# --- of what no image is made


SIGNED = bytearray(STUB + b"signature" * 8)
struct.pack_into("<II", SIGNED, OPTIONAL + 112 + 32, len(STUB), 72)
FULL = bytearray(STUB)
FULL[OPTIONAL + 240 + 40 * len(ORIGINAL) + 100] = 1


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "stub: PE image"),
        (b"\x7fELF".ljust(500, b"\0"), "stub: PE image"),
        (stub(machine=0xAA64), "stub.machine"),
        (stub(machine=0x14C), "stub.machine"),
        (stub(subsystem=11), "stub.subsystem"),
        (stub(subsystem=2), "stub.subsystem"),
        (bytes(SIGNED), "stub.signatures"),
        (stub(alignments=(4096, 0)), "stub.alignment"),
        (stub(alignments=(4096, 511)), "stub.alignment"),
        (stub(alignments=(0, 512)), "stub.alignment"),
        (stub(alignments=(1 << 31, 512)), "stub.alignment"),
        (stub(alignments=(4096, 1 << 30)), "stub.alignment"),
        (stub(alignments=(4096, 1024)), "stub..sdmagic"),
        (stub(room=512), "stub.section table"),
        (bytes(FULL), "stub.section table"),
        (stub((*ORIGINAL, (".linux", b"x"))), "stub..linux"),
        (stub((*ORIGINAL, (".osrel", b"x"))), "stub..osrel"),
        (stub((*ORIGINAL, (".cmdline", b"x"))), "stub..cmdline"),
        (uki.image(STUB, PARTS), "stub..osrel"),
    ],
)
def test_stubs_that_no_image_can_be_made_of(data: bytes, where: str) -> None:
    with pytest.raises(StubError) as caught:
        uki.image(data, PARTS)
    assert caught.value.where == where


def test_a_32_bit_program_is_refused() -> None:
    with pytest.raises(StubError, match="machine"):
        uki.image(fakes.image(ORIGINAL, magic=0x10B), PARTS)


def test_room_is_counted() -> None:
    with pytest.raises(StubError) as caught:
        uki.image(stub(room=512), PARTS)
    assert (caught.value.found, caught.value.want) == ("room for 1 more sections", "room for 5")


@pytest.mark.parametrize("sections", [[NewSection(".linux", b"")], [NewSection(".too-long", b"x")], [NewSection("", b"x")], [NewSection(".\u00e4", b"x")], [NewSection(".a", b"x"), NewSection(".a", b"y")]])  # fmt: skip
def test_sections_that_no_table_can_hold(sections: list[NewSection]) -> None:
    with pytest.raises(StubError):
        pe_sections.with_sections(STUB, sections)


def test_what_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pe, "MAXIMUM_SIZE", 1 << 16)
    with pytest.raises(StubError, match="at most 65536"):
        pe_sections.with_sections(STUB, [NewSection(".a", bytes(1 << 16))])


def test_addresses_beyond_what_is_allowed_are_refused() -> None:
    high = bytearray(STUB)
    struct.pack_into("<I", high, OPTIONAL + 240 + 12, 0xFFFF_F000)
    with pytest.raises(StubError, match="at most"):
        uki.image(bytes(high), PARTS)


@pytest.mark.parametrize(
    ("parts", "error", "where"),
    [
        (Parts(b"MZ", b"", "", b"ID=x"), KernelError, "kernel.header"),
        (Parts(kernel(machine=0x14C), b"", "", b"ID=x"), KernelError, "kernel.EFI stub"),
        (Parts(b"\0\0" + KERNEL[2:], b"", "", b"ID=x"), KernelError, "kernel.EFI stub"),
        (Parts(KERNEL, b"", "x" * (LIMIT + 1), b"ID=x"), CommandLineError, "command line"),
        (Parts(KERNEL, b"", "a\nb", b"ID=x"), CommandLineError, "command line"),
        (Parts(KERNEL, b"", "", b""), BootImageError, "os-release"),
        (Parts(KERNEL, b"", "", b" \n"), BootImageError, "os-release"),
        (Parts(KERNEL, b"", "", b"ID=\xff"), BootImageError, "os-release"),
        (Parts(KERNEL, b"", "", b"ID=\0"), BootImageError, "os-release"),
    ],
)
def test_parts_that_no_image_can_be_made_of(parts: Parts, error: type[Exception], where: str) -> None:
    with pytest.raises(error) as caught:
        uki.image(STUB, parts)
    assert isinstance(caught.value, BootImageError)
    assert caught.value.where == where


def test_no_prefix_of_a_stub_is_one() -> None:
    for prefix in manipulate.every_proper_prefix(STUB):
        with pytest.raises(StubError):
            uki.image(prefix, PARTS)


@given(st.binary(max_size=700), st.integers(0, 600))
def test_only_our_error_escapes(data: bytes, place: int) -> None:
    for attempt in (data, STUB[:place] + data + STUB[place + len(data) :]):
        try:
            made = uki.image(attempt, PARTS)
        except StubError as error:
            assert error.want
        else:
            assert contents(made)[".linux"] == KERNEL


def test_an_absent_stub_says_which_package_has_it(tmp_path: Path) -> None:
    with pytest.raises(StubError, match="systemd-boot-efi"):
        uki.found_stub(tmp_path)
    path = tmp_path / uki.STUB
    path.parent.mkdir(parents=True)
    path.write_bytes(STUB)
    assert uki.found_stub(tmp_path) == path


# --- the real stub and a real kernel


@pytest.fixture
def real(tmp_path: Path) -> tuple[bytes, dict[str, Path]]:
    """Return an image of Debian's stub and kernel, and its parts as files, as objcopy wants them."""
    linux, lacking = guest.kernel(), [tool for tool in ("objcopy", "objdump") if shutil.which(tool) is None]
    if lacking or not measured_boot.STUB.is_file():
        pytest.skip(f"no {', '.join(lacking) or measured_boot.STUB} ({measured_boot.PACKAGES})")
    release = linux.name.removeprefix("vmlinuz-")
    texts = {".osrel": "ID=shim\n", ".cmdline": "console=ttyS0 quiet", ".uname": release, ".initrd": "0707"}
    files = {name: tmp_path / name for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    parts = Parts(linux.read_bytes(), b"0707", texts[".cmdline"], texts[".osrel"].encode())
    made = uki.image(uki.found_stub(Path("/")).read_bytes(), parts)
    return made, {**files, ".linux": linux}


def test_objcopy_makes_the_same_of_the_real_stub(real: tuple[bytes, dict[str, Path]], tmp_path: Path) -> None:
    made, files = real
    other = measured_boot.unified(tmp_path, files).read_bytes()
    assert contents(made) == contents(other)
    ours, theirs = unified.parse(made), unified.parse(other)
    for register in (pcr.kernel_inputs, pcr.image_contents):
        assert register(ours, "sha256") == register(theirs, "sha256")


def test_objdump_reads_it(real: tuple[bytes, dict[str, Path]], tmp_path: Path) -> None:
    path = tmp_path / "made.efi"
    path.write_bytes(real[0])
    shown = subprocess.run(
        ["objdump", "-h", str(path)], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    )
    assert shown.stderr == ""
    rows = re.findall(r"^\s*\d+\s+(\S+)\s+([0-9a-f]+)\s+([0-9a-f]+)", shown.stdout, re.MULTILINE)
    sizes = {name: int(size, 16) for name, size, _ in rows}
    assert {name: path.stat().st_size for name, path in real[1].items()}.items() <= sizes.items()
    places = [(int(at, 16), int(at, 16) + int(size, 16)) for _, size, at in rows]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))


def test_osslsigncode_agrees_with_the_checksum(real: tuple[bytes, dict[str, Path]], tmp_path: Path) -> None:
    if shutil.which("osslsigncode") is None:
        pytest.skip("no osslsigncode (apt install osslsigncode)")
    path = tmp_path / "made.efi"
    for data, agrees in ((real[0], True), (real[0][:-1] + bytes([real[0][-1] ^ 1]), False)):
        path.write_bytes(data)
        shown = subprocess.run(
            ["osslsigncode", "verify", "-in", str(path)], capture_output=True, text=True, check=False
        )
        assert ("invalid PE checksum" not in shown.stdout + shown.stderr) == agrees, shown.stdout
        assert "PE checksum" in shown.stdout
