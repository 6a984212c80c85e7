"""
Is what a record is about not in the image, and may that be said?

A file that does not say what it is made of may hold anything; then nothing can be said to be absent.
"""

from __future__ import annotations

from collections.abc import Iterable

from images.packages.package import Ecosystem, Inventory, OwnedFile, Package
from images.sbom.osv import Affected

ELF = b"\x7fELF"


def machine_code(inventory: Inventory) -> tuple[OwnedFile, ...]:
    """Return the files with machine code, but for what was made for the image."""
    return tuple(owned for owned in inventory.files if owned.file.origin and owned.file.read()[:4] == ELF)


def unaccounted(ecosystem: str, code: Iterable[OwnedFile]) -> str:
    """
    Return the path of a file that may hold code of packages that it does not name, "" if there is none.

    Args:
        ecosystem: As records name it: whose packages.
        code: Files with machine code.
    """
    for owned in code:
        go = [package for package in owned.built_in if package.ecosystem is Ecosystem.GO]
        crates = [
            package for package in owned.built_in if package.ecosystem in (Ecosystem.CARGO, Ecosystem.GENERIC)
        ]
        if ecosystem == "Go":
            # Built without modules: only the toolchain is named.
            silent = bool(go) and all(package.name == "stdlib" for package in go)
        elif ecosystem == "crates.io":
            silent = not go and not crates
        else:
            silent = not owned.owners
        if silent:
            return owned.file.path
    return ""


def left_behind(entries: Iterable[Affected], package: Package, inventory: Inventory) -> str:
    """
    Return why what is vulnerable of a package is not in the image, "" if it may be there.

    Only what the record itself says counts: the names of binary packages, the paths of files.
    """
    entries = tuple(entries)
    if all(entry.binaries and package.name not in entry.binaries for entry in entries):
        return f"The record names the packages that have it, and {package.name} is none of them."
    files = {path for entry in entries for path in entry.files}
    there = {path for owned in inventory.files for path in (owned.file.path, owned.file.origin)}
    if all(entry.files for entry in entries) and not files & there:
        return f"The image has none of the files that have it: {', '.join(sorted(files))}."
    return ""
