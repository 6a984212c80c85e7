"""
The layout of an enclave image file (EIF), version 4, as AWS Nitro Enclaves boot it.

A header that says where each section is, sections with a small header each, and one checksum over all of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from images.boot_errors import EifError

SOURCE = 'aws-nitro-enclaves-image-format, README.md, "Enclave Image File (EIF) Specification", 2024-06-21'
MAXIMUM_SIZE = 1 << 32
MAXIMUM_SECTIONS = 32
_MAGIC, _VERSION = b".eif", 4
_AARCH64 = 1
_DEFAULT_MEMORY, _DEFAULT_CPUS = 1 << 30, 2  # as the tool of AWS writes; nothing reads them
_HEADER = struct.Struct(">4sHHQQHH32Q32QI")
_CHECKSUM = struct.Struct(">I")
_SECTION = struct.Struct(">HHQ")
FIRST = _HEADER.size + _CHECKSUM.size


class SectionKind(IntEnum):
    """What a section holds."""

    KERNEL = 1
    COMMAND_LINE = 2
    RAMDISK = 3
    SIGNATURE = 4
    METADATA = 5


# In bytes; that of signatures is of the format, the others are ours.
LIMITS = {
    SectionKind.KERNEL: 1 << 29,
    SectionKind.COMMAND_LINE: 1 << 16,
    SectionKind.RAMDISK: MAXIMUM_SIZE,
    SectionKind.SIGNATURE: 1 << 15,
    SectionKind.METADATA: 1 << 20,
}


@dataclass(frozen=True, slots=True)
class Section:
    """A section and what it holds."""

    kind: SectionKind
    data: bytes


def encoded(sections: Sequence[Section]) -> bytes:
    """
    Return the file with these sections in this order, for x86-64.

    Raises:
        EifError: sections of which nothing boots, too many or too large ones.

    Source:
        aws-nitro-enclaves-image-format, README.md, "The File Format", of 2024-06-21.
    """
    check(sections)
    offsets, bodies, place = [], [], FIRST
    for section in sections:
        body = _SECTION.pack(section.kind, 0, len(section.data)) + section.data
        offsets.append(place)
        bodies.append(body)
        place += len(body)
    if place > MAXIMUM_SIZE:
        raise EifError("EIF", f"{place} bytes", f"at most {MAXIMUM_SIZE}", SOURCE)
    unused = [0] * (MAXIMUM_SECTIONS - len(sections))
    sizes = [len(section.data) for section in sections]
    defaults = (_DEFAULT_MEMORY, _DEFAULT_CPUS, 0, len(sections))
    header = _HEADER.pack(_MAGIC, _VERSION, 0, *defaults, *offsets, *unused, *sizes, *unused, 0)
    content = b"".join(bodies)
    return header + _CHECKSUM.pack(zlib.crc32(content, zlib.crc32(header))) + content


def decoded(data: bytes) -> tuple[Section, ...]:
    """
    Return the sections of a file in their order.

    Raises:
        EifError: no EIF of version 4 for x86-64; one whose header and sections contradict each other, that is
            cut off or longer than it says, or whose checksum is another; and as `encoded`.

    Source:
        aws-nitro-enclaves-image-format, README.md, "The File Format", of 2024-06-21.
    """
    if not FIRST <= len(data) <= MAXIMUM_SIZE:
        raise EifError("EIF", f"{len(data)} bytes", f"{FIRST} to {MAXIMUM_SIZE}", SOURCE)
    magic, version, flags, _, _, reserved, count, *rest = _HEADER.unpack_from(data)
    for field, found, want in (("magic", magic, _MAGIC), ("version", version, _VERSION)):
        if found != want:
            raise EifError(f"EIF.{field}", str(found), str(want), SOURCE)
    if flags:
        what = "AArch64" if flags == _AARCH64 else f"0x{flags:x}"
        raise EifError("EIF.flags", what, "none, for x86-64", SOURCE)
    if not 1 <= count <= MAXIMUM_SECTIONS:
        raise EifError("EIF.num_sections", str(count), f"1 to {MAXIMUM_SECTIONS}", SOURCE)
    offsets, sizes = rest[:MAXIMUM_SECTIONS], rest[MAXIMUM_SECTIONS : 2 * MAXIMUM_SECTIONS]
    if reserved or rest[-1] or any(offsets[count:]) or any(sizes[count:]):
        raise EifError("EIF.header", "something in unused fields", "zeros", SOURCE)
    sections = _sections(data, offsets[:count], sizes[:count])
    (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
    computed = zlib.crc32(memoryview(data)[FIRST:], zlib.crc32(data[: _HEADER.size]))
    if checksum != computed:
        raise EifError("EIF.eif_crc32", f"0x{checksum:08x}", f"0x{computed:08x}, that of its bytes", SOURCE)
    check(sections)
    return sections


def check(sections: Sequence[Section]) -> None:
    """
    Check that an enclave can boot of these sections.

    Raises:
        EifError: not one kernel, one command line and one description; no ramdisk, or one before the kernel;
            two signatures; or a section that is empty or too large.
    """
    kinds = [section.kind for section in sections]
    if len(kinds) > MAXIMUM_SECTIONS:
        raise EifError("EIF", f"{len(kinds)} sections", f"at most {MAXIMUM_SECTIONS}", SOURCE)
    for kind in SectionKind:
        found, most = kinds.count(kind), MAXIMUM_SECTIONS if kind is SectionKind.RAMDISK else 1
        least = 0 if kind is SectionKind.SIGNATURE else 1
        if not least <= found <= most:
            raise EifError(f"EIF.{kind.name.lower()}", f"{found} sections", f"{least} to {most}", SOURCE)
    if kinds.index(SectionKind.RAMDISK) < kinds.index(SectionKind.KERNEL):
        raise EifError("EIF.ramdisk", "one before the kernel", "all behind it", SOURCE)
    for section in sections:
        size, least = len(section.data), 0 if section.kind is SectionKind.COMMAND_LINE else 1
        if not least <= size <= LIMITS[section.kind]:
            want = f"{least} to {LIMITS[section.kind]}"
            raise EifError(f"EIF.{section.kind.name.lower()}", f"{size} bytes", want, SOURCE)


def _sections(data: bytes, offsets: Sequence[int], sizes: Sequence[int]) -> tuple[Section, ...]:
    """Return the sections, which stand one behind the other from the header to the end."""
    sections, place = [], FIRST
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        where = f"EIF.section {number}"
        if offset != place or offset + _SECTION.size > len(data):
            raise EifError(where, f"a beginning at {offset}", f"at {place}, before {len(data)}", SOURCE)
        kind, flags, own = _SECTION.unpack_from(data, offset)
        place = offset + _SECTION.size + size
        if own != size or place > len(data):
            most = len(data) - offset - _SECTION.size
            raise EifError(where, f"{own} bytes", f"{size} as the header says, at most {most}", SOURCE)
        if kind not in SectionKind.__members__.values() or flags:
            want = f"a kind of 1 to {max(SectionKind)} without flags"
            raise EifError(where, f"kind {kind} with flags 0x{flags:x}", want, SOURCE)
        sections.append(Section(SectionKind(kind), data[place - size : place]))
    if place != len(data):
        raise EifError("EIF", f"{len(data) - place} bytes behind the last section", "none", SOURCE)
    return tuple(sections)
