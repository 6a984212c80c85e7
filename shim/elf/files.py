"""
Which file does a path name, as the loader sees it?

The file system is an argument of the closure. `RootedFiles` is the real one below a directory: the paths of
an unpacked image or a chroot mean there what they will mean when the program runs, and never a file outside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Protocol

from shim.errors import BinaryError, FoundWantError, UnsupportedElfError

# include/linux/namei.h, v6.12: MAXSYMLINKS.
MAX_SYMLINKS = 40
# include/uapi/linux/limits.h, v6.12.
PATH_MAX = 4096
# Real closures take a few hundred; a file made to keep the search busy takes more.
MAX_READS = 20_000
_ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError)


class FileSource(Protocol):
    """The files that the loader sees; every path is absolute."""

    def read(self, path: str) -> bytes | None:
        """Return the bytes of the regular file at `path`, or None where there is none that can be opened."""

    def canonical(self, path: str) -> str:
        """Return the name of that file without links and dots: two paths to one file give one name."""

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory at `path`, sorted; none where there is no such directory."""


class BoundedFiles:
    """
    The same files, for a search that must end.

    Args:
        files: The files.
        limit: After how many reads it is an error.
    """

    def __init__(self, files: FileSource, limit: int = MAX_READS) -> None:
        self._files = files
        self._limit = limit
        self._reads = 0

    def read(self, path: str) -> bytes | None:
        """Return what the files hold; raises UnsupportedElfError after too many reads."""
        self._reads += 1
        if self._reads > self._limit:
            raise UnsupportedElfError(path, f"more than {self._limit} files looked for", "a search that ends")
        return self._files.read(path)

    def canonical(self, path: str) -> str:
        """Return what the files say."""
        return self._files.canonical(path)

    def listing(self, path: str) -> tuple[str, ...]:
        """Return what the files say."""
        return self._files.listing(path)


class RootedFiles:
    """
    The files below a directory, as a process sees them that has it as its root directory.

    Symbolic links are followed inside the root, absolute targets included; `..` stops at the root.

    Args:
        root: The directory that is `/`.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = str(root).rstrip("/")
        # What each directory that was asked about is called without links; the root is empty.
        self._directories: dict[str, str] = {"": ""}
        self._listings: dict[str, tuple[str, ...]] = {}

    def read(self, path: str) -> bytes | None:
        """
        Return the bytes of the regular file at `path`, or None where there is none that can be opened.

        Raises:
            BinaryError: the file is there and reading it fails, or its symbolic links have no end.
        """
        place = self._place(self.canonical(path))
        try:
            if not stat.S_ISREG(os.lstat(place).st_mode):
                return None
            with open(place, "rb") as file:  # noqa: PTH123  # paths are strings here: a search makes thousands
                return file.read()
        except _ABSENT:
            return None
        except OSError as error:
            raise BinaryError(path, error.strerror or "an input/output error", "a readable file") from error

    def canonical(self, path: str) -> str:
        """
        Return the path below the root of the file that `path` names, without symbolic links and dots.

        A path that does not exist keeps its last components.

        Raises:
            BinaryError: more than 40 symbolic links, a NUL in the path, or a path that is too long.

        Source:
            path_resolution(7).
        """
        if "\0" in path:
            raise BinaryError(path.replace("\0", "\\0"), "a NUL in a path", "none")
        if len(path) >= PATH_MAX:
            raise BinaryError(
                f"{path[:64]}...", f"a path of {len(path)} bytes", f"fewer than {PATH_MAX} bytes"
            )
        directory, _, name = path.rpartition("/")
        return self._below(self._directory(directory), name)

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory at `path`, sorted; none where it is none or cannot be read."""
        place = self.canonical(path)
        if place not in self._listings:
            try:
                raw = os.listdir(self._place(place))  # noqa: PTH208  # as in read()
            except OSError:
                raw = []
            self._listings[place] = tuple(sorted(map(os.fsdecode, raw)))
        return self._listings[place]

    def _directory(self, path: str) -> str:
        """Return what the directory at `path` is called without links and dots; the root is empty."""
        unknown = []
        while path not in self._directories:
            unknown.append(path)
            path = path.rpartition("/")[0]
        place = self._directories[path]
        for directory in reversed(unknown):
            place = self._below(place, directory.rpartition("/")[2]).rstrip("/")
            self._directories[directory] = place
        return place

    def _below(self, directory: str, name: str) -> str:
        """Return the canonical path of `name` in a directory whose path is canonical."""
        place = f"{directory}/{name}"
        if name in ("", ".", "..") or self._link(place) is not None:
            return without_links(place, self._link, BinaryError)
        return place

    def _link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path` below the root, or None for anything else."""
        try:
            return os.fsdecode(os.readlink(self._place(path)))  # noqa: PTH115  # as in read()
        except OSError:
            return None

    def _place(self, path: str) -> bytes:
        """Return a path for the kernel; text of UTF-8, as databases have it, is the same in every locale."""
        return (self._root + path).encode("utf-8", "surrogateescape")


def without_links(path: str, link: Callable[[str], str | None], error: type[FoundWantError]) -> str:
    """
    Return an absolute path without links and dots, whether anything stands there or not.

    Args:
        path: It, which means what it means for a process with that root.
        link: Returns the target of the symbolic link at a path whose parents are no links, None for anything
            else.
        error: The type of errors.

    Raises:
        FoundWantError: of the type `error`: links without an end, more than `MAX_SYMLINKS`.

    Source:
        path_resolution(7); Linux 6.12, include/linux/namei.h, MAXSYMLINKS.
    """
    waiting = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while waiting:
        name = waiting.pop()
        if name in ("", "."):
            continue
        if name == "..":
            del done[-1:]
            continue
        target = link("/" + "/".join([*done, name]))
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > MAX_SYMLINKS:
            raise error(path, f"more than {MAX_SYMLINKS} symbolic links", "an end of them")
        if target.startswith("/"):
            done.clear()
        waiting.extend(target.split("/")[::-1])
    return "/" + "/".join(done)
