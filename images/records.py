"""What is in an image and whose it is: records for scanners inside it, and documents about it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from images.content import Content
from images.image import MANIFEST, Image
from images.ownership import Ownership, PackageVersion
from images.packages.inventory import inventory, shim_package, with_made
from images.packages.package import Ecosystem, ImageFile, Inventory, Package
from images.packages.scannable import scanner_files
from images.sbom.documents import documents, exploitability
from images.sbom.ntia import MissingElement
from images.sbom.subject import Subject
from images.tree import Entry, Kind, Reason
from shim.elf.files import FileSource
from shim.profile.execute_path import ExecutePath

SPDX, CYCLONEDX, OPENVEX = "sbom.spdx.json", "sbom.cdx.json", "vex.openvex.json"


@dataclass(frozen=True, slots=True)
class Said:
    """
    What the maker of an image says of it, and no record does; "" for what nobody says.

    Attributes:
        supplier: Who hands out the image, and its program where that belongs to no package: "Name <address>".
        version: What the maker calls this version of both.
        author: Who vouches for the documents: "Name <address>".
    """

    supplier: str = ""
    version: str = ""
    author: str = ""


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class Documented:
    """
    Documents about an image.

    Attributes:
        files: Contents by their names.
        packages: How many packages its files belong to.
        missing: What the NTIA's minimum elements ask for, and nobody said.
        left_out: Vulnerabilities of which nothing is stated, each with the reason.
    """

    files: Mapping[str, bytes]
    packages: int
    missing: tuple[MissingElement, ...]
    left_out: tuple[str, ...]


def owners_of(entries: Iterable[Entry], files: FileSource, tool_version: str) -> Inventory:
    """
    Return whose the entries are that were taken from `files`.

    Raises:
        PackageError: a database of packages is damaged.
    """
    taken = (_file(entry, os.fsdecode(entry.path)) for entry in _regular(entries))
    return inventory(taken, files, shim_package(tool_version))


def for_scanners(found: Inventory) -> tuple[Entry, ...]:
    """Return the files by which scanners find the packages of an image."""
    why = Reason("scanners", "", "says which packages the files of the image belong to")
    return tuple(Entry.file(path.encode(), Content.of(data), why) for path, data in scanner_files(found))


def ownership_of(found: Inventory) -> Ownership:
    """Return what a manifest says of an inventory, but of what the shim makes for every image."""
    return Ownership(
        {owned.file.path: _versions(owned.owners) for owned in found.files if owned.owners},
        frozenset(owned.file.path for owned in found.files if owned.altered),
        {owned.file.path: _versions(owned.built_in) for owned in found.files if owned.built_in},
    )


def _versions(packages: Iterable[Package]) -> tuple[PackageVersion, ...]:
    return tuple(
        PackageVersion(str(one.ecosystem), one.name, one.version, one.arch, one.distribution, one.release)
        for one in packages
    )


def documented(
    image: Image,
    found: Inventory,
    tool_version: str,
    records: Mapping[str, bytes],
    path: ExecutePath | None,
    said: Said = NOTHING_SAID,
) -> Documented:
    """
    Return bills of materials of an image, and what vulnerabilities mean for it.

    Args:
        image: The image.
        found: What its files belong to, but those that were made for it, from `owners_of`.
        tool_version: Of the shim, to which those belong.
        records: Files of OSV records by name; none for no such document.
        path: What of the program can run; None if nobody looked.
        said: What the maker says.  A program of no package becomes one of its own where he says something.

    Raises:
        MissingLibraryError: the extra `sbom` is not installed.
        VulnerabilityRecordError: a file is none of records.
    """
    known = {owned.file.path for owned in found.files}
    made = [_file(entry, "") for entry in _regular(image.tree.entries) if entry.name not in known]
    owned = _with_program(found, image.manifest.program, said)
    whole = with_made(owned, made, shim_package(tool_version))
    subject = _subject(image, tool_version, said)
    bills = documents(whole, subject, check=False)
    named = {SPDX: bills.spdx, CYCLONEDX: bills.cyclonedx}
    left_out: tuple[str, ...] = ()
    if records:
        stated = exploitability(records, whole, subject, path)
        named[OPENVEX], left_out = stated.document, stated.left_out
    return Documented(named, len(whole.packages), bills.missing, left_out)


def _regular(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.kind is Kind.FILE)


def _file(entry: Entry, origin: str) -> ImageFile:
    content = entry.content if entry.content is not None else Content.of(b"")
    return ImageFile(entry.name, origin, content.sha256, content.size, entry.mode, content.read)


def _with_program(found: Inventory, program: str, said: Said) -> Inventory:
    """Return an inventory in which a program of no package belongs to the one that its maker names."""
    if not (said.supplier or said.version):
        return found
    package = Package(Ecosystem.GENERIC, posixpath.basename(program), said.version, supplier=said.supplier)
    files = tuple(
        replace(owned, owners=(package,)) if owned.file.path == program and not owned.owners else owned
        for owned in found.files
    )
    if files == found.files:
        return found
    return replace(found, files=files, packages=tuple(sorted({*found.packages, package})))


def _subject(image: Image, tool_version: str, said: Said) -> Subject:
    """Name the image by its program; by its manifest's digest all of it."""
    manifest = next(entry for entry in image.tree.entries if entry.name == MANIFEST)
    digest = "" if manifest.content is None else manifest.content.sha256
    name = posixpath.basename(image.manifest.program)
    return Subject(name, said.version, digest, said.supplier, said.author, image.created, tool_version)
