"""What must be in the memory of an SEV-SNP guest before its firmware runs, and where?"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from enum import IntEnum

from images.measure.errors import FirmwareError, KernelHashesError
from images.measure.firmware import FOUR_GIB, HASH_TABLE, PAGE, RESET_BLOCK, SEV_METADATA, Firmware
from images.measure.kernel_hashes import TABLE_SIZE

SOURCE = "edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm, edk2-stable202505"
_HEADER = struct.Struct("<4sIII")  # signature, size with this, version, number of sections
_SECTION = struct.Struct("<III")  # address, size, kind
_SIGNATURE, _VERSION = b"ASEV", 1
MAXIMUM_SECTIONS = 64
MAXIMUM_PAGES = 1 << 14  # 64 MiB; OVMF has 48 pages


class SectionKind(IntEnum):
    """What is put into a section."""

    SEC_MEM = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


_ONE_PAGE = frozenset({SectionKind.SECRETS, SectionKind.CPUID})


@dataclass(frozen=True, slots=True)
class Section:
    """Pages at a guest physical address, `size` in bytes."""

    gpa: int
    size: int
    kind: SectionKind


def sections(firmware: Firmware) -> tuple[Section, ...]:
    """
    Return the sections in the order in which they are measured.

    Raises:
        FirmwareError: there are none, or they contradict each other or what a launch can do: sections
            without pages, outside 4 GiB or on top of each other cannot be launched.

    Source:
        edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm, edk2-stable202505; what each kind means: QEMU 10.0,
        target/i386/sev.c, snp_populate_metadata_pages().
    """
    if SEV_METADATA not in firmware.table:
        want = f"entry {SEV_METADATA}, as a build of OVMF with SEV-SNP has it"
        raise FirmwareError("firmware", "no SEV metadata", want, SOURCE)
    start = len(firmware.data) - firmware.number(SEV_METADATA, "SEV metadata")
    if not 0 <= start <= len(firmware.data) - _HEADER.size:
        raise _wrong("offset", f"a start at {start}", f"0 to {len(firmware.data) - _HEADER.size}")
    signature, size, version, count = _HEADER.unpack_from(firmware.data, start)
    if signature != _SIGNATURE or version != _VERSION:
        found = f"{signature!r} version {version}"
        raise _wrong("header", found, f"{_SIGNATURE!r} version {_VERSION}")
    if count > MAXIMUM_SECTIONS or size != _HEADER.size + count * _SECTION.size:
        raise _wrong("header", f"{size} bytes with {count} sections", "12 bytes each, and 16")
    if start + size > len(firmware.data):
        raise _wrong("header", f"an end at {start + size}", f"at most {len(firmware.data)}")
    rows = _SECTION.iter_unpack(firmware.data[start + _HEADER.size : start + size])
    found_sections = tuple(_section(number, *row) for number, row in enumerate(rows))
    _check_together(found_sections)
    return found_sections


def reset_address(firmware: Firmware) -> int:
    """
    Return where all processors but the first start.

    Raises:
        FirmwareError: the firmware does not say.
    """
    address = firmware.number(RESET_BLOCK, "SEV-ES reset block")
    if address == 0:
        raise FirmwareError("firmware.SEV-ES reset block", "address 0", "where processors start", SOURCE)
    return address


def hash_table_address(firmware: Firmware) -> int:
    """
    Return the guest physical address of the area for hashes of kernel, initrd and command line.

    Raises:
        KernelHashesError: there is none, or it is empty: then the firmware does not look at what it boots.

    Source:
        QEMU 10.0, target/i386/sev.c, sev_add_kernel_loader_hashes().
    """
    want = (
        f"an area of at least {TABLE_SIZE} bytes, as edk2's OvmfPkg/AmdSev has it: else no kernel is measured"
    )
    if HASH_TABLE not in firmware.table:
        raise KernelHashesError("firmware.kernel hashes", "no such entry in its table", want)
    address = firmware.number(HASH_TABLE, "kernel hashes")
    size = firmware.number(HASH_TABLE, "kernel hashes", at=4)
    if address == 0 or size < TABLE_SIZE:
        empty = "an empty area" if address == 0 or size == 0 else "a small area"
        raise KernelHashesError("firmware.kernel hashes", f"{empty} (0x{address:x}, {size} bytes)", want)
    return address


def hash_table_offset(firmware: Firmware, section: Section) -> int:
    """
    Return where in its section the table of hashes stands.

    Raises:
        KernelHashesError: the firmware looks for it elsewhere.
    """
    address = hash_table_address(firmware)
    offset = address % PAGE
    if address - offset != section.gpa or offset + TABLE_SIZE > section.size:
        found = f"an area at 0x{address:x}"
        want = f"one inside the section at 0x{section.gpa:x}, in its first page"
        raise KernelHashesError("firmware.kernel hashes", found, want)
    return offset


def _section(number: int, gpa: int, size: int, kind: int) -> Section:
    where = f"section {number}"
    if kind not in SectionKind.__members__.values():
        known = ", ".join(f"{member.value:#x}" for member in SectionKind)
        raise _wrong(where, f"kind {kind:#x}", f"one of {known}")
    if gpa % PAGE or size % PAGE or size == 0 or gpa + size > FOUR_GIB:
        raise _wrong(where, f"0x{size:x} bytes at 0x{gpa:x}", "whole pages below 4 GiB, at least one")
    if kind in _ONE_PAGE and size != PAGE:
        raise _wrong(where, f"0x{size:x} bytes", f"one page for {SectionKind(kind).name}")
    return Section(gpa, size, SectionKind(kind))


def _check_together(found: tuple[Section, ...]) -> None:
    pages = sum(section.size for section in found) // PAGE
    if pages > MAXIMUM_PAGES:
        raise _wrong("sections", f"{pages} pages", f"at most {MAXIMUM_PAGES}")
    if sum(section.kind is SectionKind.KERNEL_HASHES for section in found) > 1:
        raise _wrong("sections", "several for kernel hashes", "one")
    ordered = sorted(found, key=lambda section: section.gpa)
    for before, after in itertools.pairwise(ordered):
        if before.gpa + before.size > after.gpa:
            raise _wrong("sections", f"two at 0x{after.gpa:x}", "each page once")


def _wrong(field: str, found: str, want: str) -> FirmwareError:
    return FirmwareError(f"SEV metadata.{field}", found, want, SOURCE)
