"""What is in an image and whose it is: records for scanners inside it, and documents about it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from images.content import Content
from images.image import FOLDER, MANIFEST, Image
from images.packages.inventory import inventory, shim_package
from images.packages.package import ImageFile
from images.packages.scannable import scanner_files
from images.sbom.documents import documents, exploitability
from images.sbom.subject import Subject
from images.tree import Entry, Kind, Reason
from shim.elf.files import FileSource
from shim.profile.execute_path import ExecutePath

SPDX, CYCLONEDX, OPENVEX = "sbom.spdx.json", "sbom.cdx.json", "vex.openvex.json"
_RULE = "scanners"


@dataclass(frozen=True, slots=True)
class Documented:
    """
    Documents about an image.

    Attributes:
        files: Contents by their names.
        packages: How many packages its files belong to.
        missing: What the NTIA's minimum elements ask for, and nobody knows.
        left_out: Vulnerabilities of which nothing is stated, each with the reason.
    """

    files: Mapping[str, bytes]
    packages: int
    missing: tuple[str, ...]
    left_out: tuple[str, ...]


def with_records(entries: Iterable[Entry], files: FileSource, tool_version: str) -> tuple[Entry, ...]:
    """
    Return the entries, and files by which scanners find the packages that they belong to.

    Raises:
        PackageError: a database of packages is damaged.
    """
    given = tuple(entries)
    found = inventory(_files(given), files, shim_package(tool_version))
    why = Reason(_RULE, "", "says which packages the files of the image belong to")
    made = (Entry.file(path.encode(), Content.of(data), why) for path, data in scanner_files(found))
    return (*given, *made)


def documented(
    image: Image,
    files: FileSource,
    tool_version: str,
    records: Mapping[str, bytes],
    path: ExecutePath | None,
) -> Documented:
    """
    Return bills of materials of an image, and what vulnerabilities mean for it.

    Args:
        image: The image.
        files: The root that its files were taken from.
        tool_version: Of the shim.
        records: Files of OSV records by name; none for no such document.
        path: What of the program can run; None if nobody looked.

    Raises:
        PackageError: a database of packages is damaged.
        MissingLibraryError: the extra `sbom` is not installed.
        VulnerabilityRecordError: a file is none of records.
    """
    found = inventory(_files(image.tree.entries), files, shim_package(tool_version))
    subject = _subject(image, tool_version)
    made = documents(found, subject, check=False)
    named = {SPDX: made.spdx, CYCLONEDX: made.cyclonedx}
    left_out: tuple[str, ...] = ()
    if records:
        stated = exploitability(records, found, subject, path)
        named[OPENVEX], left_out = stated.document, stated.left_out
    return Documented(named, len(found.packages), tuple(map(str, made.missing)), left_out)


def _files(entries: Iterable[Entry]) -> list[ImageFile]:
    return [
        ImageFile(
            entry.name,
            "" if entry.reason.rule == _RULE or entry.name.startswith(f"{FOLDER}/") else entry.name,
            entry.content.sha256,
            entry.content.size,
            entry.mode,
            entry.data,
        )
        for entry in entries
        if entry.kind is Kind.FILE and entry.content is not None
    ]


def _subject(image: Image, tool_version: str) -> Subject:
    """Name the image by its program; by its manifest's digest all of it."""
    manifest = next(entry for entry in image.tree.entries if entry.name == MANIFEST)
    digest = "" if manifest.content is None else manifest.content.sha256
    name = posixpath.basename(image.manifest.program)
    return Subject(name, "", digest, "", "", image.created, tool_version)
