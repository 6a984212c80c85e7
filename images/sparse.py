"""A disk of which most is zeros: only the rest is kept in memory, and written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

_HOLE = 1 << 16


@dataclass(frozen=True, slots=True)
class SparseImage:
    """
    Bytes of which most are zeros.

    Attributes:
        size: Of the whole, in bytes.
        extents: Offset and bytes of what is not zeros, in order, each behind the one before.
    """

    size: int
    extents: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        end = 0
        for offset, data in self.extents:
            if offset < end:
                raise ValueError(f"extent at {offset}: begins before {end}")
            end = offset + len(data)
        if end > self.size:
            raise ValueError(f"extents end at {end}, behind {self.size}")

    def shifted(self, distance: int) -> tuple[tuple[int, bytes], ...]:
        """Return the extents as they stand in something that has this at `distance`."""
        return tuple((distance + offset, data) for offset, data in self.extents)

    def write_to(self, file: BinaryIO) -> None:
        """
        Write to a new, empty file, with holes where there are zeros.

        Raises:
            OSError: as the file does.
        """
        file.truncate(self.size)
        for offset, data in self.extents:
            for start, piece in _pieces(data):
                file.seek(offset + start)
                file.write(piece)

    @property
    def sha256(self) -> str:
        """Of the whole of it, 64 hexadecimal digits."""
        digest, end, zeros = hashlib.sha256(), 0, bytes(_HOLE)
        for offset, data in (*self.extents, (self.size, b"")):
            for start in range(end, offset, _HOLE):
                digest.update(zeros[: offset - start])
            digest.update(data)
            end = offset + len(data)
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the whole of it."""
        result = bytearray(self.size)
        for offset, data in self.extents:
            result[offset : offset + len(data)] = data
        return bytes(result)


def _pieces(data: bytes) -> Iterable[tuple[int, memoryview]]:
    """Yield what of `data` is not zeros, by pieces of equal size."""
    whole, zeros = memoryview(data), bytes(_HOLE)
    for start in range(0, len(data), _HOLE):
        piece = whole[start : start + _HOLE]
        if piece != zeros[: len(piece)]:
            yield start, piece
