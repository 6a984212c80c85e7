"""
Which functions does a Go program have, according to its line table?

The table survives `strip` because the Go runtime reads it.  Go's linker has already dropped what cannot
be reached, methods included.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.elf.image import ElfImage
from shim.errors import MalformedElfError

SOURCE = "Go src/internal/abi and src/debug/gosym/pclntab.go"
MAGIC_1_16, MAGIC_1_18, MAGIC_1_20 = 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
# The smallest instruction of the architecture in bytes, in the header of the table: runtime/symtab.go.
_QUANTUM = {"x86_64": 1, "aarch64": 4}
MAGIC_1_2 = 0xFFFFFFFB
MAX_FUNCTIONS = 1 << 22


@dataclass(frozen=True, slots=True)
class GoFunction:
    """One function of the line table."""

    name: str
    start: int
    end: int


def go_functions(image: ElfImage) -> tuple[GoFunction, ...]:
    """
    Return the functions of the Go line table, sorted by address; empty where the file has no such table.

    Raises:
        MalformedElfError: a table that is there but damaged or of an unknown version.

    Source:
        Go 1.2 to 1.26, src/debug/gosym/pclntab.go, parsePclnTab.
    """
    table = find_table(image)
    if table is None:
        return ()
    magic = int.from_bytes(table[:4], "little")
    try:
        if magic in (MAGIC_1_18, MAGIC_1_20):
            return _read_1_18(image, table)
        return _read_1_16(table, image.base) if magic == MAGIC_1_16 else _read_1_2(table, image.base)
    except struct.error as error:
        raise MalformedElfError(
            f"{image.path}: pclntab", "a table that ends early", "every function", SOURCE
        ) from error


def find_table(image: ElfImage) -> bytes | None:
    """Return the line table and what follows it, or None where the file has none."""
    quantum = _QUANTUM[image.machine]
    for section in image.sections:
        if section.name in (".gopclntab", ".data.rel.ro.gopclntab"):
            return image.section_data(section)
    if image.sections:
        return None
    for segment in image.segments:
        data = image.data[segment.offset : segment.offset + segment.file_size]
        for magic in (MAGIC_1_20, MAGIC_1_18, MAGIC_1_16, MAGIC_1_2):
            position = data.find(struct.pack("<IBBBB", magic, 0, 0, quantum, 8))
            if position >= 0:
                return data[position:]
    return None


def _count(number: int) -> int:
    if number > MAX_FUNCTIONS:
        raise struct.error("too many functions")
    return number


def _read_1_18(image: ElfImage, table: bytes) -> tuple[GoFunction, ...]:
    count, _files, text_start, names_at, _cu, _files_at, _pc_at, functions_at = struct.unpack_from(
        "<8Q", table, 8
    )
    if text_start == 0 or image.base:  # since Go 1.26 only the runtime's module data has it
        text = image.section(".text")
        text_start = text.address if text else 0
    offsets = struct.unpack_from(f"<{2 * _count(count) + 1}I", table, functions_at)
    functions = []
    for index in range(count):
        name_at = struct.unpack_from("<i", table, functions_at + offsets[2 * index + 1] + 4)[0]
        start, end = text_start + offsets[2 * index], text_start + offsets[2 * index + 2]
        functions.append(GoFunction(_name(table, names_at + name_at), start, end))
    return tuple(functions)


def _read_1_16(table: bytes, base: int) -> tuple[GoFunction, ...]:
    count, _files, names_at, _cu, _files_at, _pc_at, functions_at = struct.unpack_from("<7Q", table, 8)
    return _absolute(table, _count(count), functions_at, functions_at, names_at, base)


def _read_1_2(table: bytes, base: int) -> tuple[GoFunction, ...]:
    (count,) = struct.unpack_from("<Q", table, 8)
    return _absolute(table, _count(count), 16, 0, 0, base)


def _absolute(  # where the parts of a table are
    table: bytes, count: int, entries_at: int, structs_at: int, names_at: int, base: int
) -> tuple[GoFunction, ...]:
    words = struct.unpack_from(f"<{2 * count + 1}Q", table, entries_at)
    functions = []
    for index in range(count):
        name_at = struct.unpack_from("<i", table, structs_at + words[2 * index + 1] + 8)[0]
        functions.append(
            GoFunction(_name(table, names_at + name_at), words[2 * index] + base, words[2 * index + 2] + base)
        )
    return tuple(functions)


def _name(table: bytes, position: int) -> str:
    end = table.find(b"\0", position)
    return table[position:end].decode("utf-8", "replace") if 0 <= position < end else ""
