"""
Which names does the file give to its addresses?

Reads SHT_SYMTAB and SHT_DYNSYM; a stripped file simply has none, which is no error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.elf.image import ElfImage, Section
from shim.errors import MalformedElfError

STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 1, 2, 6, 10
SHN_UNDEF = 0
SYM = struct.Struct("<IBBHQQ")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One defined symbol of a function or an object; `size` may be 0 in hand-written assembly."""

    name: str
    address: int
    size: int
    is_function: bool


def symbols(image: ElfImage) -> tuple[Symbol, ...]:
    """
    Return the defined functions and objects of `image`, each address and name once, sorted by address.

    Raises:
        MalformedElfError: a symbol table whose string table does not exist, or with a partial entry.

    Source:
        System V ABI, chapter 4, "Symbol Table".
    """
    found: dict[tuple[int, str], Symbol] = {}
    for table in image.sections:
        if table.type in ("SHT_SYMTAB", "SHT_DYNSYM"):
            for symbol in _read(image, table):
                found.setdefault((symbol.address, symbol.name), symbol)
    return tuple(sorted(found.values(), key=lambda symbol: (symbol.address, -symbol.size, symbol.name)))


def names_local_functions(image: ElfImage) -> bool:
    """
    Whether a symbol table has functions that other files cannot name: whether nobody stripped them.

    Source:
        System V ABI, chapter 4, "Symbol Table": st_info is binding and type.
    """
    return any(
        info == STT_FUNC and section_index != SHN_UNDEF  # the binding STB_LOCAL is 0
        for table in image.sections
        if table.type == "SHT_SYMTAB" and table.size % SYM.size == 0
        for _name, info, _other, section_index, _value, _size in SYM.iter_unpack(image.section_data(table))
    )


def _read(image: ElfImage, table: Section) -> list[Symbol]:
    where = f"{image.path}: section {table.name}"
    if table.link >= len(image.sections):
        raise MalformedElfError(f"{where} sh_link", str(table.link), f"below e_shnum {len(image.sections)}")
    if table.size % SYM.size:
        raise MalformedElfError(f"{where} sh_size", str(table.size), f"a multiple of {SYM.size} bytes")
    strings = image.section_data(image.sections[table.link])
    result = []
    for name_offset, info, _other, section_index, value, size in SYM.iter_unpack(image.section_data(table)):
        kind = info & 15
        if section_index == SHN_UNDEF or kind not in (STT_FUNC, STT_OBJECT, STT_GNU_IFUNC):
            continue
        end = strings.find(b"\0", name_offset)
        name = strings[name_offset : end if end >= 0 else name_offset].decode("utf-8", "replace")
        result.append(Symbol(name, value + image.base, size, kind != STT_OBJECT))
    return result
