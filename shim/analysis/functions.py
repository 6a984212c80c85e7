"""
Which functions does the program have, from every source that names them?

Symbols, `.eh_frame`, and Go's line table.  A stripped program without unwind information has none; then
functions are what is called.
"""

from __future__ import annotations

from bisect import bisect_right

from shim.elf.gopclntab import GoFunction, go_functions
from shim.elf.memory import Memory
from shim.elf.symbols import Symbol, symbols
from shim.elf.unwind import FrameEntry, frame_entries


class Functions:
    """The known functions of one process: extents, names, unwind entries."""

    def __init__(self, memory: Memory) -> None:
        self.symbols: tuple[Symbol, ...] = tuple(
            symbol
            for image in sorted(memory.images, key=lambda image: image.segments[0].address)
            for symbol in symbols(image)
        )
        self.frames: dict[int, FrameEntry] = {
            entry.start: entry for image in memory.images for entry in frame_entries(image, memory)
        }
        self.go: tuple[GoFunction, ...] = go_functions(memory.images[0])
        self._go_starts = [function.start for function in self.go]
        ends: dict[int, int] = {}
        names: dict[int, str] = {}
        for frame in self.frames.values():
            ends[frame.start] = frame.end
        for function in self.go:
            ends[function.start] = function.end
            names[function.start] = function.name
        for symbol in self.symbols:
            if symbol.is_function and memory.executable(symbol.address):
                ends[symbol.address] = max(ends.get(symbol.address, 0), symbol.address + symbol.size)
                names.setdefault(symbol.address, symbol.name)
        self.starts: frozenset[int] = frozenset(ends)
        self._sorted = sorted(ends)
        self._ends = ends
        self._names = names
        self._memory = memory

    def extent(self, address: int) -> range:
        """Return the known extent around `address`, or the gap between known functions that holds it."""
        index = bisect_right(self._sorted, address) - 1
        following = self._sorted[index + 1] if index + 1 < len(self._sorted) else 1 << 47
        if index < 0:
            return range(following)
        start = self._sorted[index]
        end = self._ends[start]
        if address < end:
            return range(start, end)
        return range(max(start, end), following)

    def inside_known(self, address: int) -> bool:
        """Whether a known function covers `address`."""
        index = bisect_right(self._sorted, address) - 1
        return index >= 0 and address < self._ends[self._sorted[index]]

    def is_go(self, address: int) -> bool:
        """Whether a function of Go's line table covers `address`; a Go process holds C code too, by cgo."""
        index = bisect_right(self._go_starts, address) - 1
        return index >= 0 and address < self.go[index].end

    def name(self, address: int) -> str:
        """Return the name of the function at or around `address`; `sub_<address>` where it has none."""
        index = bisect_right(self._sorted, address) - 1
        if index >= 0:
            start = self._sorted[index]
            if address < max(self._ends[start], start + 1):
                return self._names.get(start) or self._unnamed(start)
        return self._unnamed(address)

    def _unnamed(self, address: int) -> str:
        return f"sub_{self._memory.in_file(address):x}"
