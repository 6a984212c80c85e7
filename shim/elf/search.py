"""
In which file does the loader find a library that an object needs?

The search rules of glibc's loader, with every directory in its order; those of musl are in `musl_search.py`.
The environment has no say: LD_LIBRARY_PATH is taken to be unset, as a profile assumes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shim.elf.files import FileSource
from shim.elf.ldcache import CacheEntry, parse_cache
from shim.errors import BinaryError, UnsupportedElfError

LD_SO = "ld.so(8), glibc 2.36 elf/dl-load.c"
LD_SO_CACHE, LD_SO_PRELOAD = "/etc/ld.so.cache", "/etc/ld.so.preload"
# Where loaders differ in what is compiled into them and the list cannot be read from the file.
DEFAULT_DIRECTORIES = (
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
)  # fmt: skip
# The loader's own list stands in it as consecutive strings that begin and end with a slash.
_SYSTEM_DIRECTORIES = re.compile(rb"\0(/(?:[!-~]{1,255}/)?\0(?:/(?:[!-~]{1,255}/)?\0){1,15})")
# Subdirectories that a loader prefers where the CPU has the feature; the last four went away with glibc 2.37.
HWCAPS = ("glibc-hwcaps/x86-64-v4", "glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2")
LEGACY_HWCAPS = ("haswell", "avx512_1", "tls", "x86_64")
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|PLATFORM|LIB)\}|(ORIGIN|PLATFORM|LIB))")


@dataclass(frozen=True, slots=True)
class Requester:
    """
    What the search rules look at in an object that needs another.

    `origin` is the directory that $ORIGIN stands for, "" where it is not known; `rpath` and `runpath` are
    None where the object has none; `loader` is the object on whose account this one was loaded.
    """

    path: str
    origin: str
    rpath: str | None
    runpath: str | None
    no_default_directories: bool
    loader: Requester | None


@dataclass(frozen=True, slots=True)
class Found:
    """The file that the loader opens, under the name by which it found it."""

    path: str
    data: bytes


class ObjectNotFoundError(BinaryError):
    """
    A needed object that is in none of the places where the loader looks.

    Attributes:
        name: What was asked for.
        needed_by: Path of the object that needs it.
        looked_in: The places, in order.
    """

    def __init__(self, name: str, needed_by: str, looked_in: tuple[str, ...]) -> None:
        self.name = name
        self.needed_by = needed_by
        self.looked_in = looked_in
        places = ", ".join(looked_in) or "nowhere"
        super().__init__(
            f"{name}, needed by {needed_by}", f"no such file in {places}", "a library there", LD_SO
        )


class MissingObjectsError(BinaryError):
    """
    Needed objects that are in none of the places where the loader looks.

    Attributes:
        missing: One error per object: its name, who needs it, and where it was looked for.
    """

    def __init__(self, program: str, missing: tuple[ObjectNotFoundError, ...]) -> None:
        self.missing = missing
        named = "; ".join(f"{error.where}, {error.found}" for error in missing)
        super().__init__(program, f"{len(missing)} needed objects missing: {named}", "all of them", LD_SO)


class Search(Protocol):
    """The search rules of one loader."""

    findings: list[str]

    def find(self, name: str, requester: Requester) -> Found:
        """Return the file for `name`; raises ObjectNotFoundError."""

    def expand(self, name: str, requester: Requester) -> str:
        """Return a DT_NEEDED string as the loader reads it."""


class GlibcSearch:
    """
    The rules of glibc's loader for a process that is not AT_SECURE and has no LD_* in its environment.

    Args:
        files: The files.
        interpreter: Bytes of the loader: its default directories are compiled into it.
        levels: glibc-hwcaps levels that the CPU is taken to have, the best first ("x86-64-v3"); what the
            loader would take on other CPUs instead is a finding.
    """

    def __init__(self, files: FileSource, interpreter: bytes, levels: tuple[str, ...] = ()) -> None:
        self.findings: list[str] = []
        self._files = files
        self._levels = levels
        self._default = default_directories(interpreter)
        self._cache: dict[str, tuple[CacheEntry, ...]] | None = None

    def find(self, name: str, requester: Requester) -> Found:
        """
        Return the file for `name`.

        Raises:
            ObjectNotFoundError: none of the places has one.
            UnsupportedElfError: a relative path, whose meaning depends on the working directory.
            BinaryError: a damaged ld.so.cache.

        Source:
            ld.so(8), "Shared object dependencies"; glibc 2.36, elf/dl-load.c, _dl_map_object.
        """
        if "/" in name:
            return self._by_path(name, requester)
        looked_in: list[str] = []
        for directory in self._own_directories(requester):
            looked_in.append(directory)
            found = self._in_directory(directory, name)
            if found is not None:
                return found
        looked_in.append(LD_SO_CACHE)
        cached = self._in_cache(name, requester)
        if cached is not None:
            return cached
        if not requester.no_default_directories:
            for directory in self._default:
                looked_in.append(directory)
                found = self._in_directory(directory, name)
                if found is not None:
                    return found
        raise ObjectNotFoundError(name, requester.path, tuple(looked_in))

    def expand(self, name: str, requester: Requester) -> str:
        """
        Return `name` with $ORIGIN, $LIB and $PLATFORM replaced.

        Raises:
            UnsupportedElfError: $ORIGIN of a program whose absolute path is not known.
        """
        return _TOKEN.sub(lambda match: self._stands_for(match[1] or match[2], name, requester), name)

    def _stands_for(self, name: str, text: str, requester: Requester) -> str:
        if name == "ORIGIN":
            return origin(requester, text)
        if name == "LIB":
            return next((d[1:] for d in self._default if d.startswith("/lib")), "lib")
        self._note(f"{requester.path}: {text} depends on the CPU ($PLATFORM): taken as x86_64")
        return "x86_64"

    def _own_directories(self, requester: Requester) -> Iterator[str]:
        """Yield DT_RUNPATH of the requester, or else DT_RPATH of it and of those it was loaded for."""
        if requester.runpath is not None:
            yield from self._directories(requester.runpath, requester)
            return
        holder: Requester | None = requester
        while holder is not None:
            if holder.rpath is not None and holder.runpath is None:
                yield from self._directories(holder.rpath, holder)
            holder = holder.loader

    def _directories(self, path: str, holder: Requester) -> list[str]:
        directories = []
        for part in path.split(":") if path else []:
            directory = self.expand(part, holder)
            directory = directory.rstrip("/") or directory[:1]
            if directory.startswith("/"):
                directories.append(directory)
            else:
                self._note(
                    f"{holder.path}: {path!r}: {part!r} depends on the working directory, not searched"
                )
        return directories

    def _in_directory(self, directory: str, name: str) -> Found | None:
        prefix = directory.rstrip("/")
        chosen: Found | None = None
        for level in self._levels:
            chosen = chosen or self._open(f"{prefix}/glibc-hwcaps/{level}/{name}")
        chosen = chosen or self._open(f"{prefix}/{name}")
        for folder in (*HWCAPS, *LEGACY_HWCAPS):
            self._note_variant(f"{prefix}/{folder}/{name}", chosen)
        return chosen

    def _in_cache(self, name: str, requester: Requester) -> Found | None:
        if self._cache is None:
            data = self._files.read(LD_SO_CACHE)
            self._cache = {} if data is None else parse_cache(data, LD_SO_CACHE)
        entries = self._cache.get(name, ())
        if requester.no_default_directories:
            barred = tuple(directory + "/" for directory in self._default)
            entries = tuple(entry for entry in entries if not entry.path.startswith(barred))
        chosen: Found | None = None
        for level in (*self._levels, ""):
            # The loader tries one entry, the best, and goes on to the directories where its file is gone.
            best = next((entry for entry in entries if entry.level == level), None)
            if best is not None:
                chosen = self._open(best.path)
                break
        for entry in entries:
            if entry.level:
                self._note_variant(entry.path, chosen)
        return chosen

    def _by_path(self, name: str, requester: Requester) -> Found:
        refuse_relative(name, requester)
        data = self._files.read(name)
        if data is None:
            raise ObjectNotFoundError(name, requester.path, (name,))
        return Found(name, data)

    def _open(self, path: str) -> Found | None:
        data = self._files.read(path)
        return Found(path, data) if data is not None and not _of_another_machine(data) else None

    def _note_variant(self, path: str, chosen: Found | None) -> None:
        if (chosen is None or path != chosen.path) and self._open(path) is not None:
            instead = chosen.path if chosen is not None else "nothing"
            self._note(f"{path}: a loader on a CPU that has the feature takes it, here {instead} was taken")

    def _note(self, finding: str) -> None:
        if finding not in self.findings:
            self.findings.append(finding)


def default_directories(interpreter: bytes) -> tuple[str, ...]:
    """Return the directories that are compiled into a glibc loader, or the usual ones where none are seen."""
    match = _SYSTEM_DIRECTORIES.search(interpreter)
    if match is None:
        return DEFAULT_DIRECTORIES
    return tuple(part.decode("ascii").rstrip("/") or "/" for part in match[1].split(b"\0")[:-1])


def origin(requester: Requester, text: str) -> str:
    """Return what $ORIGIN stands for in `text`; raises UnsupportedElfError where that is not known."""
    if not requester.origin:
        raise UnsupportedElfError(
            f"{requester.path}: {text}", "$ORIGIN", "a program whose absolute path is known", LD_SO
        )
    return requester.origin


def refuse_relative(name: str, requester: Requester) -> None:
    """Raise UnsupportedElfError for a path that the loader would open in the working directory."""
    if not name.startswith("/"):
        raise UnsupportedElfError(
            f"{requester.path}: needed object",
            f"the relative path {name!r}",
            "an absolute path or a name",
            LD_SO,
        )


def _of_another_machine(data: bytes) -> bool:
    """Whether the loader passes over a file: ELF, but of another class or machine."""
    return data[:4] == b"\x7fELF" and len(data) >= 64 and (data[4] != 2 or data[18:20] != b"\x3e\0")
