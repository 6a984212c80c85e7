"""The layers of an image as an initramfs: the same files, so the same bytes that `shim build` writes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence

from images.boot.errors import InitramfsError
from images.content import Content
from images.cpio import cpio_bytes
from images.layout.unpack import entries
from images.tree import Entry, Reason, Tree

_REASON = Reason("layer", "in a layer of the image")
_PLAN = "shim/plan"


def initramfs_of(archives: Sequence[bytes], where: str) -> bytes:
    """
    Return the files of layers as an archive in format newc, not compressed.

    Args:
        archives: tar archives, the lowest layer first; checked, and not compressed.
        where: What to call them in errors.

    Raises:
        LayoutError: see `images.layout.unpack.entries`.
        InitramfsError: no launch plan among them, whose time is that of the image.
        ConflictsError: files that contradict each other.
    """
    found = tuple(entries(archives, where))
    times = [int(member.mtime) for name, member, _ in found if name == _PLAN]
    if not times:
        raise InitramfsError(where, f"no /{_PLAN}", "an image of shim build")
    return cpio_bytes(Tree.of(_entries(found)), times[0])


def _entries(found: Sequence[tuple[str, tarfile.TarInfo, bytes]]) -> Iterator[Entry]:
    for name, member, data in found:
        path = b"/" + name.encode(errors="surrogateescape")
        if member.isdir():
            yield Entry.directory(path, _REASON, mode=member.mode & 0o7777)
        elif member.issym():
            yield Entry.symlink(path, member.linkname.encode(errors="surrogateescape"), _REASON)
        else:
            yield Entry.file(path, Content.of(data), _REASON, mode=member.mode & 0o7777)
