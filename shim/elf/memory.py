"""
What does the program find at an address, just before its first instruction?

The file's bytes where the segments put them, zeros behind them, and relocated pointers where the startup
code writes some.  Addresses as `ElfImage` has them.
"""

from __future__ import annotations

from bisect import bisect_right

from shim.elf.image import ElfImage, Segment
from shim.elf.relocations import Relocations, relocations


class Memory:
    """
    The mapped image of one static program, read-only.

    Args:
        image: The parsed file.
    """

    def __init__(self, image: ElfImage) -> None:
        self.image = image
        self.relocations: Relocations = relocations(image)
        self.position_independent = image.kind == "ET_DYN"
        self._starts = [segment.address for segment in image.segments]
        self.lowest = image.segments[0].address
        self.highest = image.segments[-1].end
        self.highest_code = max(
            segment.address + segment.file_size for segment in image.segments if segment.executable
        )

    def segment(self, address: int) -> Segment | None:
        """Return the segment that maps `address`, or None where nothing is mapped."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.image.segments[index].end:
            return self.image.segments[index]
        return None

    def executable(self, address: int) -> bool:
        """Whether code at `address` can run."""
        segment = self.segment(address)
        return segment is not None and segment.executable

    def constant(self, address: int) -> bool:
        """Whether the program cannot change what is at `address` once the startup code has relocated it."""
        segment = self.segment(address)
        return segment is not None and (not segment.writable or address in self.image.relro)

    def read(self, address: int, size: int) -> bytes:
        """Return up to `size` bytes at `address`: fewer where the segment ends, none outside."""
        segment = self.segment(address)
        if segment is None:
            return b""
        start = address - segment.address
        size = min(size, segment.memory_size - start)
        from_file = (
            self.image.data[segment.offset + start : segment.offset + min(start + size, segment.file_size)]
            if start < segment.file_size
            else b""
        )
        return from_file + bytes(size - len(from_file))

    def read_file(self, address: int, size: int) -> bytes:
        """Return what of `size` bytes at `address` the file holds; what is behind that is zero."""
        segment = self.segment(address)
        if segment is None:
            return b""
        return self.read(address, max(0, min(size, segment.address + segment.file_size - address)))

    def word(self, address: int, size: int) -> int | None:
        """Return the number of `size` bytes at `address`, relocated, or None where it is not mapped."""
        if size == 8:
            pointer = self.relocations.pointers.get(address)
            if pointer is not None:
                return pointer
        raw = self.read(address, size)
        return int.from_bytes(raw, "little") if len(raw) == size else None
