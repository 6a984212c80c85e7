"""
Which symbols does an object offer to others and ask of them?

The table has no length of its own: the hash tables say how many symbols can be found, the relocations which
ones are asked for.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.elf.dynamic import Dynamic, at, relocation_tables
from shim.elf.image import ElfImage
from shim.elf.relocations import file_offset
from shim.elf.symbols import SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, STT_TLS, SYM
from shim.elf.versions import Versions, read_versions
from shim.errors import MalformedElfError

GABI = "System V ABI, Symbol Table"
GNU_HASH = "GNU hash table, binutils 2.40 bfd/elflink.c"
STT_NOTYPE, STT_COMMON = 0, 5
SHN_ABS = 0xFFF1
STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 0, 1, 2, 10
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 0, 1, 2, 3
# Longer than any mangled name that compilers make.
MAX_NAME = 1 << 16
_DEFINITIONS = frozenset({STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC})


@dataclass(frozen=True, slots=True)
class DynamicSymbols:
    """
    The dynamic symbols of one object: the fields of Elf64_Sym as columns, indexed by symbol.

    `values` are without the base of the image. `first` maps a name to the first symbol that the hash table of
    the object leads to and that has a value; `further` to those of the same name behind it, which have other
    versions.
    """

    names: list[bytes]
    infos: tuple[int, ...]
    others: tuple[int, ...]
    sections: tuple[int, ...]
    values: tuple[int, ...]
    sizes: tuple[int, ...]
    first: dict[bytes, int]
    further: dict[bytes, list[int]]
    versions: Versions

    def findable(self, name: bytes) -> list[int]:
        """Return the indices of the symbols that a lookup of `name` comes upon, in their order."""
        return [self.first[name], *self.further.get(name, ())] if name in self.first else []

    def type(self, symbol: int) -> int:
        """Return STT_* of a symbol."""
        return self.infos[symbol] & 15

    def binding(self, symbol: int) -> int:
        """Return STB_* of a symbol."""
        return self.infos[symbol] >> 4

    def visibility(self, symbol: int) -> int:
        """Return STV_* of a symbol."""
        return self.others[symbol] & 3


def read_symbols(image: ElfImage, dynamic: Dynamic) -> DynamicSymbols:
    """
    Return the dynamic symbols of `image`: those that can be found and those that relocations name.

    Raises:
        MalformedElfError: a symbol, string, hash or version table that is not in the file.

    Source:
        System V ABI, chapter 4 "Symbol Table" and chapter 5 "Hash Table"; glibc 2.36, elf/dl-lookup.c.
    """
    hashed = _hashed(image, dynamic)
    count = hashed.stop
    for raw in relocation_tables(image, dynamic):
        # Every second word of three is r_info, with the symbol in its upper half; symbol 0 is none.
        named = max(struct.unpack(f"<{len(raw) // 8}Q", raw)[1::3], default=0) >> 32
        count = max(count, named + 1 if named else 0)
    if count and "DT_SYMTAB" not in dynamic.tags:
        raise MalformedElfError(f"{image.path}: PT_DYNAMIC", "no DT_SYMTAB", f"one of {count} symbols", GABI)
    table = at(image, dynamic.tags["DT_SYMTAB"], count * SYM.size, "DT_SYMTAB") if count else b""
    columns = struct.unpack("<" + "IBBHQQ" * count, table)
    names = _names(image, dynamic.strings, columns[0::6])
    infos, others, sections, values = columns[1::6], columns[2::6], columns[3::6], columns[4::6]
    first: dict[bytes, int] = {}
    further: dict[bytes, list[int]] = {}
    for index in hashed:
        kind, section = infos[index] & 15, sections[index]
        has_value = values[index] or section == SHN_ABS or (kind == STT_TLS and section != SHN_UNDEF)
        if has_value and kind in _DEFINITIONS and first.setdefault(names[index], index) != index:
            further.setdefault(names[index], []).append(index)
    versions = read_versions(image, dynamic, count)
    return DynamicSymbols(names, infos, others, sections, values, columns[5::6], first, further, versions)


def _names(image: ElfImage, strings: bytes, offsets: tuple[int, ...]) -> list[bytes]:
    if not offsets:
        return []
    if not strings.endswith(b"\0") or max(offsets) >= len(strings):
        raise MalformedElfError(
            f"{image.path}: DT_SYMTAB st_name", "an offset without a string", "offsets into DT_STRTAB", GABI
        )
    if max(map(len, strings.split(b"\0"))) > MAX_NAME:
        raise MalformedElfError(
            f"{image.path}: DT_STRTAB", "a longer string", f"at most {MAX_NAME} bytes", GABI
        )
    find = strings.find
    ends = [find(b"\0", offset) for offset in offsets]
    # Strings may share their tails, but a table of tails of one string is no symbol table.
    total, limit = sum(ends) - sum(offsets), 16 * len(strings) + (1 << 20)
    if total > limit:
        raise MalformedElfError(
            f"{image.path}: DT_SYMTAB", f"{total} bytes of names", f"at most {limit}", GABI
        )
    return [strings[offset:end] for offset, end in zip(offsets, ends, strict=True)]


def _hashed(image: ElfImage, dynamic: Dynamic) -> range:
    """Return the indices of the symbols that the hash table leads to."""
    if "DT_GNU_HASH" in dynamic.tags:
        return _gnu_hashed(image, dynamic.tags["DT_GNU_HASH"])
    if "DT_HASH" in dynamic.tags:
        address = dynamic.tags["DT_HASH"]
        buckets, chains = struct.unpack("<II", at(image, address, 8, "DT_HASH"))
        file_offset(image, address, 8 + 4 * (buckets + chains), "DT_HASH")
        return range(1, chains) if buckets and chains else range(0)
    return range(0)


def _gnu_hashed(image: ElfImage, address: int) -> range:
    buckets, first, words, _shift = struct.unpack("<IIII", at(image, address, 16, "DT_GNU_HASH"))
    table = address + 16 + 8 * words
    offset = file_offset(image, table, 4 * buckets, "DT_GNU_HASH buckets")
    last = max(struct.unpack_from(f"<{buckets}I", image.data, offset), default=0)
    if last == 0:
        return range(0)
    if last < first:
        raise MalformedElfError(
            f"{image.path}: DT_GNU_HASH bucket", str(last), f"0 or at least {first}", GNU_HASH
        )
    chain = table + 4 * buckets
    # The end of the last chain: the first odd hash from there.
    position = file_offset(image, chain + 4 * (last - first), 4, "DT_GNU_HASH chain")
    end = _segment_end(image, position)
    while position + 4 <= end:
        if image.data[position] & 1:
            return range(first, last + 1)
        last, position = last + 1, position + 4
    raise MalformedElfError(
        f"{image.path}: DT_GNU_HASH", "a chain without an end", "one inside its segment", GNU_HASH
    )


def _segment_end(image: ElfImage, offset: int) -> int:
    return next(
        segment.offset + segment.file_size
        for segment in image.segments
        if segment.offset <= offset < segment.offset + segment.file_size
    )
