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

from shim.elf.image import SHF_ALLOC
from shim.elf.memory import Memory
from shim.elf.symbols import Symbol

# Compilers fold a constant index into the address, so a reference may point shortly before its object.
FOLDED_INDEX = 64
_WORD = struct.Struct("<Q")

# lea r64,[rip+d32] | mov r32,i32 | mov r64,i32 | push i32
_RELATIVE = re.compile(rb"(?s)[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....)")
_ABSOLUTE = re.compile(rb"(?s)(?:[\xb8-\xbf]|\x48\xc7[\xc0-\xc7]|\x68)(?=(....))")


def named_addresses(memory: Memory) -> set[int]:
    """
    Return the 4-byte aligned addresses that code, reached or not, puts into registers.

    Found as byte patterns, without decoding; what is not found only makes objects and jump tables larger.
    """
    named: set[int] = set()
    for segment in memory.image.segments:
        if not segment.executable:
            continue
        code = memory.read(segment.address, segment.file_size)
        for match in _RELATIVE.finditer(code):
            target = segment.address + match.end() + int.from_bytes(match[1], "little", signed=True)
            if target % 4 == 0 and memory.lowest <= target < memory.highest:
                named.add(target)
        if not memory.position_independent:
            for match in _ABSOLUTE.finditer(code):
                target = int.from_bytes(match[1], "little")
                if target % 4 == 0 and memory.lowest <= target < memory.highest:
                    named.add(target)
    return named


class DataObjects:
    """
    Splits the data of one program into objects.

    Args:
        memory: The program's image.
        symbols: Its symbols; objects among them fix extents.
        named: Further addresses that begin an object, used where no symbol covers them.
        packed: Whether pointers may be aligned to four bytes only; Go never does that, and has tables of
            pairs of numbers that would be taken for pointers.
    """

    def __init__(self, memory: Memory, symbols: tuple[Symbol, ...], named: set[int], *, packed: bool) -> None:
        self._memory = memory
        self._packed = packed
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
            for section in memory.image.sections
            if section.flags & SHF_ALLOC and section.name.isidentifier()
        )
        # Objects that hold pointers are aligned, so other addresses begin none of interest.
        borders = (
            {address for address in named if address % 8 == 0}
            | set(self._symbol_starts)
            | set(self._symbol_ends)
        )
        for section in memory.image.sections:
            if section.flags & SHF_ALLOC:
                borders |= {section.address, section.address + section.size}
        for segment in memory.image.segments:
            borders |= {segment.address, segment.end}
        self._borders = sorted(borders)
        self._slots = sorted(memory.relocations.pointers)

    def extent(self, address: int) -> range:
        """Return the addresses of the object that holds `address`."""
        for low, high in self._whole_sections:
            if low <= address < high:
                return range(low, high)
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
        memory = self._memory
        if memory.position_independent:
            low, high = bisect_left(self._slots, extent.start), bisect_left(self._slots, extent.stop)
            return [memory.relocations.pointers[slot] for slot in self._slots[low:high]]
        raw = memory.read_file(extent.start, len(extent))
        found = []
        for shift in (-extent.start % 8, (-extent.start + 4) % 8)[: 2 if self._packed else 1]:
            whole = (len(raw) - shift) // 8 * 8
            for (word,) in _WORD.iter_unpack(raw[shift : shift + whole] if whole > 0 else b""):
                if memory.lowest <= word < memory.highest:
                    found.append(word)
        return found
