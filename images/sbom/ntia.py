"""
Does a bill of materials have what the NTIA asks of every one, and what exactly does it lack?

Asked of the facts that the documents are made from, so that one answer holds for both formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from images.packages.package import Ecosystem, Inventory, Package
from images.sbom.subject import Subject

SOURCE = "NTIA, The Minimum Elements For a Software Bill of Materials, 12 July 2021, Data Fields"


@dataclass(frozen=True, slots=True, order=True)
class MissingElement:
    """
    One element that a component lacks.

    Attributes:
        component: Its name, with the version where it has one.
        element: As the NTIA calls it.
    """

    component: str
    element: str

    def __str__(self) -> str:
        """Return it as a line for people."""
        return f"{self.component}: {self.element}"


def missing_elements(inventory: Inventory, subject: Subject) -> tuple[MissingElement, ...]:
    """
    Return every minimum element that is missing, of the image and of each package; none if all are there.

    Nobody writes down who supplies a Go module or a crate, so programs with modules lack that.

    Not checked:
        Frequency, depth and the other practices, which no document can show.  Files that are nobody's have a
        digest and no supplier; they are not components of their own.

    Source:
        NTIA, The Minimum Elements For a Software Bill of Materials, 12 July 2021, "Data Fields".
    """
    missing = list(_of_image(subject))
    for package in inventory.packages:
        missing += (MissingElement(_words(package), element) for element in _of_package(package))
    contained = {package for owned in inventory.files for package in (*owned.owners, *owned.built_in)}
    for package in inventory.packages:
        if package not in contained:
            missing.append(MissingElement(_words(package), "Dependency Relationship"))
    return tuple(sorted(missing))


def _of_image(subject: Subject) -> Iterator[MissingElement]:
    elements = {
        "Supplier Name": subject.supplier,
        "Component Name": subject.name,
        "Version of the Component": subject.version,
        "Other Unique Identifiers": subject.sha256,
        "Author of SBOM Data": subject.author,
        "Timestamp": subject.created > 0,
    }
    for element, there in elements.items():
        if not there:
            yield MissingElement(" ".join(filter(None, ("image", subject.name, subject.version))), element)


def _of_package(package: Package) -> Iterator[str]:
    if not package.supplier:
        yield "Supplier Name"
    if not package.name:
        yield "Component Name"
    if not package.version:
        yield "Version of the Component"
    if package.ecosystem is not Ecosystem.GENERIC and not (package.name and package.version):
        yield "Other Unique Identifiers"


def _words(package: Package) -> str:
    return " ".join(filter(None, (package.ecosystem, package.name, package.version)))
