"""Compressed layers, piece by piece: whoever takes the pieces counts them, and stops where it is enough."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from shim.errors import FoundWantError

_INPUT, _OUTPUT = 1 << 16, 1 << 20
_ZEROS = re.compile(rb"\0*")


def gunzip(data: bytes, where: str, error: type[FoundWantError], *, padded: bool = False) -> Iterator[bytes]:
    """
    Yield what a gzip file holds; members may follow one another, each has its own check of its contents.

    Args:
        data: The file.
        where: What to call it in errors.
        error: The type of errors.
        padded: Whether zeros may stand behind a member.

    Raises:
        FoundWantError: of the type `error`: it is damaged or cut off.

    Source:
        RFC 1952, section 2.2, "File format".
    """
    stream = zlib.decompressobj(wbits=31)
    view, place = memoryview(data), 0
    try:
        while place < len(data):
            if stream.eof:
                zeros = _ZEROS.match(data, place) if padded else None
                place = place if zeros is None else zeros.end()
                if place == len(data):
                    break
                stream = zlib.decompressobj(wbits=31)
            fed = view[place : place + _INPUT]
            piece = stream.decompress(fed, _OUTPUT)
            place += len(fed) - len(stream.unconsumed_tail) - len(stream.unused_data)
            yield piece
        while not stream.eof:
            piece = stream.decompress(stream.unconsumed_tail, _OUTPUT)
            if not piece:
                raise error(where, "a gzip stream that is cut off", "its end")
            yield piece
    except zlib.error as fault:
        raise error(where, f"a damaged gzip stream ({fault})", "a layer") from fault


def unzstd(data: bytes, where: str, error: type[FoundWantError]) -> Iterator[bytes]:
    """
    Yield what a zstd file holds.

    Raises:
        FoundWantError: of the type `error`: it is damaged, or the extra `images` is not installed.

    Source:
        RFC 8878, section 3.1, "Frames".
    """
    try:
        import zstandard  # noqa: PLC0415  # an extra
    except ImportError as fault:
        want = "the zstandard library: pip install 'tee-shim[images]'"
        raise error(where, "a layer in zstd", want) from fault
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=True)
    try:
        while piece := reader.read(_OUTPUT):
            yield piece
    except zstandard.ZstdError as fault:
        raise error(where, f"a damaged zstd stream ({fault})", "a layer") from fault
