"""What a package database says of one path: which package installed it, with which digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from images.packages.package import Package
from shim.elf.files import FileSource


@dataclass(frozen=True, slots=True)
class Claim:
    """
    One package's claim to a path.

    Attributes:
        package: The package.
        algorithm: "md5" or "sha1", "" if the database keeps no digest of this file.
        digest: In hexadecimal.
    """

    package: Package
    algorithm: str = ""
    digest: str = ""

    def met(self, data: bytes) -> bool:
        """Whether `data` is what the package installed, as far as the database knows."""
        if not self.algorithm:
            return True
        return hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest() == self.digest


class Paths:
    """
    The paths that are asked about, and under which other names a database may have them.

    A database keeps the paths of its packages as they were packed: /lib/x for what is /usr/lib/x on a system
    where /lib is a link.  Links among the directories are followed, one at the end is a file of its own.

    Args:
        files: The files below the root.
        wanted: Paths of files without links and dots.
    """

    def __init__(self, files: FileSource, wanted: Iterable[str]) -> None:
        self.files = files
        self._wanted = frozenset(wanted)
        self._names = frozenset(path.rpartition("/")[2] for path in self._wanted)

    def among(self, listed: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield (path as it was asked about, path as it is listed) for each that was asked about."""
        for path in listed:
            directory, _, name = path.rpartition("/")
            if name in self._names:
                canonical = f"{self.files.canonical(directory + '/').rstrip('/')}/{name}"
                if canonical in self._wanted:
                    yield canonical, path
