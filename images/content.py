"""The bytes of a file in an image, or where they are, with their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from images.errors import SourceError


@dataclass(frozen=True, slots=True)
class Content:
    """
    What a file holds.

    Equal contents have equal sizes and digests, wherever they are kept.

    Attributes:
        size: In bytes.
        sha256: 64 hexadecimal digits.
    """

    size: int
    sha256: str
    _load: Callable[[], bytes] = field(repr=False, compare=False)

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return a content that keeps its bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), lambda: data)

    @classmethod
    def by_reference(cls, where: str, load: Callable[[], bytes]) -> Content:
        """
        Return a content that is loaded now, for its digest, and again whenever it is read.

        Args:
            where: What to call it in errors.
            load: Returns the bytes.
        """
        data = load()
        size, digest = len(data), hashlib.sha256(data).hexdigest()

        def checked() -> bytes:
            again = load()
            found = hashlib.sha256(again).hexdigest()
            if found != digest:
                raise SourceError(where, f"sha256 {found}", f"{digest}, as it was when the build began")
            return again

        return cls(size, digest, checked)

    def read(self) -> bytes:
        """
        Return the bytes.

        Raises:
            SourceError: they are not what they were.
        """
        return self._load()
