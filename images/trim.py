"""
Code that nothing reaches, out of an image: its bytes become ones that trap.

The files keep their size and every address in them.  What was taken for unreachable and is executed all the
same ends the program by SIGILL, whichever of its bytes is entered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from images.content import Content
from images.errors import ImageSpecError
from images.manifest import Input
from images.tree import Entry
from shim.errors import IncompleteProfileError
from shim.profile.execute_path import ExecutePath
from shim.profile.footprint import Footprint, Mapped, Unreachable
from shim.profile.profile import Profile

# PUSH ES, which 64-bit mode does not have (Intel SDM 2B, "PUSH"; AMD APM 3, table B-3).  It is one byte, so
# that a jump between others like it traps too, and a fault, so that a handler that returns comes back to it:
# a breakpoint would let a program that handles SIGTRAP run on into the next function.
TRAP = b"\x06"
_MAPPED = frozenset(Mapped)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """
    What was taken out of one file.

    Attributes:
        path: Of the file in the image; of the first one where several have the same bytes.
        before, after: SHA-256 of what it was and is.
        content: What it is.
        size: Bytes that are traps now.
    """

    path: str
    before: str
    after: str
    content: Content
    size: int


class Trimming:
    """
    The files of an image without code that nothing reaches.

    Args:
        entries: The files of an image.
        footprint: With what nothing reaches.
        profile: Of the same analysis.

    Attributes:
        entries: The same entries, some with other contents.
        files: What was taken out of each.

    Raises:
        IncompleteProfileError: it is not known of all code what it reaches.
        ImageSpecError: something in the image was not analysed, and may use what the program does not reach.
    """

    def __init__(self, entries: Iterable[Entry], footprint: Footprint, profile: Profile) -> None:
        given = tuple(entries)
        _check(given, profile)
        places = _places(footprint.unreachable)
        found: dict[str, Trimmed] = {}
        kept = []
        for entry in given:
            content = entry.content
            if content is None or entry.reason.rule not in _MAPPED or not places.get(content.sha256):
                kept.append(entry)
                continue
            if content.sha256 not in found:
                found[content.sha256] = _trimmed(entry.name, content, places[content.sha256])
            kept.append(replace(entry, content=found[content.sha256].content))
        self.entries: tuple[Entry, ...] = tuple(kept)
        self.files: tuple[Trimmed, ...] = tuple(sorted(found.values(), key=lambda one: one.path))
        self._by_digest: Mapping[str, Trimmed] = found

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Return what the files were before, for the manifest."""
        return tuple(
            Input("trimmed", one.before, f"{one.path}: {one.size} bytes nothing reaches")
            for one in self.files
        )

    @property
    def summary(self) -> str:
        """Return in a line what was taken out."""
        size = sum(one.size for one in self.files)
        return f"{size} bytes of code that nothing reaches are traps now, in {len(self.files)} files"

    def data(self, data: bytes) -> bytes:
        """Return what became of a file with these bytes."""
        one = self._by_digest.get(hashlib.sha256(data).hexdigest())
        return data if one is None else one.content.read()

    def reading(self, read: Callable[[str], bytes | None]) -> Callable[[str], bytes | None]:
        """Return a way to read files that gives what became of them."""

        def read_trimmed(path: str) -> bytes | None:
            data = read(path)
            return None if data is None else self.data(data)

        return read_trimmed

    def profile(self, profile: Profile) -> Profile:
        """Return a profile that names the objects by what became of them."""
        objects = (replace(one, sha256=self._digest(one.sha256)) for one in profile.objects)
        return replace(profile, objects=tuple(objects))

    def execute_path(self, path: ExecutePath) -> ExecutePath:
        """Return what can run, with the objects named by what became of them."""
        objects = (replace(one, sha256=self._digest(one.sha256)) for one in path.objects)
        return replace(path, objects=tuple(objects))

    def _digest(self, digest: str) -> str:
        one = self._by_digest.get(digest)
        return digest if one is None else one.after


def _check(entries: tuple[Entry, ...], profile: Profile) -> None:
    where = "--trim"
    if not profile.complete:
        places = (*profile.unresolved, *profile.foreign_abi)
        lines = tuple(f"{place.function} at {place.address:#x}: {place.reason}" for place in places)
        raise IncompleteProfileError(profile.program.path, lines)
    if profile.arch != "x86_64":
        raise ImageSpecError(where, f"a program for {profile.arch}", "one for x86_64")
    known = {one.sha256 for one in profile.objects}
    for entry in entries:
        content = entry.content
        if content is not None and content.sha256 not in known and content.read()[:4] == b"\x7fELF":
            want = "only what was analysed (--modules): it may use what the program does not"
            raise ImageSpecError(where, f"{entry.name}, code that was not analysed", want)


def _places(objects: Iterable[Unreachable]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return by digest what nothing reaches in any of the objects with that digest."""
    places: dict[str, tuple[tuple[int, int], ...]] = {}
    for one in objects:
        other = places.get(one.sha256)
        # The same file mapped twice is reached in two ways; the common stretches are what counts.
        common = one.places if other is None else tuple(sorted(set(other) & set(one.places)))
        places[one.sha256] = common
    return places


def _trimmed(path: str, content: Content, places: tuple[tuple[int, int], ...]) -> Trimmed:
    data = bytearray(content.read())
    end = 0
    for offset, size in places:
        if offset < end or size <= 0 or offset + size > len(data):
            found = f"{size} bytes at {offset}"
            raise ImageSpecError(path, found, f"a stretch of its {len(data)} bytes, behind the one before")
        end = offset + size
        data[offset:end] = TRAP * size
    after = Content.of(bytes(data))
    return Trimmed(path, content.sha256, after.sha256, after, sum(size for _, size in places))
