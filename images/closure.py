"""
Which files does a program need to run, and why each?

The recipe: the program, what the loader maps and what it opens, the data that its code can use, and what the
user adds.  Nothing is there without a reason, and every reason names what leads to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from images.content import Content
from images.data import Data, data_of
from images.errors import ImageSpecError, SourceError
from images.loader_cache import cache_bytes
from images.source import Source
from images.suggested import suggestions
from images.taking import Taking, text_of
from images.tree import Entry, Kind, Reason, resolved
from shim.elf.search import LD_SO_CACHE, default_directories
from shim.profile.footprint import Footprint, Mapped, Origin
from shim.profile.profile import Profile

# What a program can do without: it is opened only if it is there.
_OPTIONAL = frozenset({Mapped.OPENED, Mapped.LISTED})
_PUBLIC = frozenset({b"/tmp", b"/var/tmp", b"/dev/shm"})


@dataclass(frozen=True, slots=True)
class Inclusion:
    """
    A file or directory that a user adds.

    Attributes:
        path: Where it is: in the source, or with a target on the machine that builds.
        target: Where it will be; "" for the same place.
        given: As the user wrote it: an absolute path of the machine that builds is nobody else's business.
    """

    path: str
    target: str
    given: str


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What a user says of the files of an image.

    Attributes:
        program: Absolute path of the program in the image.
        environment: What the program will find in its environment.
        include: What is added.
        exclude: Paths and shell patterns of what is left out of data and additions.
        directories: Empty directories to make.
    """

    program: str
    environment: Mapping[str, str]
    include: tuple[Inclusion, ...] = ()
    exclude: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileSet:
    """
    The files of an image without what the shim itself adds.

    Attributes:
        entries: Each with its reason; parents may be missing.
        declined: What the code names and does not get, with why.
        left_out: What `exclude` kept away.
        findings: What a user should know, one line each.
    """

    entries: tuple[Entry, ...]
    data: Data
    left_out: tuple[str, ...]
    findings: tuple[str, ...]


def file_set(  # what an image is made from
    program: bytes,
    profile: Profile,
    footprint: Footprint,
    source: Source,
    here: Source,
    selection: Selection,
) -> FileSet:
    """
    Return the files that a program needs, and what the user adds.

    Args:
        program: The bytes of the program.
        profile: Names every object that was analysed, with its digest.
        footprint: Of the same analysis.
        source: Where the files come from.
        here: The machine that builds, for inclusions with a target.
        selection: What the user says.

    Raises:
        ImageSpecError: an inclusion that is not there, or is nothing that an image can hold.
        SourceError: a file that cannot be read, or is not the one any more that was analysed.
    """
    code = _Code(source, selection, profile)
    code.add_program(program, footprint.origins[0].object)
    code.add_objects(footprint.origins[1:])
    data = data_of(footprint, selection.environment)
    taking = Taking(source, selection.exclude, plain=True)
    for wanted in data.wanted:
        by = code.places.get(wanted.reason.by, wanted.reason.by)
        taking.take(wanted.path, replace(wanted.reason, by=by))
    cache = code.loader_cache(footprint.origins)
    computed = [*code.entries, *cache, *taking.entries]
    added, left_out = _added(source, here, selection, computed)
    objects = {entry.path: entry for entry in code.entries}
    added = [entry for entry in added if not _is_mapped(entry, objects)]
    kept, findings = _overridden(computed, added, objects)
    entries = (*kept, *added)
    findings += _unanalysed(added, profile)
    findings += suggestions(footprint, source, entries, [one.path for one in data.declined])
    return FileSet(
        entries, data, (*taking.left_out, *code.left_out, *left_out), (*footprint.findings, *findings)
    )


