"""
The recipe: the files of an image in, with the packages that they belong to out.

Nothing is guessed: a file that no database has belongs to no package, and what a binary does not say of
itself is not in the inventory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from images.packages.apk import apk_claims
from images.packages.claims import Claim, Paths
from images.packages.dpkg import dpkg_claims
from images.packages.errors import PackageError
from images.packages.go import go_build
from images.packages.licences import declared
from images.packages.os_release import distribution
from images.packages.package import Ecosystem, ImageFile, Inventory, OwnedFile, Package
from images.packages.rust import rust_crates
from shim.elf.files import FileSource
from shim.elf.image import parse_elf
from shim.errors import BinaryError

_ELF = b"\x7fELF"


def shim_package(version: str) -> Package:
    """Return the package that owns what is made for every image: launcher, plan, manifest."""
    return Package(Ecosystem.GENERIC, "tee-shim", version, supplier="tee-shim", licence="Apache-2.0")


def inventory(image: Iterable[ImageFile], files: FileSource, tool: Package) -> Inventory:
    """
    Return whose the files of an image are.

    Args:
        image: All regular files of the image.
        files: The root that they were taken from, with its package databases.
        tool: Owner of the files that were taken from nowhere.

    Raises:
        PackageError: a damaged database or binary, or a file that is not what its digest says.
    """
    image = sorted(image, key=lambda file: file.path)
    release = distribution(files)
    canonical = {file.path: _as_utf8(files.canonical(file.origin)) for file in image if file.origin}
    paths = Paths(files, canonical.values())
    claims: dict[str, list[Claim]] = {}
    for path, claim in (*dpkg_claims(paths, release), *apk_claims(paths, release)):
        claims.setdefault(path, []).append(claim)
    licensed = _Licences(files)
    owned = [_owned(file, claims.get(canonical.get(file.path, ""), ()), tool, licensed) for file in image]
    packages = tuple(sorted({package for file in owned for package in (*file.owners, *file.built_in)}))
    return Inventory(tuple(owned), packages, _links(packages), release)


def _as_utf8(path: str) -> str:
    """Return a path as databases have it, whatever the locale makes of its bytes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def with_made(found: Inventory, made: Iterable[ImageFile], tool: Package) -> Inventory:
    """
    Return an inventory with files that were made after it, such as those for scanners.

    Args:
        found: What was in the image before.
        made: Files that were taken from nowhere.
        tool: Their owner.
    """
    added = [OwnedFile(file, _sha1(_checked(file)), (tool,)) for file in made]
    files = tuple(sorted((*found.files, *added), key=lambda owned: owned.file.path))
    return replace(found, files=files, packages=tuple(sorted({*found.packages, *((tool,) if added else ())})))


def _owned(file: ImageFile, claims: Iterable[Claim], tool: Package, licensed: _Licences) -> OwnedFile:
    data = _checked(file)
    claims = tuple(claims)
    # Packages may share a path where one replaces the other's file: then only one's digest is met.
    true = tuple(claim for claim in claims if claim.met(data))
    owners = {licensed.of(claim.package) for claim in (true or claims)} if file.origin else {tool}
    altered = bool(claims) and not true
    return OwnedFile(file, _sha1(data), tuple(sorted(owners)), _built_in(data, file.path), altered)


def _checked(file: ImageFile) -> bytes:
    data = file.read()
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise PackageError(file.path, f"sha256 {found}", f"{file.sha256}, as it was given")
    return data


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _built_in(data: bytes, path: str) -> tuple[Package, ...]:
    """Return the modules and crates that are built into a file, by its own account."""
    if not data.startswith(_ELF):
        return ()
    try:
        image = parse_elf(data, path, machines=("x86_64", "aarch64"))
    except BinaryError:
        return ()  # of another machine or kind: says nothing that is read here
    build = go_build(image)
    return tuple(sorted({*(() if build is None else build.packages), *rust_crates(image)}))


class _Licences:
    """What the packages of a root declare, each read once."""

    def __init__(self, files: FileSource) -> None:
        self._files = files
        self._known: dict[Package, Package] = {}

    def of(self, package: Package) -> Package:
        """Return the package with its licence."""
        if package.ecosystem is not Ecosystem.DEB:
            return package
        if package not in self._known:
            place = f"/usr/share/doc/{package.name}/copyright"
            data = self._files.read(place)
            licence = "" if data is None else declared(data, place)
            self._known[package] = replace(package, licence=licence)
        return self._known[package]


def _links(packages: tuple[Package, ...]) -> tuple[tuple[Package, Package], ...]:
    """Return (package, another that it depends on) for all that are in the image."""
    named: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        named.setdefault((package.ecosystem, package.name), []).append(package)
    return tuple(
        sorted(
            {
                (package, other)
                for package in packages
                for names in package.depends
                for name in names
                for other in named.get((package.ecosystem, name), ())
                if other != package
            }
        )
    )
