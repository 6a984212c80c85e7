"""
Which file does `/etc/ld.so.cache` name for a library?

Reads the format that ldconfig writes since glibc 2.2, alone or behind the old one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.errors import BinaryError

# Facts about the layout: glibc 2.36, sysdeps/generic/dl-cache.h and elf/cache.c.
OLD_MAGIC = b"ld.so-1.7.0"
OLD_HEADER_SIZE, OLD_ENTRY_SIZE = 16, 12
MAGIC = b"glibc-ld.so.cache1.1"
HEADER = struct.Struct("<20sIIB3xI12x")
ENTRY = struct.Struct("<iIIIQ")
EXTENSION_MAGIC = 0xEAA42174
EXTENSION = struct.Struct("<II")
SECTION = struct.Struct("<IIII")
TAG_GLIBC_HWCAPS = 1
MAX_SECTIONS = 64
# FLAG_X8664_LIB64 | FLAG_ELF_LIBC6: the only entries that the x86-64 loader takes.
X86_64 = 0x0303
LITTLE_ENDIAN = 2
# In the upper half of an entry's hwcap: the lower half is an index of the glibc-hwcaps names. The bits of the
# ISA level beside it only repeat what the name says.
NAMED_HWCAP, ISA_LEVEL_MASK = 1 << 30, 0x3FF


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """
    One file of the cache.

    `level` is its glibc-hwcaps subdirectory, "hwcap" and a bit pattern for the older kind, "" for the
    baseline.
    """

    path: str
    level: str


def parse_cache(data: bytes, path: str) -> dict[str, tuple[CacheEntry, ...]]:
    """
    Return library name -> its x86-64 files, in the order of the cache.

    Raises:
        BinaryError: not a cache, or one whose tables or strings are not all in the file.

    Not checked:
        That the files exist: the loader goes on searching where they do not.
    """
    start = _start(data, path)
    if len(data) < start + HEADER.size:
        raise _error(path, "header", f"{len(data) - start} bytes", f"{HEADER.size} bytes")
    magic, count, _strings, flags, extensions = HEADER.unpack_from(data, start)
    if magic != MAGIC:
        raise _error(path, "magic", repr(magic[:20]), repr(MAGIC))
    if flags not in (0, LITTLE_ENDIAN):
        raise _error(path, "flags", str(flags), f"{LITTLE_ENDIAN} (little-endian)")
    table = start + HEADER.size
    if table + count * ENTRY.size > len(data):
        raise _error(path, "nlibs", str(count), f"at most {(len(data) - table) // ENTRY.size} entries")
    names = _hwcap_names(data, path, start, extensions)
    found: dict[str, list[CacheEntry]] = {}
    for flags, key, value, _version, hwcap in ENTRY.iter_unpack(data[table : table + count * ENTRY.size]):
        if flags != X86_64:
            continue
        entry = CacheEntry(_string(data, path, start + value), _level(hwcap, names))
        found.setdefault(_string(data, path, start + key), []).append(entry)
    return {name: tuple(entries) for name, entries in found.items()}


def _start(data: bytes, path: str) -> int:
    """Return where the format starts that is read: offsets of strings count from there."""
    if not data.startswith(OLD_MAGIC):
        return 0
    if len(data) < OLD_HEADER_SIZE:
        raise _error(path, "old header", f"{len(data)} bytes", f"{OLD_HEADER_SIZE} bytes")
    entries = int.from_bytes(data[OLD_HEADER_SIZE - 4 : OLD_HEADER_SIZE], "little") * OLD_ENTRY_SIZE
    return (OLD_HEADER_SIZE + entries + 7) // 8 * 8


def _hwcap_names(data: bytes, path: str, start: int, extensions: int) -> tuple[str, ...]:
    if extensions == 0:
        return ()
    at = start + extensions
    if at + EXTENSION.size > len(data):
        raise _error(path, "extension_offset", str(extensions), "an offset inside the file")
    magic, count = EXTENSION.unpack_from(data, at)
    if magic != EXTENSION_MAGIC:
        raise _error(path, "extension magic", f"{magic:#x}", f"{EXTENSION_MAGIC:#x}")
    if count > MAX_SECTIONS or at + EXTENSION.size + count * SECTION.size > len(data):
        raise _error(path, "extension count", str(count), f"at most {MAX_SECTIONS} sections in the file")
    for index in range(count):
        tag, _flags, offset, size = SECTION.unpack_from(data, at + EXTENSION.size + index * SECTION.size)
        if tag == TAG_GLIBC_HWCAPS:
            first = start + offset
            if size % 4 or first + size > len(data):
                raise _error(path, "glibc-hwcaps section", f"{size} bytes", "whole words inside the file")
            words = struct.unpack_from(f"<{size // 4}I", data, first)
            return tuple(_string(data, path, start + word) for word in words)
    return ()


def _level(hwcap: int, names: tuple[str, ...]) -> str:
    if hwcap == 0:
        return ""
    index = hwcap & 0xFFFFFFFF
    if (hwcap >> 32) & ~ISA_LEVEL_MASK == NAMED_HWCAP and index < len(names):
        return names[index]
    return f"hwcap {hwcap:#x}"


def _string(data: bytes, path: str, offset: int) -> str:
    end = data.find(b"\0", offset, offset + 4097)
    if end < 0:
        raise _error(path, f"string at {offset:#x}", "no final NUL in 4096 bytes", "a path")
    return data[offset:end].decode("utf-8", "surrogateescape")


def _error(path: str, what: str, found: str, want: str) -> BinaryError:
    return BinaryError(f"{path}: {what}", found, want, "glibc ld.so.cache")
