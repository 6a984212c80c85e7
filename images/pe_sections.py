"""
How are sections added to a PE image?

Behind those that it has, in file and memory, as firmware maps them: what unified kernel images are made by.
Nothing that is there moves.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from images.boot_errors import StubError
from images.measure import pe
from images.measure.errors import PeError
from images.measure.pe import PeImage

SOURCE = 'Microsoft PE Format, revision of 2025-03-24, "Optional Header" and "Section Table"'
X86_64 = 0x8664
_PE32_PLUS, _EFI_APPLICATION = 0x20B, 10
_ROW = struct.Struct("<8sIIIIIIHHI")
_NAME = 8
_CODE, _DATA, _READ = 0x20, 0x40, 0x4000_0000
_SYMBOL_SIZE, _NO_SYMBOLS = 18, 0x8
_MOST_IN_FILE, _MOST_IN_MEMORY = 1 << 16, 1 << 21
_SIZE_OF_IMAGE = 56
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class NewSection:
    """A section to add: its name, at most 8 bytes, what it holds, and whether that is code."""

    name: str
    data: bytes
    code: bool = False


@dataclass(frozen=True, slots=True)
class _Headers:
    """Where the headers of a PE image stand, and the fields of them that matter here."""

    coff: int
    optional: int
    table: int
    count: int
    section_alignment: int
    file_alignment: int


def with_sections(data: bytes, sections: Sequence[NewSection]) -> bytes:
    """
    Return the EFI program in `data` with more sections, and its checksum.

    Symbols at its end are left out: an image has no use for them.

    Raises:
        StubError: no EFI program for x86-64; one that is signed; a section that is there already or is given
            twice; no room for their headers, or more than 4 GiB.

    Source:
        Microsoft PE Format, "COFF File Header", "Optional Header", "Section Table".
    """
    try:
        image = pe.parse(data)
    except PeError as error:
        raise StubError(f"stub: {error.where}", error.found, error.want, error.source) from error
    headers = _headers(image)
    _check_names(image, sections)
    room = _check_room(image, headers, len(sections))
    end = _end_without_symbols(image, headers)
    result = bytearray(data[:end])
    if end != len(data):
        _forget_symbols(result, headers)
    size_of_image = _append(result, image, headers, sections)
    _count(result, headers, sections)
    struct.pack_into("<II", result, headers.optional + _SIZE_OF_IMAGE, size_of_image, room)
    struct.pack_into("<I", result, image.checksum, checksum(bytes(result), image.checksum))
    return bytes(result)


def checksum(data: bytes, at: int) -> int:
    """
    Return the checksum of a PE image, whose own field stands at `at`.

    Source:
        Microsoft PE Format, "Optional Header Windows-Specific Fields", CheckSum, which names IMAGHELP.DLL:
        the sum of all words with the carry added again, and the length.
    """
    number = int.from_bytes(data[:at] + bytes(4) + data[at + 4 :], "little")
    # With the carry added again, 0x10000 counts as 1: the sum of the words is the rest by 0xFFFF.
    return ((number % 0xFFFF or 0xFFFF) if number else 0) + len(data)


def _headers(image: PeImage) -> _Headers:
    data = image.data
    coff = _number(data, 60, 4) + 4
    optional = coff + 20
    machine, magic, subsystem = (_number(data, at, 2) for at in (coff, optional, optional + 68))
    if machine != X86_64 or magic != _PE32_PLUS:
        raise StubError("stub.machine", f"0x{machine:x}", f"0x{X86_64:x}, x86-64", SOURCE)
    if subsystem != _EFI_APPLICATION:
        raise StubError("stub.subsystem", str(subsystem), f"{_EFI_APPLICATION}, an EFI application", SOURCE)
    if image.certificates[1]:
        raise StubError("stub.signatures", f"{image.certificates[1]} bytes", "none: they would not hold")
    section_alignment, file_alignment = _number(data, optional + 32, 4), _number(data, optional + 36, 4)
    if not _fits(file_alignment, _MOST_IN_FILE) or not _fits(section_alignment, _MOST_IN_MEMORY):
        found = f"{section_alignment} in memory, {file_alignment} in the file"
        raise StubError("stub.alignment", found, f"powers of 2 up to {_MOST_IN_MEMORY}", SOURCE)
    for section in image.sections:
        if section.offset % file_alignment or section.size % file_alignment:
            found = f"{section.size} bytes at {section.offset}"
            raise StubError(f"stub.{section.name}", found, f"whole {file_alignment} bytes", SOURCE)
    table = optional + _number(data, coff + 16, 2)
    return _Headers(coff, optional, table, len(image.sections), section_alignment, file_alignment)


def _check_names(image: PeImage, sections: Sequence[NewSection]) -> None:
    seen = {section.name for section in image.sections}
    for section in sections:
        if section.name in seen:
            raise StubError(f"stub.{section.name}", "a second section of this name", "one")
        if not section.name.isascii() or not 0 < len(section.name) <= _NAME or not section.data:
            found = f"{section.name!r} with {len(section.data)} bytes"
            raise StubError("section", found, f"a name of at most {_NAME} letters, and contents", SOURCE)
        seen.add(section.name)


def _check_room(image: PeImage, headers: _Headers, more: int) -> int:
    """Return the size of the headers, which ends where the first section begins at the latest."""
    first = min((section.offset for section in image.sections if section.size), default=len(image.data))
    room = min(_up(image.headers, headers.file_alignment), first)
    begin = headers.table + headers.count * _ROW.size
    free = image.data[begin:room]
    needed = more * _ROW.size
    if len(free) < needed or any(free[:needed]):
        empty = (len(free) - len(free.lstrip(b"\0"))) // _ROW.size
        raise StubError("stub.section table", f"room for {empty} more sections", f"room for {more}", SOURCE)
    return room


def _end_without_symbols(image: PeImage, headers: _Headers) -> int:
    """Return where the symbols begin, if they are all that is behind the sections, else the end."""
    symbols, count = (_number(image.data, headers.coff + at, 4) for at in (8, 12))
    strings = symbols + count * _SYMBOL_SIZE
    behind = max(section.offset + section.size for section in image.sections)
    if symbols < behind or strings + _number(image.data, strings, 4) != len(image.data):
        return len(image.data)
    return symbols


def _forget_symbols(result: bytearray, headers: _Headers) -> None:
    struct.pack_into("<II", result, headers.coff + 8, 0, 0)
    flags = _number(result, headers.coff + 18, 2) | _NO_SYMBOLS
    struct.pack_into("<H", result, headers.coff + 18, flags)


def _append(result: bytearray, image: PeImage, headers: _Headers, sections: Sequence[NewSection]) -> int:
    """Append sections and their rows in the table; return how much memory the image takes."""
    alignment = headers.file_alignment
    result += bytes(-len(result) % alignment)
    address = max(section.address + section.virtual_size for section in image.sections)
    for number, section in enumerate(sections, headers.count):
        address = _up(address, headers.section_alignment)
        size, offset = len(section.data), len(result)
        _check_size(max(offset, address) + size)
        flags = _READ | (_CODE if section.code else _DATA)
        row = (section.name.encode(), size, address, _up(size, alignment), offset, 0, 0, 0, 0, flags)
        _ROW.pack_into(result, headers.table + number * _ROW.size, *row)
        result += section.data + bytes(-size % alignment)
        address += size
    return _up(address, headers.section_alignment)


def _check_size(size: int) -> None:
    if size > pe.MAXIMUM_SIZE:
        raise StubError("image", f"{size} bytes", f"at most {pe.MAXIMUM_SIZE}")


def _count(result: bytearray, headers: _Headers, sections: Sequence[NewSection]) -> None:
    """Write the fields that count what is in the image."""
    struct.pack_into("<H", result, headers.coff + 2, headers.count + len(sections))
    initialized = _number(result, headers.optional + 8, 4) + sum(len(section.data) for section in sections)
    struct.pack_into("<I", result, headers.optional + 8, initialized & _LARGEST)


def _number(data: bytes | bytearray, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _fits(alignment: int, most: int) -> bool:
    return 0 < alignment <= most and not alignment & (alignment - 1)


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
