"""A tree as the archive that a kernel unpacks into its first file system."""

from __future__ import annotations

from collections.abc import Iterator

from images.errors import ImageSpecError
from images.tree import Entry, Kind, Tree

_MAGIC, _TRAILER = b"070701", b"TRAILER!!!"
_TYPES = {Kind.FILE: 0o100000, Kind.DIRECTORY: 0o040000, Kind.SYMLINK: 0o120000}
# The kernel reads the archive in blocks of this size where several follow one another.
_BLOCK = 512
MAX_FILE = (1 << 32) - 1


def cpio_bytes(tree: Tree, created: int) -> bytes:
    """
    Return the archive in the format "newc": entries by path, owner 0, every time `created`.

    Raises:
        ImageSpecError: a file of 4 GiB or more, for which the format has no field.

    Source:
        Linux 6.12, Documentation/driver-api/early-userspace/buffer-format.rst, "initramfs buffer format".
    """
    archive = bytearray()
    for number, entry in enumerate(tree.entries, 1):
        for chunk in _member(entry, number, created):
            archive += chunk
            archive += bytes(-len(archive) % 4)
    archive += _header(_TRAILER, 0, 0, 1, 0, 0) + _TRAILER + b"\0"
    archive += bytes(-len(archive) % _BLOCK)
    return bytes(archive)


def _member(entry: Entry, number: int, created: int) -> Iterator[bytes]:
    data = entry.target if entry.kind is Kind.SYMLINK else entry.data()
    if len(data) > MAX_FILE:
        raise ImageSpecError(entry.name, f"{len(data)} bytes", f"at most {MAX_FILE} bytes in an initramfs")
    name = entry.path[1:]
    links = 2 if entry.kind is Kind.DIRECTORY else 1
    yield _header(name, number, _TYPES[entry.kind] | entry.mode, links, created, len(data)) + name + b"\0"
    yield data


def _header(name: bytes, number: int, mode: int, links: int, created: int, size: int) -> bytes:
    """Return ino, mode, uid, gid, nlink, mtime, filesize, four device numbers, namesize and check."""
    fields = (number, mode, 0, 0, links, created, size, 0, 0, 0, 0, len(name) + 1, 0)
    return _MAGIC + b"".join(b"%08X" % field for field in fields)
