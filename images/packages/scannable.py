"""
What scanners look for in an image, with only what is there in it.

An image without a package manager has no database of packages, and scanners then see nothing, or guess.  What
distroless images keep is read by all of them: one small file for each package, and os-release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from images.packages.apk import PLACES
from images.packages.dpkg import STATUS_D
from images.packages.package import Ecosystem, Inventory, OwnedFile, Package

SOURCE = "deb-control(5); distroless, debian_package.bzl; apk-tools 2.14, src/database.c"


def scanner_files(inventory: Inventory) -> tuple[tuple[str, bytes], ...]:
    """
    Return (path in the image, bytes) of the files by which scanners find its packages, sorted.

    For each package of dpkg a file in var/lib/dpkg/status.d and, beside it, the list of those of its files
    that are in the image; for packages of apk its database with no other packages and files; os-release as
    the root has it, with the older files that say the same.  Go programs and Rust ones carry their own.

    None of them replaces a file that the image has already.
    """
    there = {owned.file.path for owned in inventory.files}
    made = {**dict(_dpkg(inventory)), **dict(_apk(inventory))}
    if inventory.distribution is not None:
        made["/etc/os-release"] = inventory.distribution.text
        made.update(inventory.distribution.markers)
    return tuple(sorted((path, data) for path, data in made.items() if path not in there))


def _dpkg(inventory: Inventory) -> Iterator[tuple[str, bytes]]:
    names: dict[str, list[Package]] = {}
    for package in inventory.packages:
        if package.ecosystem is Ecosystem.DEB:
            names.setdefault(package.name, []).append(package)
    for name, packages in names.items():
        for package in packages:
            # Two architectures of one package are two files.
            stem = name if len(packages) == 1 else f"{name}.{package.arch}"
            yield f"{STATUS_D}/{stem}", _stanza(package).encode()
            yield f"{STATUS_D}/{stem}.md5sums", _md5sums(package, inventory.files)


def _stanza(package: Package) -> str:
    fields = {
        "Package": package.name,
        "Status": "install ok installed",
        "Maintainer": package.supplier,
        "Architecture": package.arch,
        "Source": _source(package),
        "Version": package.version,
        "Homepage": package.homepage,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _source(package: Package) -> str:
    source = package.source
    if source is None or (source.name, source.version) == (package.name, package.version):
        return ""
    return source.name if source.version == package.version else f"{source.name} ({source.version})"


def _md5sums(package: Package, files: tuple[OwnedFile, ...]) -> bytes:
    lines = [
        f"{_md5(owned.file.read())}  {owned.file.path.lstrip('/')}\n"
        for owned in files
        if package in owned.owners
    ]
    return "".join(lines).encode()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _apk(inventory: Inventory) -> Iterator[tuple[str, bytes]]:
    packages = [package for package in inventory.packages if package.ecosystem is Ecosystem.APK]
    if packages:
        yield PLACES[0], "".join(_paragraph(package, inventory.files) for package in packages).encode()


def _paragraph(package: Package, files: tuple[OwnedFile, ...]) -> str:
    fields = {
        "P": package.name,
        "V": package.version,
        "A": package.arch,
        "U": package.homepage,
        "L": package.licence,
        "o": "" if package.source is None else package.source.name,
        "m": package.supplier,
    }
    lines = [f"{letter}:{value}" for letter, value in fields.items() if value]
    for owned in files:
        if package in owned.owners:
            directory, _, name = owned.file.path.lstrip("/").rpartition("/")
            lines += [f"F:{directory}", f"R:{name}"]
    return "\n".join(lines) + "\n\n"
