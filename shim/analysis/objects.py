"""
Which bytes belong to the same data object, and which pointers does an object hold?

With object symbols an object is what the symbol covers.  In a stripped file an object runs from one
address that code or data names to the next: code that computes an address into an object starts from an
address inside it.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from shim.analysis.words import Words
from shim.elf.image import SHF_ALLOC, ElfImage
from shim.elf.memory import Memory
from shim.elf.symbols import Symbol

# Compilers fold a constant index into the address, so a reference may point shortly before its object.
FOLDED_INDEX = 64
_LOADER_SECTIONS = (".dynamic", ".dynsym", ".rela.dyn", ".rela.plt")

# lea r64,[rip+d32]
_RELATIVE = re.compile(rb"(?s)[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....)")


def named_addresses(memory: Memory) -> set[int]:
    """
    Return the 4-byte aligned addresses that code, reached or not, puts into registers.

    Found as byte patterns, without decoding; what is not found only makes objects and jump tables larger.
    """
    named: set[int] = set()
    for image in memory.images:
        addresses = memory.range_of_addresses(image)
        lowest, highest = addresses.start, addresses.stop
        absolute = _absolute(lowest, highest) if image.kind == "ET_EXEC" else None
        for segment in image.segments:
            if not segment.executable:
                continue
            code = memory.read(segment.address, segment.file_size)
            from_bytes, start = int.from_bytes, segment.address
            for match in _RELATIVE.finditer(code):
                target = start + match.end() + from_bytes(match[1], "little", signed=True)
                if not target & 3 and lowest <= target < highest:
                    named.add(target)
            if absolute is not None:
                words = {from_bytes(match, "little") for match in absolute.findall(code)}
                named |= {word for word in words if lowest <= word < highest}
    return named


def _absolute(lowest: int, highest: int) -> re.Pattern[bytes]:
    """Return a pattern of instructions with an immediate number that is mapped and a multiple of 4."""
    low = b"[" + b"".join(re.escape(bytes((byte,))) for byte in range(0, 256, 4)) + b"]"
    high = b".."
    if lowest >> 24 == (highest - 1) >> 24 < 256:
        third = b"[\\x%02x-\\x%02x]" % (lowest >> 16 & 255, (highest - 1) >> 16 & 255)
        high = third + re.escape(bytes((lowest >> 24,)))
    return re.compile(rb"(?s)(?:[\xb8-\xbf]|\x48\xc7[\xc0-\xc7]|\x68)(?=(" + low + b"." + high + b"))")


def _loader_tables(image: ElfImage) -> Iterator[range]:
    """
    Yield what only the kernel and the loader read as addresses.

    They are roots already where they mean code; a program linked at a fixed address has its headers at a
    round number, which code names all the time without meaning them.
    """
    for segment in image.segments:
        if segment.offset == 0:
            table, entry, count = struct.unpack_from("<32xQ14xHH", image.data)
            yield range(segment.address, segment.address + table + entry * count)
    for section in image.sections:
        if section.flags & SHF_ALLOC and section.name in _LOADER_SECTIONS:
            yield range(section.address, section.address + section.size)


class DataObjects:
    """
    Splits the data of one process into objects.

    Args:
        memory: Its images.
        symbols: Its symbols; objects among them fix extents.
        named: Further addresses that begin an object, used where no symbol covers them.
        packed: Whether pointers may be aligned to four bytes only; Go never does that, and has tables of
            pairs of numbers that would be taken for pointers.
    """

    def __init__(self, memory: Memory, symbols: tuple[Symbol, ...], named: set[int], *, packed: bool) -> None:
        self._memory = memory
        self.named = named
        self._symbol_starts: list[int] = []
        self._symbol_ends: list[int] = []
        for symbol in symbols:
            if symbol.is_function or symbol.size == 0:
                continue
            if self._symbol_ends and symbol.address < self._symbol_ends[-1]:
                continue
            self._symbol_starts.append(symbol.address)
            self._symbol_ends.append(symbol.address + symbol.size)
        self._whole_sections = sorted(
            (section.address, section.address + section.size)
            for image in memory.images
            for section in image.sections
            if section.flags & SHF_ALLOC and section.name.isidentifier() and section.size
        )
        self._whole_starts = [low for low, _ in self._whole_sections]
        # Objects that hold pointers are aligned, so other addresses begin none of interest.
        borders = (
            {address for address in named if address % 8 == 0}
            | set(self._symbol_starts)
            | set(self._symbol_ends)
        )
        for image in memory.images:
            for section in image.sections:
                if section.flags & SHF_ALLOC:
                    borders |= {section.address, section.address + section.size}
            for segment in image.segments:
                borders |= {segment.address, segment.end}
        self._loader_tables = [table for image in memory.images for table in _loader_tables(image)]
        borders |= {border for table in self._loader_tables for border in (table.start, table.stop)}
        self._borders = sorted(borders)
        self._extents: dict[int, range] = {}
        self._slots = sorted(memory.relocations.pointers)
        self._words = {
            image.path: Words(image, memory.range_of_addresses(image), packed=packed)
            for image in memory.images
            if image.kind == "ET_EXEC"
        }

    def extent(self, address: int) -> range:
        """Return the addresses of the object that holds `address`."""
        piece = bisect_right(self._borders, address)
        extent = self._extents.get(piece)
        if extent is None:
            extent = self._extent(address)
            if 0 < piece < len(self._borders):
                self._extents[piece] = extent
        return extent

    def _extent(self, address: int) -> range:
        """Return the object around `address`: the same for every address between two borders."""
        index = bisect_right(self._whole_starts, address) - 1
        if index >= 0 and address < self._whole_sections[index][1]:
            return range(*self._whole_sections[index])
        index = bisect_right(self._symbol_starts, address) - 1
        if index >= 0 and address < self._symbol_ends[index]:
            return range(self._symbol_starts[index], self._symbol_ends[index])
        index = bisect_right(self._borders, address)
        end = self._borders[index] if index < len(self._borders) else address + 8
        return range(address if index == 0 else self._borders[index - 1], end)

    def reachable_from(self, address: int) -> tuple[range, ...]:
        """Return the objects that code which computes with `address` may touch."""
        first = self.extent(address)
        following = self.extent(first.stop)
        if following.start < address + FOLDED_INDEX and self._memory.segment(first.stop) is not None:
            return (first, following)
        return (first,)

    def pointers(self, extent: range) -> list[int]:
        """Return the mapped addresses that the words of `extent` hold before the program starts."""
        return [value for _, value in self.slots(extent)]

    def slots(self, extent: range) -> list[tuple[int, int]]:
        """
        Return (address, value) of the words of `extent` that hold mapped addresses before the program starts.
        """
        memory = self._memory
        pointers = memory.relocations.pointers
        low, high = bisect_left(self._slots, extent.start), bisect_left(self._slots, extent.stop)
        found = [(slot, pointers[slot]) for slot in self._slots[low:high]]
        image = memory.image(extent.start) if self._words else None
        words = self._words.get(image.path) if image is not None else None
        if words is not None and not any(extent.start in table for table in self._loader_tables):
            found += words.within(extent)
        # What is there before a resolver's result is never used.
        resolvers = memory.relocations.resolvers
        return [(slot, value) for slot, value in found if slot not in resolvers] if resolvers else found
