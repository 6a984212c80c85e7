"""
From paths of a source to entries of a tree: links on the way, directories with what is in them, modes.

Modes say who may execute and, of private files, who may read; nothing else of them is kept, so that the umask
of whoever made a file does not show.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from images.content import Content
from images.errors import ImageSpecError
from images.source import Found, Node, Source
from images.tree import Entry, Kind, Reason
from shim.elf.files import MAX_SYMLINKS

# A directory that is taken whole may hold so many entries.
MAX_ENTRIES = 500_000


class Taking:
    """
    Collects entries out of one source.

    Args:
        source: The files.
        exclude: Paths and shell patterns of what is left out, with everything below.
        plain: Nothing of it is executed, whatever its mode says.

    Attributes:
        entries: What was taken, in order.
        left_out: Paths that `exclude` kept away.
    """

    def __init__(self, source: Source, exclude: tuple[str, ...] = (), *, plain: bool = False) -> None:
        self.entries: list[Entry] = []
        self.left_out: list[str] = []
        self._source = source
        self._exclude = exclude
        self._plain = plain
        self._taken: dict[str, Entry] = {}

    def take(self, path: str, reason: Reason, *, code: bool = False, way: Reason | None = None) -> str | None:
        """
        Take what stands at `path`, with every link on the way; return its path without links, or None.

        Args:
            path: Of a file, or of a directory that is then taken with everything in it.
            reason: Why.
            code: It is executed or mapped: executable whatever its mode says, and never left out.
            way: Why the links on the way; that they are on the way if not given.

        Raises:
            ImageSpecError: a device, a socket or a pipe, or links without an end.
            SourceError: it cannot be read.
        """
        if not code and self.excludes(path):
            self.left_out.append(path)
            return None
        links: list[tuple[str, str]] = []
        place, node = self._walk(path, links)
        if node is None or (not code and self.excludes(place)):
            return None
        for link, target in links:
            why = way or Reason("link", text_of(place), f"on the way to {text_of(path)}")
            self._add(Entry.symlink(_raw(link), _raw(target), why))
        if node.kind is Found.DIRECTORY:
            self._take_directory(place, reason)
        else:
            self._add(_file(place, place, node, self._source, reason, code=code))
        return place

    def copy(self, path: str, target: str, reason: Reason) -> None:
        """
        Take the file or directory at `path`, itself not a link any more, as `target`.

        Raises:
            ImageSpecError: it is not there, or nothing that an image holds.
            SourceError: it cannot be read.
        """
        place, node = self._walk(path, [])
        if node is None:
            raise ImageSpecError(path, "nothing there", "a file or a directory to include")
        if node.kind is not Found.DIRECTORY:
            self._add(_file(place, target, node, self._source, reason))
            return
        if target != "/":
            self._add(Entry.directory(_raw(target), reason, mode=_directory_mode(node)))
        base = "" if target == "/" else target
        for below, found in self._below(place, lambda inner: base + inner[len(place.rstrip("/")) :]):
            self._add(_entry(below, base + below[len(place.rstrip("/")) :], found, self._source, reason))

    def excludes(self, path: str) -> bool:
        """Whether a path, or a directory above it, is to be left out."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
        return any(fnmatchcase(place, pattern) for place in above for pattern in self._exclude)

    def _take_directory(self, place: str, reason: Reason) -> None:
        if place != "/":
            node = self._source.node(place)
            mode = 0o755 if node is None else _directory_mode(node)
            self._add(Entry.directory(_raw(place), reason, mode=mode))
        for below, node in self._below(place, lambda inner: inner):
            self._add(_entry(below, below, node, self._source, reason))
            if node.kind is Found.SYMLINK:
                self._follow(below, reason)

    def _follow(self, link: str, reason: Reason) -> None:
        """Take the file that a link in a directory leads to, if there is one."""
        place = self._source.canonical(link)
        node = self._source.node(place)
        if node is not None and node.kind is Found.FILE and place not in self._taken:
            self.take(link, reason, way=reason)

    def _below(self, place: str, named: Callable[[str], str]) -> Iterator[tuple[str, Node]]:
        """Yield everything below a directory, links not followed; `named` says under which names."""
        pending = [place.rstrip("/")]
        count = 0
        while pending:
            folder = pending.pop()
            for name in self._source.names(folder or "/"):
                path = f"{folder}/{name}"
                if self.excludes(named(path)):
                    self.left_out.append(named(path))
                    continue
                node = self._source.node(path)
                if node is None:
                    continue
                count += 1
                if count > MAX_ENTRIES:
                    raise ImageSpecError(place, f"more than {MAX_ENTRIES} entries", "a directory to include")
                if node.kind is Found.DIRECTORY:
                    pending.append(path)
                yield path, node

    def _walk(self, path: str, links: list[tuple[str, str]]) -> tuple[str, Node | None]:
        """Return the path without links and what is there; append each link on the way with its target."""
        waiting = path.split("/")[::-1]
        done: list[str] = []
        node: Node | None = Node(Found.DIRECTORY, 0o755)
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                del done[-1:]
                node = Node(Found.DIRECTORY, 0o755)
                continue
            place = "/" + "/".join([*done, name])
            node = self._source.node(place)
            if node is None:
                return place, None
            if node.kind is not Found.SYMLINK:
                done.append(name)
                continue
            links.append((place, node.target))
            if len(links) > MAX_SYMLINKS:
                raise ImageSpecError(path, f"more than {MAX_SYMLINKS} symbolic links", "an end of them")
            if node.target.startswith("/"):
                done.clear()
            waiting.extend(node.target.split("/")[::-1])
        return "/" + "/".join(done), node

    def _add(self, entry: Entry) -> None:
        if self._plain and entry.kind is Kind.FILE:
            entry = replace(entry, mode=entry.mode & ~0o111)
        known = self._taken.setdefault(os.fsdecode(entry.path), entry)
        if known is entry or not known.same(entry):  # two files for one path are the tree's to refuse
            self.entries.append(entry)


def text_of(path: str) -> str:
    """Return a path of the file system as UTF-8 has it, whatever the locale says."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _raw(path: str) -> bytes:
    return os.fsencode(path)


def _entry(place: str, target: str, node: Node, source: Source, reason: Reason) -> Entry:
    if node.kind is Found.DIRECTORY:
        return Entry.directory(_raw(target), reason, mode=_directory_mode(node))
    if node.kind is Found.SYMLINK:
        return Entry.symlink(_raw(target), _raw(node.target), reason)
    return _file(place, target, node, source, reason)


def _file(  # where from, where to, and how
    place: str, target: str, node: Node, source: Source, reason: Reason, *, code: bool = False
) -> Entry:
    if node.kind is not Found.FILE:
        raise ImageSpecError(
            place, f"a {node.kind}", "a file, a directory or a link: an image holds no other"
        )
    content: Content = source.content(place)
    return Entry.file(_raw(target), content, reason, mode=0o755 if code else _file_mode(node))


def _file_mode(node: Node) -> int:
    mode = 0o755 if node.mode & 0o111 else 0o644
    return mode if node.mode & 0o044 else mode & 0o700


def _directory_mode(node: Node) -> int:
    """A directory for everybody, such as /tmp, stays one; others are only root's to change."""
    return 0o1777 if node.mode & 0o1002 == 0o1002 else 0o755