class _Code:
    """The program and the shared objects."""

    def __init__(self, source: Source, selection: Selection, profile: Profile) -> None:
        self.entries: list[Entry] = []
        self.places: dict[str, str] = {}
        self.left_out: list[str] = []
        self._source = source
        self._selection = selection
        self._digests = {one.path: one.sha256 for one in profile.objects}
        self._taking = Taking(source, selection.exclude)

    def add_program(self, data: bytes, path: str) -> None:
        """Take the program from its place in the source; one from elsewhere is put at its own place."""
        place = self._selection.program
        reason = Reason(Mapped.PROGRAM)
        content = Content.of(data)
        taken = self._taking.take(place, reason, code=True) if self._source.read(place) == data else None
        if taken is None:
            entry = Entry.file(place.encode(errors="surrogateescape"), content, reason, mode=0o755)
            self._taking.entries.append(entry)
        self.places[path] = text_of(taken or place)
        self.entries = self._taking.entries

    def add_objects(self, origins: Iterable[Origin]) -> None:
        """Take what is mapped; what is only opened may be excluded."""
        for origin in origins:
            path = origin.object
            excluded = origin.mapped in _OPTIONAL and self._taking.excludes(self._source.canonical(path))
            if excluded or origin.by in self.left_out:
                self.left_out.append(path)
                continue
            by = self.places.get(origin.by, text_of(origin.by) if origin.by else "")
            place = self._taking.take(path, Reason(origin.mapped, by, origin.name), code=True)
            if place is None:
                raise SourceError(path, "nothing there", "the object that was analysed")
            self.places[path] = text_of(place)
            self._check(path, place)

    def loader_cache(self, origins: tuple[Origin, ...]) -> list[Entry]:
        """Return the loader's cache, if anything is not found without one."""
        interpreter = next((one.object for one in origins if one.mapped is Mapped.INTERPRETER), "")
        if not interpreter or "musl" in interpreter.rpartition("/")[2]:
            return []
        defaults = default_directories(self._source.read(interpreter) or b"")
        found = {
            (name, one.object)
            for one in origins
            if one.mapped in (Mapped.NEEDED, Mapped.OPENED)
            and one.object in self.places
            and one.object.rpartition("/")[0] not in defaults
            for name in (one.name, one.object.rpartition("/")[2])
            if "/" not in name and ".so" in name
        }
        if not found:
            return []
        by = self.places[interpreter]
        reason = Reason("loader", by, f"{len(found)} libraries are outside of its own directories")
        return [Entry.file(LD_SO_CACHE.encode(), Content.of(cache_bytes(found)), reason)]

    def _check(self, path: str, place: str) -> None:
        wanted = self._digests.get(path)
        for entry in self._taking.entries[::-1]:
            if entry.content is not None and text_of(place) == entry.name:
                if wanted is not None and entry.content.sha256 != wanted:
                    found = f"sha256 {entry.content.sha256}"
                    raise SourceError(path, found, f"{wanted}, as it was analysed")
                return


def _added(
    source: Source, here: Source, selection: Selection, computed: list[Entry]
) -> tuple[list[Entry], list[str]]:
    """Return what the user adds, at places without links, and what of it is excluded."""
    links = {entry.path: entry for entry in computed}
    inside, outside = Taking(source, selection.exclude), Taking(here, selection.exclude)
    for one in selection.include:
        given = f"--include {one.given}"
        if one.target:
            outside.copy(one.path, one.target, Reason("include", "", given))
        elif inside.take(one.path, Reason("include", "", given)) is None and not inside.excludes(one.path):
            raise ImageSpecError(given, "nothing there", "a file or directory")
    entries = [*inside.entries]
    for entry in outside.entries:
        parent, _, name = entry.path.rpartition(b"/")
        place = (resolved(parent, links) or parent).rstrip(b"/") + b"/" + name
        entries.append(replace(entry, path=place))
    for path in selection.directories:
        raw = path.encode(errors="surrogateescape").rstrip(b"/")
        place = resolved(raw, links) or raw
        mode = 0o1777 if raw in _PUBLIC else 0o755
        entries.append(Entry.directory(place, Reason("include", "", f"--directory {path}"), mode=mode))
    return entries, [*inside.left_out, *outside.left_out]


def _is_mapped(entry: Entry, objects: Mapping[bytes, Entry]) -> bool:
    """Whether an added file is one that is mapped, which is there already, with its own reason and mode."""
    known = objects.get(entry.path)
    return known is not None and entry.content is not None and entry.content == known.content


def _overridden(
    computed: list[Entry], added: list[Entry], code: Mapping[bytes, Entry]
) -> tuple[list[Entry], list[str]]:
    """Return what was computed without data that the user gives another file for, and say so."""
    given = {entry.path: entry for entry in added}
    kept, findings = [], []
    for entry in computed:
        other = given.get(entry.path)
        if other is None or other.same(entry) or entry.path in code or entry.kind is not Kind.FILE:
            kept.append(entry)
        else:
            findings.append(f"{entry.name}: taken from {other.reason.detail}, not from the source")
    return kept, findings


def _unanalysed(added: list[Entry], profile: Profile) -> list[str]:
    """Say which included files are code that the profile knows nothing of."""
    known = {one.sha256 for one in profile.objects}
    code = [
        entry.name
        for entry in added
        if entry.content is not None and entry.content.sha256 not in known and entry.data()[:4] == b"\x7fELF"
    ]
    if not code:
        return []
    more = f" and {len(code) - 1} more" if len(code) > 1 else ""
    return [f"{code[0]}{more}: included code that was not analysed; --modules takes it into the profile"]
