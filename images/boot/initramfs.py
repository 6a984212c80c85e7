"""
What is in an initramfs that is about to boot, and the same with one file changed?

Only archives as `images.cpio` writes them are taken: one, from its first byte to its trailer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from images.boot.errors import InitramfsError
from images.decompress import gunzip, unzstd

MAGIC, GZIP, ZSTD = b"070701", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_HEADER = 110
_TRAILER = b"TRAILER!!!"
_LARGEST = 1 << 31
_SIZE, _NAME_SIZE = slice(54, 62), slice(94, 102)  # c_filesize and c_namesize, in hexadecimal
_SOURCE = "Linux 6.12, Documentation/driver-api/early-userspace/buffer-format.rst"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: its name without a slash before it, where its header begins, its contents, and its end."""

    name: bytes
    start: int
    data: slice
    end: int


def is_initramfs(data: bytes) -> bool:
    """Whether the bytes begin like one, compressed or not."""
    return data.startswith((MAGIC, GZIP, ZSTD))


def unpacked(data: bytes, where: str) -> bytes:
    """
    Return the archive without compression.

    Raises:
        InitramfsError: damaged, compressed by something else than gzip or zstd, or larger than 2 GiB.
    """
    if data.startswith(MAGIC):
        return data
    if not data.startswith((GZIP, ZSTD)):
        raise InitramfsError(where, data[:6].hex(" "), "an archive in format newc, perhaps by gzip or zstd")
    reader = gunzip if data.startswith(GZIP) else unzstd
    found = bytearray()
    for piece in reader(data, where, InitramfsError):
        found += piece
        if len(found) > _LARGEST:
            raise InitramfsError(where, "more than 2 GiB", "an initramfs")
    return bytes(found)


def members(archive: bytes, where: str) -> Iterator[Member]:
    """
    Yield the entries of an archive, but for its trailer.

    Raises:
        InitramfsError: it does not keep to its format, or something follows its trailer.
    """
    at = 0
    while True:
        header = archive[at : at + _HEADER]
        if len(header) < _HEADER or not header.startswith(MAGIC):
            raise InitramfsError(f"{where}: byte {at}", "no header", "one of format newc", _SOURCE)
        try:
            size, name_size = int(header[_SIZE], 16), int(header[_NAME_SIZE], 16)
        except ValueError as error:
            raise InitramfsError(f"{where}: byte {at}", "no sizes", "hexadecimal digits", _SOURCE) from error
        name = archive[at + _HEADER : at + _HEADER + name_size - 1]
        start = _aligned(at + _HEADER + name_size)
        end = _aligned(start + size)
        if end > _aligned(len(archive)):
            raise InitramfsError(f"{where}: byte {at}", "an entry that is cut off", "the whole", _SOURCE)
        if name == _TRAILER:
            if archive[end:].strip(b"\0"):
                raise InitramfsError(f"{where}: byte {end}", "more", "nothing behind the trailer")
            return
        yield Member(name, at, slice(start, start + size), end)
        at = end


def content(archive: bytes, name: bytes, where: str) -> bytes | None:
    """
    Return the last file of this name, or None.

    Raises:
        InitramfsError: as `members`.
    """
    found = None
    for member in members(archive, where):
        if member.name == name:
            found = archive[member.data]
    return found


def replaced(archive: bytes, name: bytes, new: bytes, where: str) -> bytes:
    """
    Return the archive with other contents in the file of this name.

    Raises:
        InitramfsError: as `members`; or there is not exactly one such file.
    """
    found = [member for member in members(archive, where) if member.name == name]
    if len(found) != 1:
        raise InitramfsError(f"{where}: {name.decode(errors='replace')}", f"{len(found)} of them", "one")
    (old,) = found
    head = bytearray(archive[old.start : old.data.start])
    head[_SIZE] = b"%08X" % len(new)
    made = archive[: old.start] + head + new
    made += bytes(-len(made) % 4) + archive[old.end :]
    return made + bytes(-len(made) % 512)


def _aligned(offset: int) -> int:
    return offset + -offset % 4
