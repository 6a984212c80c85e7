"""
What a package is, whatever records it: names, versions, where it comes from.

The words are those of the records themselves; nothing is worked out that they do not say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from images.packages.os_release import Distribution


class Ecosystem(StrEnum):
    """Who gives packages their names: the types of package URLs."""

    DEB = "deb"
    APK = "apk"
    GO = "golang"
    CARGO = "cargo"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True, order=True)
class SourcePackage:
    """A source package of a distribution, at one version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """
    One package at one version. An empty text is something that its record does not say.

    Attributes:
        ecosystem: Who gave it its name.
        name: Its name there.
        version: As that ecosystem writes it, without the leading `v` of Go.
        arch: As the distribution calls it.
        distribution: Identifier of the distribution ("debian"), "" for Go and Rust.
        release: Version of the distribution ("12").
        supplier: Who maintains it, as the record says: "Name <address>".
        homepage: An address.
        licence: SPDX expression of what it declares.
        source: What it was built from.
        built_using: Source packages whose code was built into it besides.
        depends: For each dependency the names of packages that satisfy it.
        checksum: "h1:" and Base64 of a Go module.
        replaces: Name of the Go module in whose place it was built in.
    """

    ecosystem: Ecosystem
    name: str
    version: str
    arch: str = ""
    distribution: str = ""
    release: str = ""
    supplier: str = ""
    homepage: str = ""
    licence: str = ""
    source: SourcePackage | None = None
    built_using: tuple[SourcePackage, ...] = ()
    depends: tuple[tuple[str, ...], ...] = ()
    checksum: str = ""
    replaces: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from every other package of an image."""
        return (self.ecosystem, self.name, self.version, self.arch)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """
    One regular file of an image.

    Attributes:
        path: Where it is in the image.
        origin: Path below the root that it was taken from, "" for one that was made for the image.
        sha256: 64 hexadecimal digits.
        size: In bytes.
        mode: Permissions.
        read: Returns its bytes.
    """

    path: str
    origin: str
    sha256: str
    size: int
    mode: int
    read: Callable[[], bytes] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class OwnedFile:
    """
    One file of an image, and whose it is.

    Attributes:
        file: The file.
        sha1: 40 hexadecimal digits, which SPDX 2.3 wants of every file.
        owners: Packages that installed it; none for a file of its own, several where they share it.
        built_in: Packages whose code is in it, by its own account.
        altered: Whether it differs from what its owners installed.
    """

    file: ImageFile
    sha1: str
    owners: tuple[Package, ...] = ()
    built_in: tuple[Package, ...] = ()
    altered: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """
    All files of an image with their packages.

    Attributes:
        files: By path.
        packages: All that own a file or are built into one, in order.
        links: For a package what it is built from or depends on, packages of the image only.
        distribution: What the root that the files came from says of itself.
    """

    files: tuple[OwnedFile, ...]
    packages: tuple[Package, ...]
    links: tuple[tuple[Package, Package], ...]
    distribution: Distribution | None
