"""
Which NUL-terminated strings in some data contain given bytes?
"""

from __future__ import annotations

from collections.abc import Iterator

# Nothing longer is the name of a file.
LONGEST = 4096


def strings_with(data: bytes, part: bytes) -> Iterator[bytes]:
    """
    Yield the strings in `data` that contain `part`, each as often as it is there.

    A string begins behind a NUL or at the start, ends before one, and is at most `LONGEST` bytes long.
    """
    end = 0
    while (at := data.find(part, end)) >= 0:
        start = data.rfind(b"\0", max(end - 1, at - LONGEST, 0), at) + 1
        end = data.find(b"\0", at)
        if end < 0:
            return
        if (start or at < LONGEST) and end - start <= LONGEST:
            yield data[start:end]
