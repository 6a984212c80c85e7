"""
What does the program find at an address, just before its first instruction?

The bytes of its files where the segments put them, zeros behind them, and relocated pointers where the loader
or the startup code writes some.  Addresses as `ElfImage` has them, all images in one address space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from shim.elf.image import ElfImage, Segment
from shim.elf.relocations import Relocations


class Memory:
    """
    The mapped images of one process, read-only.

    Args:
        images: The program, and what else the loader maps; they do not overlap.
        relocations: What relocation makes of them.
    """

    def __init__(self, images: tuple[ElfImage, ...], relocations: Relocations) -> None:
        self.images = images
        self.relocations = relocations
        mapped = sorted(
            ((segment, image) for image in images for segment in image.segments),
            key=lambda pair: pair[0].address,
        )
        self._segments = [segment for segment, _ in mapped]
        self._images = [image for _, image in mapped]
        self._starts = [segment.address for segment in self._segments]
        # Every copied variable lies in here, and little else.
        copied = [(target, target + length) for target, _, length in relocations.copies]
        self._copied = range(min(copied)[0], max(end for _, end in copied)) if copied else range(0)

    def range_of_addresses(self, image: ElfImage) -> range:
        """
        Return where addresses can lie that stand in the code and data of `image` without a relocation.

        In all images at fixed addresses, for klibc's programs and their library know each other's.
        """
        fixed = [image, *(other for other in self.images if image.kind == other.kind == "ET_EXEC")]
        return range(
            min(one.segments[0].address for one in fixed), max(one.segments[-1].end for one in fixed)
        )

    def segment(self, address: int) -> Segment | None:
        """Return the segment that maps `address`, or None where nothing is mapped."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            segment = self._segments[index]
            if address < segment.address + segment.memory_size:
                return segment
        return None

    def image(self, address: int) -> ElfImage | None:
        """Return the image that `address` lies in, or None where nothing is mapped."""
        index = bisect_right(self._starts, address) - 1
        return self._images[index] if index >= 0 and address < self._segments[index].end else None

    def in_file(self, address: int) -> int:
        """Return `address` as the file that it lies in has it; as it is where nothing is mapped."""
        image = self.image(address)
        return address - (image.base if image else 0)

    def executable(self, address: int) -> bool:
        """Whether code at `address` can run."""
        segment = self.segment(address)
        return segment is not None and segment.executable

    def constant(self, address: int) -> bool:
        """Whether the program cannot change what is at `address` once relocation is done."""
        if address in self.relocations.bound:
            return True
        segment = self.segment(address)
        if segment is None:
            return False
        image = self.image(address)
        return not segment.writable or (image is not None and address in image.relro)

    def read(self, address: int, size: int) -> bytes:
        """Return up to `size` bytes at `address`: fewer where the segment ends, none outside."""
        for target, source, length in self.relocations.copies if address in self._copied else ():
            if target <= address < target + length:
                return self.read(address - target + source, min(size, target + length - address))
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._segments[index].end:
            return b""
        segment, data = self._segments[index], self._images[index].data
        start = address - segment.address
        size = min(size, segment.memory_size - start)
        from_file = (
            data[segment.offset + start : segment.offset + min(start + size, segment.file_size)]
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

    def string(self, address: int, longest: int) -> bytes:
        """
        Return the bytes at `address` in the file up to a NUL; none if that is further than `longest` bytes.
        """
        if address in self._copied:
            text, terminator, _ = self.read(address, longest).partition(b"\0")
            return text if terminator else b""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return b""
        segment = self._segments[index]
        start, end = segment.offset + address - segment.address, segment.offset + segment.file_size
        data = self._images[index].data
        stop = data.find(b"\0", start, min(start + longest, end)) if start < end else -1
        return data[start:stop] if stop >= 0 else b""

    def places(self, text: bytes) -> Iterator[int]:
        """Yield the addresses at which `text` stands in a file."""
        for segment, image in zip(self._segments, self._images, strict=True):
            at = segment.offset - 1
            while (at := image.data.find(text, at + 1, segment.offset + segment.file_size)) >= 0:
                yield segment.address + at - segment.offset

    def word(self, address: int, size: int) -> int | None:
        """Return the number of `size` bytes at `address`, relocated, or None where it is not mapped."""
        if size == 8:
            pointer = self.relocations.pointers.get(address)
            if pointer is not None:
                return pointer
        raw = self.read(address, size)
        return int.from_bytes(raw, "little") if len(raw) == size else None
