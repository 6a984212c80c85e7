"""Takes a structure apart from the front, whatever it is: one error for what breaks off."""

from __future__ import annotations

from typing import Literal

from attestation.errors import EvidenceFormatError


class Reader:
    """
    The bytes of one structure, and how far they have been read.

    Args:
        data: The structure.
        structure: What errors call it.
        source: The document that defines it.
        byteorder: Of its numbers.
        origin: Where it begins in what people count offsets in; None leaves offsets out of errors.
    """

    def __init__(
        self,
        data: bytes,
        structure: str,
        source: str,
        *,
        byteorder: Literal["little", "big"] = "little",
        origin: int | None = 0,
    ) -> None:
        self.data = data
        self.at = 0
        self._structure = structure
        self._source = source
        self._byteorder: Literal["little", "big"] = byteorder
        self._origin = origin

    def take(self, size: int, field: str) -> bytes:
        """Return the next `size` bytes."""
        left = len(self.data) - self.at
        if size > left:
            raise self.wrong(field, f"{left} bytes left", f"{size} bytes")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int, field: str) -> int:
        """Return the next number of `size` bytes."""
        return int.from_bytes(self.take(size, field), self._byteorder)

    def part(self, size: int, field: str) -> Reader:
        """Return a reader of the next `size` bytes."""
        origin = None if self._origin is None else self._origin + self.at
        part = self.take(size, field)
        return Reader(part, self._structure, self._source, byteorder=self._byteorder, origin=origin)

    def end(self, field: str) -> None:
        """Check that nothing is left."""
        if self.at != len(self.data):
            raise self.wrong(field, f"{len(self.data) - self.at} bytes behind it", "none")

    def wrong(self, field: str, found: str, want: str, *, back: int = 0) -> EvidenceFormatError:
        """Return the error that says what is wrong here, or `back` bytes before."""
        offset = None if self._origin is None else self._origin + self.at - back
        return EvidenceFormatError(self._structure, field, found, want, self._source, offset=offset)
