"""
Everything that will be in an image, as one value.

A tree is complete and in one order, so whatever is written from it depends on nothing else.  Owners and times
are no part of it: everything belongs to root, and the time is that of the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from images.content import Content
from images.errors import ConflictsError, ImageSpecError
from shim.elf.files import without_links

# include/uapi/linux/limits.h, v6.12: PATH_MAX counts the final NUL.
MAX_PATH, MAX_NAME = 4095, 255


class Kind(StrEnum):
    """What an entry is. There is nothing else: no device, no socket, no pipe."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """
    Why an entry is in the tree: one link of a chain that ends at what the user asked for.

    Attributes:
        rule: A word: that of `shim.profile.footprint.Mapped` for objects, of a data rule, or one of
            "include", "directory", "link", "shim".
        by: Path in the tree of the entry that leads here, "" at the end of the chain.
        detail: What of that entry does: a name, a string, a function.
    """

    rule: str
    by: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One file, directory or symbolic link.

    Attributes:
        path: Absolute, without dots and links.
        kind: Which of the three.
        mode: Permissions; of a link always 0o777.
        reason: Why it is there.
        content: Of a file.
        target: Of a link, as it is written: absolute ones mean the image's own root.
    """

    path: bytes
    kind: Kind
    mode: int
    reason: Reason
    content: Content | None = None
    target: bytes = b""

    @classmethod
    def file(cls, path: bytes, content: Content, reason: Reason, *, mode: int = 0o644) -> Entry:
        """Return a file."""
        return cls(path, Kind.FILE, mode, reason, content=content)

    @classmethod
    def directory(cls, path: bytes, reason: Reason, *, mode: int = 0o755) -> Entry:
        """Return a directory."""
        return cls(path, Kind.DIRECTORY, mode, reason)

    @classmethod
    def symlink(cls, path: bytes, target: bytes, reason: Reason) -> Entry:
        """Return a symbolic link."""
        return cls(path, Kind.SYMLINK, 0o777, reason, target=target)

    @property
    def name(self) -> str:
        """The path as text."""
        return self.path.decode("utf-8", "backslashreplace")

    def data(self) -> bytes:
        """Return what a file holds, nothing for anything else."""
        return b"" if self.content is None else self.content.read()

    def same(self, other: Entry) -> bool:
        """Whether both are the same file, for whatever reason."""
        mine = (self.path, self.kind, self.mode, self.content, self.target)
        return mine == (other.path, other.kind, other.mode, other.content, other.target)


@dataclass(frozen=True, slots=True)
class Tree:
    """
    The entries of an image by path, directories before what is in them, each parent among them.

    Made by `Tree.of` only, which checks that.
    """

    entries: tuple[Entry, ...]
    _places: Mapping[bytes, Entry] = field(repr=False, compare=False)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Tree:
        """
        Return the tree of `entries`, with the directories above them that are not among them.

        Of several equal entries the first one's reason stays.

        Raises:
            ConflictsError: all that cannot be: two different files for one path, a file below a file or a
                link, a name that is no UTF-8 or holds control characters, a link that leads above the root.
        """
        problems: list[ImageSpecError] = []
        places: dict[bytes, Entry] = {}
        for entry in entries:
            fault = _fault(entry)
            known = places.setdefault(entry.path, entry)
            if fault is not None:
                problems.append(fault)
            elif not known.same(entry):
                problems.append(_two(known, entry))
        for path, entry in list(places.items()):
            problems += _add_parents(places, path, entry)
        if problems:
            raise ConflictsError(tuple(problems))
        ordered = {path: places[path] for path in sorted(places)}
        return cls(tuple(ordered.values()), MappingProxyType(ordered))

    def get(self, path: bytes) -> Entry | None:
        """Return the entry at a path that leads over no link, or None."""
        return self._places.get(path)

    def find(self, path: bytes) -> Entry | None:
        """
        Return the entry that a process sees at `path`, links followed; None where there is none.

        Source:
            path_resolution(7).
        """
        return self._places.get(resolved(path, self._places) or b"")

    def exists(self, path: str) -> bool:
        """Whether there is something at `path`; the root always is."""
        return path == "/" or self.find(path.encode(errors="surrogateescape")) is not None

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(entry.content.size for entry in self.entries if entry.content is not None)


def resolved(path: bytes, places: Mapping[bytes, Entry]) -> bytes | None:
    """Return `path` without dots and without the links of `places`; None for links without an end."""

    def link(place: str) -> str | None:
        entry = places.get(os.fsencode(place))
        return os.fsdecode(entry.target) if entry is not None and entry.kind is Kind.SYMLINK else None

    try:
        return os.fsencode(without_links(os.fsdecode(path), link, ImageSpecError))
    except ImageSpecError:
        return None


def _fault(entry: Entry) -> ImageSpecError | None:
    """Return what is wrong with one entry by itself."""
    path = entry.path
    names = path.split(b"/")[1:]
    if not path.startswith(b"/") or any(name in (b"", b".", b"..") for name in names):
        return ImageSpecError(entry.name, "a path with empty or dotted parts", "an absolute path without")
    if len(path) > MAX_PATH or max(map(len, names)) > MAX_NAME:
        want = f"at most {MAX_PATH} bytes, {MAX_NAME} in each name"
        return ImageSpecError(entry.name[:80], f"a path of {len(path)} bytes", want)
    for what, text in (("name", path), ("target", entry.target)):
        if not _is_text(text):
            want = "UTF-8 without control characters: manifests could not name it; leave it out by --exclude"
            return ImageSpecError(f"{entry.name}: {what}", repr(text), want)
    if entry.kind is Kind.SYMLINK:
        return _link_fault(entry)
    return None


def _link_fault(entry: Entry) -> ImageSpecError | None:
    if not 0 < len(entry.target) <= MAX_PATH:
        return ImageSpecError(f"{entry.name}: target", f"{len(entry.target)} bytes", f"1 to {MAX_PATH} bytes")
    depth = 0 if entry.target.startswith(b"/") else entry.path.count(b"/") - 1
    for part in entry.target.split(b"/"):
        depth += -1 if part == b".." else part not in (b"", b".")
        if depth < 0:
            found = f"a link to {entry.target.decode(errors='backslashreplace')}, above the root"
            return ImageSpecError(entry.name, found, "a link that stays in the image")
    return None


def _is_text(text: bytes) -> bool:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    return not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in decoded)


def _two(first: Entry, second: Entry) -> ImageSpecError:
    def words(entry: Entry) -> str:
        what = f" {entry.content.sha256[:16]}" if entry.content is not None else ""
        leads = f" to {entry.target.decode(errors='backslashreplace')}" if entry.target else ""
        return (
            f"a {entry.kind}{what}{leads} of mode {entry.mode:o} ({entry.reason.detail or entry.reason.rule})"
        )

    return ImageSpecError(first.name, f"{words(first)} and {words(second)}", "one file for one path")


def _add_parents(places: dict[bytes, Entry], path: bytes, entry: Entry) -> list[ImageSpecError]:
    """Add the directories above `path`; return what stands in their place instead."""
    problems = []
    parent = path.rpartition(b"/")[0]
    while parent:
        above = places.setdefault(parent, Entry.directory(parent, Reason("directory", entry.name)))
        if above.kind is not Kind.DIRECTORY:
            problems.append(ImageSpecError(entry.name, f"a {above.kind} at {above.name}", "a directory"))
        parent = parent.rpartition(b"/")[0]
    return problems
