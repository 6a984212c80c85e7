"""
The bill of materials as CycloneDX 1.6, made by cyclonedx-python-lib.

A package holds its files; files that are nobody's stand beside the packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import UUID

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.bom_ref import BomRef
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from images.packages.package import Inventory, OwnedFile, Package
from images.sbom.licences import accepted
from images.sbom.purl import package_url
from images.sbom.subject import Subject, file_reference, fingerprint, package_reference, person

IMAGE = "Image"
# Names of our properties; CycloneDX leaves them to who writes them.
PREFIX = "tee-shim"


def cyclonedx(inventory: Inventory, subject: Subject) -> bytes:
    """
    Return the CycloneDX 1.6 document of an image, JSON, UTF-8, the same bytes for the same arguments.

    Source:
        CycloneDX 1.6, JSON schema.
    """
    bom = Bom(
        serial_number=UUID(fingerprint(inventory, subject)[:32], version=4),
        metadata=_metadata(subject),
        components=[
            *(_package(package, inventory.files) for package in inventory.packages),
            *(_file(owned) for owned in inventory.files if not owned.owners),
        ],
        dependencies=_dependencies(inventory),
    )
    text = JsonV1Dot6(bom).output_as_string()
    return (json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _metadata(subject: Subject) -> BomMetaData:
    image = Component(
        name=subject.name,
        version=subject.version or None,
        type=ComponentType.CONTAINER,
        bom_ref=IMAGE,
        supplier=_organisation(subject.supplier),
        hashes=[_sha256(subject.sha256)],
    )
    tool = Component(name="tee-shim", version=subject.tool_version, type=ComponentType.APPLICATION)
    authors = [_contact(subject.author)] if subject.author else []
    tools = ToolRepository(components=[tool])
    return BomMetaData(component=image, tools=tools, authors=authors, timestamp=subject.time)


def _package(package: Package, files: Iterable[OwnedFile]) -> Component:
    url = package_url(package)
    return Component(
        name=package.name,
        version=package.version or None,
        type=ComponentType.LIBRARY,
        bom_ref=package_reference(package),
        purl=PackageURL.from_string(url),
        supplier=_organisation(package.supplier),
        licenses=_licences(package),
        # A shared file is in the first of its owners, and names the others.
        components=[_file(owned) for owned in files if owned.owners[:1] == (package,)],
        properties=[Property(name=f"{PREFIX}:{name}", value=value) for name, value in _sources(package)],
    )


def _file(owned: OwnedFile) -> Component:
    properties = [("also-owned-by", package_reference(other)) for other in owned.owners[1:]]
    if owned.altered:
        properties.append(("altered", "differs from what its package installed"))
    return Component(
        name=owned.file.path,
        type=ComponentType.FILE,
        bom_ref=file_reference(owned),
        hashes=[_sha256(owned.file.sha256)],
        properties=[Property(name=f"{PREFIX}:{name}", value=value) for name, value in properties],
    )


def _dependencies(inventory: Inventory) -> list[Dependency]:
    """Return what is in or behind what: image, packages, files with code of packages in them."""
    edges: dict[str, set[str]] = {IMAGE: {package_reference(package) for package in inventory.packages}}
    for owned in inventory.files:
        file = file_reference(owned)
        edges[file] = {package_reference(package) for package in owned.built_in}
        holders = [package_reference(package) for package in owned.owners] or [IMAGE]
        for holder in holders:
            edges.setdefault(holder, set()).add(file)
    for package, other in inventory.links:
        edges.setdefault(package_reference(package), set()).add(package_reference(other))
    for name in {target for targets in edges.values() for target in targets}:
        edges.setdefault(name, set())
    return [
        Dependency(BomRef(name), [Dependency(BomRef(target)) for target in targets])
        for name, targets in edges.items()
    ]


def _sources(package: Package) -> list[tuple[str, str]]:
    source = [] if package.source is None else [("source", f"{package.source.name} {package.source.version}")]
    replaced = [("replaces", package.replaces)] if package.replaces else []
    return [
        *source,
        *replaced,
        *(("built-using", f"{one.name} {one.version}") for one in package.built_using),
    ]


def _licences(package: Package) -> list[LicenseExpression]:
    licence = accepted(package.licence)
    if not licence:
        return []
    return [LicenseExpression(licence, acknowledgement=LicenseAcknowledgement.DECLARED)]


def _organisation(text: str) -> OrganizationalEntity | None:
    if not text:
        return None
    name, address = person(text)
    contacts = [OrganizationalContact(email=address)] if address else []
    return OrganizationalEntity(name=name, contacts=contacts)


def _contact(text: str) -> OrganizationalContact:
    name, address = person(text)
    return OrganizationalContact(name=name, email=address or None)


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
