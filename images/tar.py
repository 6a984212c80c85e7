"""
A tree as a tar archive whose bytes follow from the tree and one time alone.

POSIX headers, extended ones only for what does not fit: long names and such beyond ASCII.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from images.tree import Entry, Kind, Tree

_TYPES = {Kind.FILE: tarfile.REGTYPE, Kind.DIRECTORY: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE}


def tar_bytes(tree: Tree, created: int) -> bytes:
    """
    Return the archive: entries by path, owner 0, every time `created`.

    Source:
        POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; OCI image-spec 1.1,
        layer.md, "Representing Changes".
    """
    archive = bytearray()
    for chunk in _chunks(tree, created):
        archive += chunk
    archive += bytes(2 * tarfile.BLOCKSIZE)
    archive += bytes(-len(archive) % tarfile.RECORDSIZE)
    return bytes(archive)


def _chunks(tree: Tree, created: int) -> Iterator[bytes]:
    for entry in tree.entries:
        yield _header(entry, created).tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        data = entry.data()
        yield data
        yield bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(entry: Entry, created: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.path[1:].decode())
    header.type = _TYPES[entry.kind]
    header.mode = entry.mode
    header.mtime = created
    header.size = 0 if entry.content is None else entry.content.size
    header.linkname = entry.target.decode()
    return header
