"""
The loader's cache for an image: only what is in the image, and only what is not found without one.

A library outside of the loader's own directories is found by /etc/ld.so.cache alone.  That of the machine
names thousands of files that the image lacks.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.elf.ldcache import ENTRY, HEADER, LITTLE_ENDIAN, MAGIC, X86_64


def cache_bytes(libraries: Iterable[tuple[str, str]]) -> bytes:
    """
    Return the cache that names a file for each library.

    Args:
        libraries: (name that is asked for, path of the file).

    Source:
        glibc 2.36, sysdeps/generic/dl-cache.h, struct cache_file_new; elf/cache.c, save_cache.
    """
    # The loader searches by halves, in an order where a larger name comes first.
    ordered = sorted(set(libraries), key=lambda one: (_order(one[0]), one[1]), reverse=True)
    strings = bytearray()
    begin = HEADER.size + ENTRY.size * len(ordered)
    rows = bytearray()
    for name, path in ordered:
        key = begin + len(strings)
        strings += name.encode() + b"\0"
        value = begin + len(strings)
        strings += path.encode() + b"\0"
        rows += ENTRY.pack(X86_64, key, value, 0, 0)
    header = HEADER.pack(MAGIC, len(ordered), len(strings), LITTLE_ENDIAN, 0)
    return bytes(header + rows + strings)


def _order(name: str) -> list[tuple[int, int | str]]:
    """Return what names compare by, digits as numbers: glibc 2.36, elf/dl-cache.c, _dl_cache_libcmp."""
    parts: list[tuple[int, int | str]] = []
    position = 0
    while position < len(name):
        end = position
        while end < len(name) and name[end].isdigit():
            end += 1
        if end > position:
            parts.append((1, int(name[position:end])))
            position = end
        else:
            parts.append((0, name[position]))
            position += 1
    return parts
