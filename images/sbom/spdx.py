"""
The bill of materials as SPDX 2.3, made and checked by spdx-tools.

The image is what the document describes; it contains the packages, a package its files, and the image those
that are nobody's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from license_expression import LicenseExpression
from spdx_tools.spdx import model
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.validation.uri_validators import validate_url

from images.packages.package import Inventory, OwnedFile, Package
from images.sbom.errors import InvalidDocumentError
from images.sbom.licences import REFERENCE, accepted, parsed, references
from images.sbom.purl import package_url
from images.sbom.subject import Subject, file_reference, fingerprint, package_reference, person

FORM = "SPDX 2.3"
DOCUMENT, IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-Image"


def spdx(inventory: Inventory, subject: Subject, *, check: bool) -> bytes:
    """
    Return the SPDX 2.3 document of an image, JSON, UTF-8, the same bytes for the same arguments.

    Args:
        inventory: What is in the image.
        subject: The image.
        check: Whether spdx-tools checks the document, which takes the square of the number of files.

    Raises:
        InvalidDocumentError: spdx-tools does not accept it.

    Source:
        SPDX 2.3, chapters 6 to 11.
    """
    document = model.Document(
        _creation(inventory, subject),
        packages=[_image(inventory, subject), *(_package(one, inventory) for one in inventory.packages)],
        files=[_file(owned) for owned in inventory.files],
        relationships=[
            model.Relationship(first, model.RelationshipType[kind], second)
            for first, kind, second in _relationships(inventory)
        ],
        extracted_licensing_info=[_own_licence(name) for name in _own_names(inventory)],
    )
    problems = validate_full_spdx_document(document) if check else ()
    if problems:
        raise InvalidDocumentError(FORM, tuple(str(problem.validation_message) for problem in problems))
    converter = DocumentConverter()  # type: ignore[no-untyped-call]
    text = json.dumps(converter.convert(document), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _creation(inventory: Inventory, subject: Subject) -> model.CreationInfo:
    creators = [model.Actor(model.ActorType.TOOL, f"tee-shim-{subject.tool_version}")]
    if subject.author:
        creators.append(_actor(subject.author))
    return model.CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=DOCUMENT,
        name=subject.name,
        document_namespace=f"https://spdx.org/spdxdocs/tee-shim-{fingerprint(inventory, subject)}",
        creators=creators,
        created=subject.time.replace(tzinfo=None),  # spdx-tools takes UTC without saying so
    )


def _image(inventory: Inventory, subject: Subject) -> model.Package:
    return model.Package(
        IMAGE,
        subject.name,
        model.SpdxNoAssertion(),
        version=subject.version or None,
        supplier=_supplier(subject.supplier),
        verification_code=_verification_code(inventory.files),
        checksums=[model.Checksum(model.ChecksumAlgorithm.SHA256, subject.sha256)],
        license_concluded=model.SpdxNoAssertion(),
        license_declared=model.SpdxNoAssertion(),
        copyright_text=model.SpdxNoAssertion(),
        primary_package_purpose=model.PackagePurpose.CONTAINER,
    )


def _package(package: Package, inventory: Inventory) -> model.Package:
    files = tuple(owned for owned in inventory.files if package in owned.owners)
    licence = accepted(package.licence)
    unusable = f"declared as: {package.licence}" if package.licence and not licence else None
    return model.Package(
        f"SPDXRef-{package_reference(package)}",
        package.name,
        model.SpdxNoAssertion(),
        version=package.version or None,
        supplier=_supplier(package.supplier),
        files_analyzed=bool(files),
        verification_code=_verification_code(files) if files else None,
        homepage=_homepage(package.homepage),
        source_info=_source_info(package),
        license_concluded=model.SpdxNoAssertion(),
        license_declared=_expression(licence),
        license_comment=unusable,
        copyright_text=model.SpdxNoAssertion(),
        external_references=[
            model.ExternalPackageRef(
                model.ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", package_url(package)
            )
        ],
    )


def _file(owned: OwnedFile) -> model.File:
    algorithms = model.ChecksumAlgorithm
    return model.File(
        f".{owned.file.path}",
        f"SPDXRef-{file_reference(owned)}",
        [model.Checksum(algorithms.SHA1, owned.sha1), model.Checksum(algorithms.SHA256, owned.file.sha256)],
        license_concluded=model.SpdxNoAssertion(),
        copyright_text=model.SpdxNoAssertion(),
        comment="differs from what its package installed" if owned.altered else None,
    )


def _relationships(inventory: Inventory) -> Iterator[tuple[str, str, str]]:
    yield DOCUMENT, "DESCRIBES", IMAGE
    for package in inventory.packages:
        yield IMAGE, "CONTAINS", f"SPDXRef-{package_reference(package)}"
    for owned in inventory.files:
        file = f"SPDXRef-{file_reference(owned)}"
        if not owned.owners:
            yield IMAGE, "CONTAINS", file
        for package in owned.owners:
            yield f"SPDXRef-{package_reference(package)}", "CONTAINS", file
        for package in owned.built_in:
            yield file, "STATIC_LINK", f"SPDXRef-{package_reference(package)}"
    for package, other in inventory.links:
        yield f"SPDXRef-{package_reference(package)}", "DEPENDS_ON", f"SPDXRef-{package_reference(other)}"


def _verification_code(files: tuple[OwnedFile, ...]) -> model.PackageVerificationCode:
    """Return the code of a package's files: SPDX 2.3, section 7.9, "Package verification code field"."""
    joined = "".join(sorted(owned.sha1 for owned in files)).encode()
    return model.PackageVerificationCode(hashlib.sha1(joined, usedforsecurity=False).hexdigest())


def _actor(text: str) -> model.Actor:
    """Return who a text names; records do not say whether that is a person."""
    name, address = person(text)
    return model.Actor(model.ActorType.ORGANIZATION, name, address or None)


def _supplier(text: str) -> model.Actor | model.SpdxNoAssertion:
    return _actor(text) if text else model.SpdxNoAssertion()


def _homepage(address: str) -> str | None:
    """Return an address that SPDX accepts as one."""
    if not address or validate_url(address):
        return None
    return address


def _source_info(package: Package) -> str | None:
    parts = []
    if package.source is not None:
        parts.append(f"built package from: {package.source.name} {package.source.version}")
    if package.built_using:
        parts.append("built using: " + ", ".join(f"{one.name} {one.version}" for one in package.built_using))
    if package.replaces:
        parts.append(f"in the place of: {package.replaces}")
    return "; ".join(parts) or None


def _expression(licence: str) -> LicenseExpression | model.SpdxNoAssertion:
    if not licence:
        return model.SpdxNoAssertion()
    return parsed(licence)


def _own_names(inventory: Inventory) -> list[str]:
    return sorted({name for one in inventory.packages for name in references(accepted(one.licence))})


def _own_licence(name: str) -> model.ExtractedLicensingInfo:
    text = f"The package calls its licence {name.removeprefix(REFERENCE)!r}; its text came with the package."
    return model.ExtractedLicensingInfo(name, text, name.removeprefix(REFERENCE))
