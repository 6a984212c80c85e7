"""
The files of an image layout, read once into memory and nothing but them.

What is checked later and used after that are these bytes, so nobody can change them in between.  Links are
not followed below the directory that the user named, and a file that no layout has is a reason to stop.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from images.layout.errors import LayoutError

LAYOUT_FILE, INDEX_FILE, BLOBS = "oci-layout", "index.json", "blobs/sha256"
MAX_BYTES, MAX_FILES = 4 << 30, 10_000
_SOURCE = 'OCI image-spec 1.1, image-layout.md, "Content"'
_FOLDERS = frozenset({"blobs", BLOBS})
_FILE = re.compile(rf"{re.escape(LAYOUT_FILE)}|{re.escape(INDEX_FILE)}|{BLOBS}/[0-9a-f]{{64}}")


def is_layout(directory: Path) -> bool:
    """Whether a path is a directory that says it is an image layout; whether a good one is not looked at."""
    return (directory / LAYOUT_FILE).is_file()


def read_files(directory: Path, limit: int = MAX_BYTES) -> dict[str, bytes]:
    """
    Return all files of the layout in `directory` by their names in it, such as "index.json".

    Args:
        directory: Holds oci-layout, index.json and blobs.
        limit: Bytes that they may have together.

    Raises:
        LayoutError: one cannot be read, is no regular file or has a name that no layout has; a link; more
            than 10,000 files or more than `limit` bytes.

    Not checked:
        What is in them: `images.layout.graph` does.
    """
    reader = _Reader(str(directory), limit)
    with reader.opened(str(directory), os.O_DIRECTORY, None) as root:
        reader.take(root, "")
    return reader.found


class ChosenFiles(Mapping[str, bytes]):
    """
    Files of a layout that are read when they are asked for, once, and kept.

    For layouts of which a part is used, as other tools leave them: what else lies there does not count, and
    links are followed.  That is safe where every byte is held against a digest, and nobody else is shown it.

    Args:
        directory: Holds oci-layout, index.json and blobs.
        limit: Bytes that the files which are read may have together.
    """

    def __init__(self, directory: Path, limit: int = MAX_BYTES) -> None:
        self._reader = _Reader(str(directory), limit, follow=True)
        self._directory = directory

    def __getitem__(self, name: str) -> bytes:
        """Return a file; raises KeyError where there is none, LayoutError where it cannot be read."""
        if name not in self._reader.found:
            if not _FILE.fullmatch(name) or not os.path.lexists(self._directory / name):
                raise KeyError(name)
            with self._reader.opened(str(self._directory), os.O_DIRECTORY, None) as root:
                self._reader.read(name, name, root)
        return self._reader.found[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of what was read."""
        return iter(self._reader.found)

    def __len__(self) -> int:
        """Return how many were read."""
        return len(self._reader.found)


@dataclass(slots=True)
class _Reader:
    where: str
    left: int
    found: dict[str, bytes] = field(default_factory=dict)
    follow: bool = False

    def take(self, folder: int, prefix: str) -> None:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            path = prefix + name
            if path in _FOLDERS:
                with self.opened(name, os.O_DIRECTORY | os.O_NOFOLLOW, folder) as below:
                    self.take(below, f"{path}/")
            elif _FILE.fullmatch(path):
                self.read(name, path, folder)
            else:
                want = f"only {LAYOUT_FILE}, {INDEX_FILE} and {BLOBS}/DIGEST"
                raise LayoutError(self.where, f"{path!r}", want, _SOURCE)

    def read(self, name: str, path: str, folder: int) -> None:
        """Take the file of a name in a folder, `path` in the layout."""
        where = f"{self.where}/{path}"
        if len(self.found) >= MAX_FILES:
            raise LayoutError(where, f"more than {MAX_FILES} files", "fewer")
        links = 0 if self.follow else os.O_NOFOLLOW
        with self.opened(name, links | os.O_NONBLOCK, folder) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LayoutError(where, "no regular file", "one", _SOURCE)
            if status.st_size > self.left:
                raise LayoutError(where, f"{status.st_size} bytes", f"at most {self.left} bytes")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(self.left + 1 if status.st_size == self.left else status.st_size + 1)
        if len(data) != status.st_size:
            raise LayoutError(where, "a file that changes while it is read", "one at rest")
        self.left -= len(data)
        self.found[path] = data

    @contextmanager
    def opened(self, name: str, flags: int, folder: int | None) -> Iterator[int]:
        where = self.where if folder is None else f"{self.where}: {name!r}"
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LayoutError(where, reason, "a part of an image layout that can be read", _SOURCE) from error
        try:
            yield descriptor
        except OSError as error:
            raise LayoutError(where, str(error.strerror), "a file that can be read") from error
        finally:
            os.close(descriptor)


def blob_name(digest: str) -> str:
    """Return the name in a layout of the blob with a SHA-256 digest, 64 hexadecimal digits."""
    return f"{BLOBS}/{digest}"


def blobs_of(files: Mapping[str, bytes]) -> frozenset[str]:
    """Return the digests by which the blobs among `files` are named."""
    return frozenset(name.rpartition("/")[2] for name in files if name.startswith(f"{BLOBS}/"))
