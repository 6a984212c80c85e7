"""
Compression whose output is the same for the same compressor and version, which is said beside it.

One thread, fixed levels, no time and no name in the headers.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from images.errors import ImageSpecError


class Compression(StrEnum):
    """How a layer or an initramfs is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


# Level if none is given, and the best one.
_LEVELS = MappingProxyType({Compression.NONE: (0, 0), Compression.GZIP: (6, 9), Compression.ZSTD: (12, 22)})

_LEVEL = re.compile(r" level ([0-9]{1,2})\Z")


@dataclass(frozen=True, slots=True)
class Compressed:
    """Compressed bytes, and what made them: `zlib 1.2.13 level 9`; "" where nothing did."""

    data: bytes
    compressor: str


def compress(data: bytes, compression: Compression, level: int | None = None) -> Compressed:
    """
    Return `data`, compressed.

    Args:
        data: The bytes.
        compression: By what.
        level: How well: 1 to 9 for gzip, 1 to 22 for zstd; None is 6 and 12.

    Raises:
        ImageSpecError: zstd without its library, a level that there is not.

    Source:
        RFC 1952, section 2.3.1, "Member header and trailer", without a time; RFC 8878.
    """
    usual, best = _LEVELS[compression]
    level = usual if level is None else level
    if not min(1, best) <= level <= best:
        want = f"1 to {best}" if best else "none: nothing is compressed"
        raise ImageSpecError(f"level of {compression}", str(level), want)
    if compression is Compression.NONE:
        return Compressed(data, "")
    if compression is Compression.GZIP:
        packed = zlib.compress(data, level, wbits=31)
        # The byte for the operating system is the library's to choose: 255 is "unknown".
        return Compressed(
            packed[:9] + b"\xff" + packed[10:], f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {level}"
        )
    try:
        import zstandard  # noqa: PLC0415  # an extra: gzip needs none
    except ImportError as error:
        raise ImageSpecError(
            "zstd", "no zstandard library", "pip install 'tee-shim[images]', or --compress gzip"
        ) from error
    version = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    packed = zstandard.ZstdCompressor(level=level, threads=0).compress(data)
    return Compressed(packed, f"zstd {version} level {level}")


def level_of(compressor: str) -> int | None:
    """Return the level that a compressor's name ends with; None where it says none."""
    match = _LEVEL.search(compressor)
    return None if match is None else int(match[1])
