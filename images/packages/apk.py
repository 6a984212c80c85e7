"""Which packages does apk say own a file?"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from images.packages.claims import Claim, Paths
from images.packages.errors import PackageDatabaseError
from images.packages.os_release import Distribution
from images.packages.package import Ecosystem, Package, SourcePackage

# apk-tools 2 and, where /lib is a link or with a root that has no /lib, apk-tools 3.
PLACES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
SOURCE = "apk-tools 2.14, src/package.c and src/database.c"
MAX_BYTES = 256 << 20
_NAME = re.compile(r"[A-Za-z0-9._+@-]+")
_VERSION = re.compile(r"[0-9][A-Za-z0-9._+~-]*")


def apk_claims(paths: Paths, distribution: Distribution | None) -> Iterator[tuple[str, Claim]]:
    """
    Yield (path, claim) for each path that an installed package has.

    Raises:
        PackageDatabaseError: the database contradicts itself.

    Source:
        apk-tools 2.14, src/database.c, apk_db_read: `F:` names a directory and `R:` a file in it, `Z:` its
        digest: "Q1" and SHA-1 in Base64, of a link that of its target.
    """
    for place in PLACES:
        data = paths.files.read(place)
        for package, digests in () if data is None else _installed(data, place, distribution):
            for wanted, listed in paths.among(digests):
                digest = digests[listed]
                yield wanted, Claim(package, "sha1" if digest else "", digest)


def _installed(
    data: bytes, where: str, distribution: Distribution | None
) -> Iterator[tuple[Package, dict[str, str]]]:
    """Yield each package with its files and their digests, "" for what has none."""
    if len(data) > MAX_BYTES:
        raise PackageDatabaseError(where, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    for paragraph in data.decode("utf-8", "surrogateescape").split("\n\n"):
        fields: dict[str, str] = {}
        files: dict[str, str] = {}
        directory, path = None, ""
        for line in paragraph.strip("\n").split("\n"):
            kind, colon, value = line[:1], line[1:2], line[2:]
            if line and colon != ":":
                raise PackageDatabaseError(where, repr(line[:80]), "a letter, a colon, a value", SOURCE)
            if kind == "F":
                directory = value
            elif kind == "R":
                if directory is None:
                    raise PackageDatabaseError(f"{where}: R", repr(value), "a directory before it", SOURCE)
                path = "/" + f"{directory}/{value}".lstrip("/")
                files[path] = ""
            elif kind == "Z":
                if not path:
                    raise PackageDatabaseError(f"{where}: Z", repr(value), "a file before it", SOURCE)
                files[path] = _digest(value, where)
            elif kind not in fields:
                fields[kind] = value
        if "P" in fields or files:
            yield _package(fields, where, distribution), files


def _digest(value: str, where: str) -> str:
    """Return a SHA-1 in hexadecimal; "" for a digest of another kind, which proves nothing here."""
    if not value.startswith("Q1"):
        return ""
    try:
        digest = base64.b64decode(value[2:], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PackageDatabaseError(f"{where}: Z", repr(value), "Q1 and Base64", SOURCE) from error
    if len(digest) != 20:
        raise PackageDatabaseError(f"{where}: Z", f"{len(digest)} bytes", "20 bytes", SOURCE)
    return digest.hex()


def _package(fields: dict[str, str], where: str, distribution: Distribution | None) -> Package:
    name, version = fields.get("P", ""), fields.get("V", "")
    if not _NAME.fullmatch(name):
        raise PackageDatabaseError(f"{where}: P", repr(name), "the name of a package", SOURCE)
    if not _VERSION.fullmatch(version):
        raise PackageDatabaseError(f"{where}: {name}: V", repr(version), "a version", SOURCE)
    names = (re.split(r"[<>=~@]", one)[0] for one in fields.get("D", "").split() if not one.startswith("!"))
    return Package(
        Ecosystem.APK,
        name,
        version,
        arch=fields.get("A", ""),
        distribution="alpine" if distribution is None else distribution.identifier,
        release="" if distribution is None else distribution.release,
        supplier=fields.get("m", ""),
        homepage=fields.get("U", ""),
        licence=fields.get("L", ""),
        source=SourcePackage(fields["o"], version) if fields.get("o") else None,
        depends=tuple(sorted({(one,) for one in names if one})),
    )
