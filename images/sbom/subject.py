"""What a bill of materials is of, when it was made and by whom; and identifiers that follow from contents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from images.packages.package import Inventory, OwnedFile, Package
from shim.canonical import canonical_bytes, sha256_hex

# "Name <address>", as maintainers write themselves.
_PERSON = re.compile(r"\s*(.*?)\s*<([^<>\s]+)>\s*")


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The image.

    Attributes:
        name: Its name.
        version: What its maker calls this one, "" for nothing.
        sha256: Of its manifest, which names all of it; 64 hexadecimal digits.
        supplier: Who hands it out, "" if nobody said.
        author: Who vouches for the bill of materials, "" if nobody but the tool.
        created: Seconds since 1970.
        tool_version: Of the shim.
    """

    name: str
    version: str
    sha256: str
    supplier: str
    author: str
    created: int
    tool_version: str

    @property
    def time(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.fromtimestamp(self.created, UTC)


def package_reference(package: Package) -> str:
    """Return an identifier for a package: equal for equal ones, letters and digits only."""
    return f"Package-{sha256_hex(canonical_bytes(_all_of(package)))[:20]}"


def file_reference(owned: OwnedFile) -> str:
    """Return an identifier for a file: its place and its contents."""
    return f"File-{sha256_hex(canonical_bytes([owned.file.path, owned.file.sha256]))[:20]}"


def fingerprint(inventory: Inventory, subject: Subject) -> str:
    """Return a digest of everything that a document says, 64 hexadecimal digits."""
    return sha256_hex(
        canonical_bytes(
            [
                [subject.name, subject.version, subject.sha256, subject.supplier, subject.author],
                [str(subject.created), subject.tool_version],
                [
                    [
                        file_reference(owned),
                        owned.altered,
                        _references(owned.owners),
                        _references(owned.built_in),
                    ]
                    for owned in inventory.files
                ],
                [_all_of(package) for package in inventory.packages],
            ]
        )
    )


def person(text: str) -> tuple[str, str]:
    """Return name and address of "Name <address>"; no address where there is none."""
    match = _PERSON.fullmatch(text)
    if match is None:
        return text.strip(), ""
    return match[1].strip('" ') or match[2], match[2]


def _references(packages: tuple[Package, ...]) -> list[str]:
    return [package_reference(package) for package in packages]


def _all_of(package: Package) -> list[str]:
    source = package.source
    built_from = [f"{one.name} {one.version}" for one in (source, *package.built_using) if one is not None]
    return [
        *map(str, package.key),
        package.distribution,
        package.release,
        package.supplier,
        package.homepage,
        package.licence,
        package.checksum,
        package.replaces,
        *built_from,
    ]
