"""
Which words of a file that is linked to a fixed address may be addresses?

Nothing marks them: any number in the mapped range counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from shim.analysis._decode import ffi, lib
from shim.elf.image import ElfImage


class Words:
    """
    The words of the file of one image that hold a number in a range, found once.

    Args:
        image: The image.
        numbers: The numbers that count.
        packed: Whether a word may be aligned to four bytes only.
    """

    def __init__(self, image: ElfImage, numbers: range, *, packed: bool) -> None:
        # By alignment: those aligned to eight bytes, then those that are not.
        self._places = [_found(image, numbers, first) for first in ((0, 4) if packed else (0,))]

    def within(self, extent: range) -> list[tuple[int, int]]:
        """Return (address, number) of the words that lie in `extent` whole, those that are aligned first."""
        found: list[tuple[int, int]] = []
        for addresses, numbers in self._places:
            low, high = bisect_left(addresses, extent.start), bisect_left(addresses, extent.stop - 7)
            if low < high:
                found += zip(addresses[low:high], numbers[low:high], strict=True)
        return found


def _found(image: ElfImage, numbers: range, alignment: int) -> tuple[array[int], array[int]]:
    """Return addresses and numbers of the words whose addresses leave `alignment` when divided by eight."""
    addresses, values = array("Q"), array("Q")
    for start, offsets, found in _in_segments(image, numbers, alignment):
        addresses.extend(start + offset for offset in offsets)
        values.extend(found)
    return addresses, values


def _in_segments(
    image: ElfImage, numbers: range, alignment: int
) -> Iterator[tuple[int, list[int], list[int]]]:
    """Yield the address of each segment, with the offsets and the numbers of its words."""
    whole = ffi.from_buffer("uint8_t[]", image.data)
    for segment in image.segments:
        first = (alignment - segment.address) % 8
        search = (whole + segment.offset, segment.file_size, first, numbers.start, numbers.stop)
        count = lib.words_find(*search, ffi.NULL, ffi.NULL, 0)
        offsets, values = ffi.new("uint64_t[]", count), ffi.new("uint64_t[]", count)
        lib.words_find(*search, offsets, values, count)
        yield segment.address, ffi.unpack(offsets, count), ffi.unpack(values, count)
