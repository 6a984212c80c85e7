"""
Where the files of an image are taken from: a running system, a directory that will be the root, or an image.

`Source` is what the loader's rules need (`shim.elf.files.FileSource`), and what a copy needs beside.  Every
path is absolute and means what it means for a process with this root; nothing outside is ever read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from images.content import Content
from images.errors import SourceError
from shim.elf.files import FileSource, RootedFiles

# What is larger is not kept in memory.
MOST_KEPT = 8 << 20


class Found(StrEnum):
    """What stands at a place of a source."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "device, socket or pipe"


@dataclass(frozen=True, slots=True)
class Node:
    """What stands at one place: `mode` as the source has it, `target` of a link."""

    kind: Found
    mode: int
    target: str = ""


class Source(FileSource, Protocol):
    """Files to take; paths are text, undecodable bytes as surrogates."""

    name: str
    """What the manifest calls it."""

    def node(self, path: str) -> Node | None:
        """Return what stands at a path whose parents are no links, itself not followed; None for nothing."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory at such a path, sorted; raises SourceError if unreadable."""

    def content(self, path: str) -> Content:
        """Return what the regular file at such a path holds; raises SourceError if it cannot be read."""


class DirectorySource:
    """
    The files below a directory.

    Args:
        root: The directory that is `/`.
    """

    def __init__(self, root: str = "/") -> None:
        self.name = "directory"
        self._root = root.rstrip("/")
        self._files = RootedFiles(root)
        self.read = self._files.read
        self.canonical = self._files.canonical
        self.listing = self._files.listing

    def node(self, path: str) -> Node | None:
        """Return what stands at `path`."""
        try:
            status = os.lstat(self._root + path)
            kind = _kind(status.st_mode)
            target = os.readlink(self._root + path) if kind is Found.SYMLINK else ""  # noqa: PTH115  # text
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise SourceError(path, _words(error), "a readable place") from error
        return Node(kind, stat.S_IMODE(status.st_mode), target)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory at `path`; what a loader passes over is an error of a copy."""
        try:
            return tuple(sorted(os.listdir(self._root + path)))  # noqa: PTH208  # text
        except OSError as error:
            raise SourceError(path, _words(error), "a readable directory") from error

    def content(self, path: str) -> Content:
        """Return what the file at `path` holds, by reference if that is much."""
        place = self._root + path

        def load() -> bytes:
            try:
                with open(place, "rb") as file:  # noqa: PTH123  # as in `RootedFiles`
                    return file.read()
            except OSError as error:
                raise SourceError(path, _words(error), "a readable file") from error

        try:
            large = os.lstat(place).st_size > MOST_KEPT
        except OSError as error:
            raise SourceError(path, _words(error), "a readable file") from error
        return Content.by_reference(path, load) if large else Content.of(load())


def _kind(mode: int) -> Found:
    if stat.S_ISREG(mode):
        return Found.FILE
    if stat.S_ISDIR(mode):
        return Found.DIRECTORY
    return Found.SYMLINK if stat.S_ISLNK(mode) else Found.OTHER


def _words(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)
