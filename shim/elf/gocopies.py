"""
Which functions of a Go program may the compiler have copied into others?

Every copy is recorded for tracebacks, with the offset of the function's name.  Where those records are
depends on the version; an offset that stands in the file once for each function of that name is in none.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator

from shim.elf.gopclntab import MAGIC_1_16, MAGIC_1_18, MAGIC_1_20, SOURCE, find_table, go_functions
from shim.elf.image import ElfImage
from shim.errors import MalformedElfError

# Where the header has the offset of the names, and the word behind it: src/debug/gosym/pclntab.go.
_NAMES = {MAGIC_1_16: 3, MAGIC_1_18: 4, MAGIC_1_20: 4}


def go_copied(image: ElfImage) -> frozenset[str] | None:
    """
    Return the names of functions that may be copied into others, more rather than fewer.

    A name without a function of its own was copied wherever it is used.  None where the table is of a version
    before Go 1.16, or there is none.

    Not checked:
        A copy of which optimisation left no instruction: `x + 1` copied into `(x + 1) + 2`.

    Raises:
        MalformedElfError: a table that is damaged.

    Source:
        Go 1.16 to 1.26, src/runtime/symtabinl.go, inlinedCall: nameOff, or func_ before 1.20, is an int32.
    """
    table = find_table(image)
    if table is None:
        return None
    place = _NAMES.get(int.from_bytes(table[:4], "little"))
    if place is None:
        return None
    try:
        start, end = struct.unpack_from("<2Q", table, 8 * place)
    except struct.error as error:
        raise MalformedElfError(
            f"{image.path}: pclntab", "a header that ends early", "a header", SOURCE
        ) from error
    offsets = dict(_names(table[start:end]))
    own = Counter(function.name for function in go_functions(image))
    seen = _occurrences(image, frozenset(offsets))
    return frozenset(name for offset, name in offsets.items() if not 0 < own[name] == seen[offset])


def _names(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield (offset, name) of all names."""
    start = 0
    for name in data.split(b"\0"):
        if name:
            yield start, name.decode("utf-8", "replace")
        start += len(name) + 1


def _occurrences(image: ElfImage, offsets: frozenset[int]) -> Counter[int]:
    """Return how often each offset stands in the file as an aligned word."""
    words = array("I", image.data[: len(image.data) // 4 * 4])
    if sys.byteorder == "big":
        words.byteswap()
    return Counter(word for word in words if word in offsets)
