"""
Which packages does dpkg say own a file?

The database of a Debian system, and the files that images without dpkg keep in its place (distroless).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from images.packages.claims import Claim, Paths
from images.packages.errors import PackageDatabaseError
from images.packages.os_release import Distribution
from images.packages.package import Ecosystem, Package, SourcePackage
from images.packages.stanzas import stanzas
from shim.elf.files import FileSource

STATUS, STATUS_D = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d"
INFO, DIVERSIONS = "/var/lib/dpkg/info", "/var/lib/dpkg/diversions"
SOURCE = "dpkg-query(1), deb-control(5); dpkg 1.21, lib/dpkg/db-fsys-files.c and db-fsys-divert.c"
MAX_BYTES = 256 << 20
_FIELDS = frozenset(
    {
        "architecture",
        "built-using",
        "conffiles",
        "depends",
        "homepage",
        "maintainer",
        "package",
        "pre-depends",
        "source",
        "static-built-using",
        "status",
        "version",
    }
)
# dpkg(1), "Package states": in these a package's files are there.
_THERE = frozenset({"half-configured", "installed", "triggers-awaited", "triggers-pending", "unpacked"})
_MD5SUM = re.compile(r"([0-9a-f]{32})  (.+)")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")
_SOURCE = re.compile(r"(\S+)(?:\s+\(([^()\s]+)\))?")
_BUILT_USING = re.compile(r"(\S+)\s+\(=\s*([^()\s]+)\)")


@dataclass(frozen=True, slots=True)
class _Installed:
    """A package, where its lists are, and the digests of its configuration files by path."""

    package: Package
    listed: tuple[str, ...]
    md5sums: str
    configuration: dict[str, str]


def dpkg_claims(paths: Paths, distribution: Distribution | None) -> Iterator[tuple[str, Claim]]:
    """
    Yield (path, claim) for each path that an installed package has; several where packages share it.

    Raises:
        PackageDatabaseError: the database contradicts itself or cannot be read.

    Not checked:
        Files that the scripts of packages make when they are installed: nothing says whose they are.
    """
    diverted = _diversions(paths.files)
    for installed in (*_database(paths.files, distribution), *_status_d(paths.files, distribution)):
        moved = (_place(path, installed.package.name, diverted) for path in installed.listed)
        found = list(paths.among(moved))
        if not found:
            continue
        back = {_place(path, installed.package.name, diverted): path for path in installed.listed}
        digests = _md5sums(paths.files, installed.md5sums) | installed.configuration
        for wanted, place in found:
            digest = digests.get(back[place], "")
            yield wanted, Claim(installed.package, "md5" if digest else "", digest)


def _database(files: FileSource, distribution: Distribution | None) -> Iterator[_Installed]:
    data = files.read(STATUS)
    if data is None:
        return
    lists = frozenset(name for name in files.listing(INFO) if name.endswith(".list"))
    for stanza in stanzas(data, STATUS, _FIELDS, MAX_BYTES):
        state = stanza.get("status", "").split()
        if len(state) != 3:
            where = f"{STATUS}: {stanza.get('package', '')}: Status"
            raise PackageDatabaseError(where, repr(stanza.get("status", "")), "three words", SOURCE)
        if state[2] not in _THERE:
            continue
        package = package_of(stanza, STATUS, distribution)
        # Packages of which several architectures can be installed have theirs in the name of their lists.
        names = (package.name, f"{package.name}:{package.arch}")
        stem = next((name for name in reversed(names) if f"{name}.list" in lists), None)
        if stem is not None:
            place = f"{INFO}/{stem}"
            yield _Installed(
                package, _lines(files, f"{place}.list"), f"{place}.md5sums", _configuration(stanza)
            )


def _status_d(files: FileSource, distribution: Distribution | None) -> Iterator[_Installed]:
    for name in files.listing(STATUS_D):
        place = f"{STATUS_D}/{name}"
        data = None if name.endswith(".md5sums") else files.read(place)
        if data is None:
            continue
        for stanza in stanzas(data, place, _FIELDS, MAX_BYTES):
            package = package_of(stanza, place, distribution)
            sums = f"{place}.md5sums"
            yield _Installed(package, tuple(_md5sums(files, sums)), sums, _configuration(stanza))


def package_of(stanza: dict[str, str], where: str, distribution: Distribution | None) -> Package:
    """
    Return the package that a paragraph describes.

    Raises:
        PackageDatabaseError: its name or version is none.

    Source:
        Debian Policy 4.7, section 5.6, "List of fields".
    """
    name, version = stanza.get("package", ""), stanza.get("version", "")
    if not _NAME.fullmatch(name):
        raise PackageDatabaseError(f"{where}: Package", repr(name), "the name of a package", SOURCE)
    if not _VERSION.fullmatch(version):
        raise PackageDatabaseError(f"{where}: {name}: Version", repr(version), "a version", SOURCE)
    source = _SOURCE.fullmatch(stanza.get("source", "") or name)
    if source is None:
        raise PackageDatabaseError(f"{where}: {name}: Source", repr(stanza["source"]), "a name", SOURCE)
    built_using = (stanza.get("built-using", ""), stanza.get("static-built-using", ""))
    return Package(
        Ecosystem.DEB,
        name,
        version,
        arch=stanza.get("architecture", ""),
        distribution="" if distribution is None else distribution.identifier,
        release="" if distribution is None else distribution.release,
        supplier=stanza.get("maintainer", ""),
        homepage=stanza.get("homepage", ""),
        source=SourcePackage(source[1], source[2] or version),
        built_using=tuple(
            sorted({SourcePackage(*pair) for pair in _BUILT_USING.findall(" ".join(built_using))})
        ),
        depends=tuple(
            sorted({*_clauses(stanza.get("depends", "")), *_clauses(stanza.get("pre-depends", ""))})
        ),
    )


def _clauses(text: str) -> Iterator[tuple[str, ...]]:
    """Yield, for each dependency, the names of the packages that satisfy it."""
    for clause in text.split(","):
        names = (re.split(r"[\s(:\[]", one.strip())[0] for one in clause.split("|"))
        alternatives = tuple(name for name in names if name)
        if alternatives:
            yield alternatives


def _configuration(stanza: dict[str, str]) -> dict[str, str]:
    """Return the digests of configuration files as they were installed; obsolete ones count, too."""
    rows = (line.split() for line in stanza.get("conffiles", "").split("\n"))
    return {row[0]: row[1] for row in rows if len(row) > 1 and len(row[1]) == 32}


def _md5sums(files: FileSource, place: str) -> dict[str, str]:
    """Return digests by path; none where the package came without."""
    digests = {}
    for number, line in enumerate(_lines(files, place), 1):
        match = _MD5SUM.fullmatch(line)
        if match is None:
            raise PackageDatabaseError(f"{place}:{number}", repr(line[:80]), "a digest and a path", SOURCE)
        digests["/" + match[2].removeprefix("./").lstrip("/")] = match[1]
    return digests


def _lines(files: FileSource, place: str) -> tuple[str, ...]:
    data = files.read(place) or b""
    if len(data) > MAX_BYTES:
        raise PackageDatabaseError(place, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    return tuple(line for line in data.decode("utf-8", "surrogateescape").split("\n") if line)


def _diversions(files: FileSource) -> dict[str, tuple[str, str]]:
    """Return for each diverted path where to, and by which package; ":" for the administrator."""
    lines = _lines(files, DIVERSIONS)
    if len(lines) % 3:
        raise PackageDatabaseError(DIVERSIONS, f"{len(lines)} lines", "three for each diversion", SOURCE)
    each: Iterable[str] = iter(lines)
    return {path: (to, by) for path, to, by in zip(each, each, each, strict=True)}


def _place(path: str, package: str, diverted: dict[str, tuple[str, str]]) -> str:
    """Return where a package's file really is."""
    to, by = diverted.get(path, (path, package))
    return path if by == package else to
