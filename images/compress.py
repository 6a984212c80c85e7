"""
Compression whose output is the same for the same compressor and version, which is said beside it.

One thread, fixed levels, no time and no name in the headers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum

from images.errors import ImageSpecError

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 12


class Compression(StrEnum):
    """How a layer or an initramfs is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Compressed:
    """Compressed bytes, and what made them: `zlib 1.2.13 level 9`; "" where nothing did."""

    data: bytes
    compressor: str


def compress(data: bytes, compression: Compression) -> Compressed:
    """
    Return `data`, compressed.

    Raises:
        ImageSpecError: zstd without its library.

    Source:
        RFC 1952, section 2.3.1, "Member header and trailer", without a time; RFC 8878.
    """
    if compression is Compression.NONE:
        return Compressed(data, "")
    if compression is Compression.GZIP:
        packed = zlib.compress(data, _GZIP_LEVEL, wbits=31)
        # The byte for the operating system is the library's to choose: 255 is "unknown".
        return Compressed(
            packed[:9] + b"\xff" + packed[10:], f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_GZIP_LEVEL}"
        )
    try:
        import zstandard  # noqa: PLC0415  # an extra: gzip needs none
    except ImportError as error:
        raise ImageSpecError(
            "zstd", "no zstandard library", "pip install 'tee-shim[images]', or --compress gzip"
        ) from error
    version = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=0).compress(data)
    return Compressed(packed, f"zstd {version} level {_ZSTD_LEVEL}")
