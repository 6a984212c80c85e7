"""Which parts of a firmware image become the memory of a trust domain, and which of them are measured?"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from enum import IntEnum

from images.measure.errors import FirmwareError
from images.measure.firmware import FOUR_GIB, PAGE, TDX_METADATA, Firmware

SOURCE = 'Intel TDX Virtual Firmware Design Guide, 344991-004, section 11, "TDVF Metadata"'
_HEADER = struct.Struct("<4sIII")  # signature, size with this, version, number of sections
_SECTION = struct.Struct(
    "<IIQQII"
)  # offset and size in the image, address and size in memory, kind, attributes
_SIGNATURE, _VERSION = b"TDVF", 1
_MR_EXTEND, _PAGE_AUG = 1, 2
MAXIMUM_SECTIONS = 64
MAXIMUM_PAGES = 1 << 16  # 256 MiB; OVMF has about 1,100


class SectionKind(IntEnum):
    """What a section is for."""

    BFV = 0
    CFV = 1
    TD_HOB = 2
    TEMP_MEM = 3


@dataclass(frozen=True, slots=True)
class Section:
    """
    Pages of a trust domain.

    Attributes:
        kind: What they are for.
        gpa: Where they are, guest physical.
        size: How many bytes of memory.
        data: What of the image is in them, from their beginning; the rest is zero.
        measured: Whether the contents count, and not the address alone.
        added: Whether they are there when the domain starts; others it takes later, and nothing counts.
    """

    kind: SectionKind
    gpa: int
    size: int
    data: bytes
    measured: bool
    added: bool


def sections(firmware: Firmware) -> tuple[Section, ...]:
    """
    Return the sections in the order in which they are added.

    Raises:
        FirmwareError: there are none, or they contradict each other or what a launch can do.

    Source:
        Intel TDX Virtual Firmware Design Guide, 344991-004, section 11; QEMU 10.1, hw/i386/tdvf.c.
    """
    if TDX_METADATA not in firmware.table:
        want = f"entry {TDX_METADATA}, as a build of OVMF with TDX has it"
        raise FirmwareError("firmware", "no TDX metadata", want, SOURCE)
    start = len(firmware.data) - firmware.number(TDX_METADATA, "TDX metadata")
    if not 0 <= start <= len(firmware.data) - _HEADER.size:
        raise _wrong("offset", f"a start at {start}", f"0 to {len(firmware.data) - _HEADER.size}")
    signature, size, version, count = _HEADER.unpack_from(firmware.data, start)
    if signature != _SIGNATURE or version != _VERSION:
        raise _wrong("header", f"{signature!r} version {version}", f"{_SIGNATURE!r} version {_VERSION}")
    if count > MAXIMUM_SECTIONS or size != _HEADER.size + count * _SECTION.size:
        raise _wrong("header", f"{size} bytes with {count} sections", "32 bytes each, and 16")
    if start + size > len(firmware.data):
        raise _wrong("header", f"an end at {start + size}", f"at most {len(firmware.data)}")
    rows = _SECTION.iter_unpack(firmware.data[start + _HEADER.size : start + size])
    found = tuple(_section(firmware, number, row) for number, row in enumerate(rows))
    _check_together(found)
    return found


def configuration_volume(firmware: Firmware) -> bytes:
    """
    Return the firmware volume with the variables, which the firmware measures before it uses them.

    Raises:
        FirmwareError: there is none, or several.
    """
    volumes = [section for section in sections(firmware) if section.kind is SectionKind.CFV]
    if len(volumes) != 1:
        raise _wrong("sections", f"{len(volumes)} configuration volumes", "one")
    return volumes[0].data


def _section(firmware: Firmware, number: int, row: tuple[int, ...]) -> Section:
    offset, raw_size, gpa, size, kind, attributes = row
    where = f"section {number}"
    if kind not in SectionKind.__members__.values():
        raise _wrong(where, f"kind {kind}", "0 to 3, which QEMU knows")
    if attributes & ~(_MR_EXTEND | _PAGE_AUG):
        raise _wrong(where, f"attributes 0x{attributes:x}", "bits 0 and 1")
    if gpa % PAGE or size % PAGE or size == 0 or gpa + size > FOUR_GIB:
        raise _wrong(where, f"0x{size:x} bytes at 0x{gpa:x}", "whole pages below 4 GiB, at least one")
    if raw_size > size or offset + raw_size > len(firmware.data):
        want = f"inside the image, and at most 0x{size:x} bytes"
        raise _wrong(where, f"0x{raw_size:x} bytes at offset 0x{offset:x}", want)
    volume = kind in {SectionKind.BFV, SectionKind.CFV}
    if volume != (raw_size == size) or (not volume and raw_size):
        want = "all of a volume in the image" if volume else "nothing in the image"
        raise _wrong(where, f"0x{raw_size:x} of 0x{size:x} bytes in the image", want)
    data = firmware.data[offset : offset + raw_size]
    measured, augmented = bool(attributes & _MR_EXTEND), bool(attributes & _PAGE_AUG)
    if measured and augmented:
        raise _wrong(where, "pages that are measured and added later", "one of both")
    return Section(SectionKind(kind), gpa, size, data, measured, not augmented)


def _check_together(found: tuple[Section, ...]) -> None:
    pages = sum(section.size for section in found) // PAGE
    if pages > MAXIMUM_PAGES:
        raise _wrong("sections", f"{pages} pages", f"at most {MAXIMUM_PAGES}")
    if not any(section.measured for section in found):
        raise _wrong("sections", "none that is measured", "at least one: else any firmware has this digest")
    ordered = sorted(found, key=lambda section: section.gpa)
    for before, after in itertools.pairwise(ordered):
        if before.gpa + before.size > after.gpa:
            raise _wrong("sections", f"two at 0x{after.gpa:x}", "each page once")


def _wrong(field: str, found: str, want: str) -> FirmwareError:
    return FirmwareError(f"TDX metadata.{field}", found, want, SOURCE)
