"""
Which versions of packages does a distribution have now, by the lists that apt keeps?

The lists are read as apt left them: apt has checked their signatures when it fetched them.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from lz4.frame import LZ4FrameDecompressor

from images.packages.errors import AptListsError, PackageDatabaseError
from images.packages.stanzas import stanzas
from shim.elf.files import FileSource

SOURCE = "Debian repository format, Release files and Packages indices; apt.conf(5), Acquire::GzipIndexes"
MAX_RELEASE, MAX_LIST = 16 << 20, 1 << 30
_RELEASE_FIELDS = frozenset(
    {"origin", "label", "suite", "codename", "version", "date", "valid-until", "notautomatic"}
)
_PACKAGE_FIELDS = frozenset({"package", "version", "architecture"})


class _Decompressor(Protocol):
    """What all of them have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the data was read."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most so many bytes."""


@dataclass(frozen=True, slots=True)
class Release:
    """
    What a part of an archive says of itself.

    Attributes:
        prefix: How the names of its lists begin.
        origin: Who made it: "Debian".
        version: Of the distribution: "12", "12.15", "12-updates"; "" for none.
        suite: Such as "stable-security", "bookworm-updates".
        date: When it was made.
        valid_until: When it should have been replaced, or None.
        security: Whether it brings security updates.
        automatic: Whether apt installs from it without being told to.
    """

    prefix: str
    origin: str
    version: str
    suite: str
    date: datetime
    valid_until: datetime | None
    security: bool
    automatic: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of a package that can be had."""

    name: str
    arch: str
    version: str
    release: Release


def releases(files: FileSource) -> tuple[Release, ...]:
    """
    Return what the parts of the archives say of themselves, whose lists are in a directory.

    Args:
        files: The directory as root.

    Raises:
        AptListsError: there is none, or one is damaged.
    """
    found: dict[str, Release] = {}
    for name in files.listing("/"):
        for ending in ("_InRelease", "_Release"):
            if name.endswith(ending):
                prefix = name.removesuffix(ending[1:])
                # apt keeps one of the two; a signed one inside counts.
                found.setdefault(prefix, _release(files.read(f"/{name}") or b"", name, prefix))
    if not found:
        raise AptListsError("lists of apt", "no Release file", "those that `apt update` fetches")
    return tuple(found[prefix] for prefix in sorted(found))


def candidates(files: FileSource, wanted: Collection[str], among: Collection[Release]) -> Iterator[Candidate]:
    """
    Yield every version of the packages `wanted` in the lists of the releases `among`.

    Raises:
        AptListsError: a release without any list, or a list that is damaged.
    """
    names = files.listing("/")
    for release in among:
        lists = [
            name for name in names if name.startswith(release.prefix) and _stem(name).endswith("_Packages")
        ]
        if not lists:
            raise AptListsError(release.prefix, "no list of packages", "those that `apt update` fetches")
        for name in lists:
            data = _unpacked(files.read(f"/{name}") or b"", name)
            for stanza in _paragraphs(data, name, frozenset(wanted)):
                yield Candidate(stanza["package"], stanza["architecture"], stanza["version"], release)


def _release(data: bytes, where: str, prefix: str) -> Release:
    text = data
    if data.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----"):
        text = data.split(b"\n\n", 1)[-1].split(b"\n-----BEGIN PGP SIGNATURE-----")[0]
    try:
        fields = next(stanzas(text, where, _RELEASE_FIELDS, MAX_RELEASE), {})
    except PackageDatabaseError as error:
        raise AptListsError(error.where, error.found, error.want, SOURCE) from error
    suites = [fields.get("suite", ""), fields.get("codename", "")]
    return Release(
        prefix,
        fields.get("origin", ""),
        fields.get("version", ""),
        suites[0] or suites[1],
        _time(fields.get("date", ""), f"{where}: Date"),
        _time(fields["valid-until"], f"{where}: Valid-Until") if "valid-until" in fields else None,
        fields.get("label", "") == "Debian-Security" or any(one.endswith("-security") for one in suites),
        fields.get("notautomatic", "no") != "yes",
    )


def _time(text: str, where: str) -> datetime:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError) as error:
        raise AptListsError(where, repr(text), "a date as in mail", SOURCE) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _stem(name: str) -> str:
    """Return the name of a list without the ending that says how it is compressed."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem.endswith("_Packages") else name


def _unpacked(data: bytes, name: str) -> bytes:
    ending = name.removeprefix(_stem(name))
    makers = {
        ".lz4": LZ4FrameDecompressor,
        ".gz": _gzip,
        ".xz": lzma.LZMADecompressor,
        ".bz2": bz2.BZ2Decompressor,
    }
    if not ending:
        return data
    if ending not in makers:
        raise AptListsError(name, f"compressed as {ending}", f"one of {', '.join(makers)}, or not compressed")
    decompressor: _Decompressor = makers[ending]()
    try:
        unpacked = decompressor.decompress(data, MAX_LIST)
    except (RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise AptListsError(name, str(error), f"data compressed as {ending}") from error
    if not decompressor.eof:
        raise AptListsError(name, f"an early end, or more than {MAX_LIST} bytes", "a whole list")
    return unpacked


def _gzip() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _paragraphs(data: bytes, where: str, wanted: frozenset[str]) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of the packages that are wanted; others are not taken apart."""
    names = {f"Package: {name}".encode() for name in wanted}
    for paragraph in data.split(b"\n\n"):
        first, _, _ = paragraph.lstrip(b"\n").partition(b"\n")
        if first.rstrip() in names:
            try:
                (stanza,) = stanzas(paragraph, where, _PACKAGE_FIELDS, MAX_RELEASE)
            except PackageDatabaseError as error:
                raise AptListsError(error.where, error.found, error.want, SOURCE) from error
            if _PACKAGE_FIELDS - stanza.keys():
                want = "Package, Version and Architecture"
                raise AptListsError(where, f"a paragraph with {', '.join(sorted(stanza))}", want, SOURCE)
            yield stanza
        elif first and not first.startswith(b"Package: "):
            raise AptListsError(where, repr(first[:80]), "paragraphs that begin with Package", SOURCE)
