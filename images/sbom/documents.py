"""
The documents of an image: bills of materials, and what vulnerabilities mean for it.

The libraries of the extra `sbom` are loaded here, so that whoever makes no document needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from images.packages.errors import MissingLibraryError
from images.packages.package import Inventory
from images.sbom.ntia import MissingElement, missing_elements
from images.sbom.subject import Subject
from shim.profile.execute_path import ExecutePath

if TYPE_CHECKING:
    from images.sbom.vex import Vex


@dataclass(frozen=True, slots=True)
class Documents:
    """
    What is in an image, in both formats.

    Attributes:
        spdx: SPDX 2.3, JSON.
        cyclonedx: CycloneDX 1.6, JSON.
        missing: Minimum elements of the NTIA that are in neither.
    """

    spdx: bytes
    cyclonedx: bytes
    missing: tuple[MissingElement, ...]


def documents(inventory: Inventory, subject: Subject, *, check: bool) -> Documents:
    """
    Return the bills of materials of an image.

    Args:
        inventory: What is in it.
        subject: The image.
        check: Whether the libraries check what was made: a second, and the square of the number of files.

    Raises:
        MissingLibraryError: the extra `sbom` is not installed.
        InvalidDocumentError: a library does not accept what was made.
    """
    try:
        from images.sbom import cyclonedx, spdx
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    made = Documents(
        spdx.spdx(inventory, subject, check=check),
        cyclonedx.cyclonedx(inventory, subject),
        missing_elements(inventory, subject),
    )
    if check:
        from images.sbom.cyclonedx_schema import check_schema

        check_schema(made.cyclonedx)
    return made


def exploitability(
    records: Mapping[str, bytes],
    inventory: Inventory,
    subject: Subject,
    path: ExecutePath | None,
    *,
    whole_functions: bool = False,
) -> Vex:
    """
    Return what vulnerabilities mean for an image: an OpenVEX document and what is in it.

    Args:
        records: Files of OSV records by name.
        inventory: What is in the image.
        subject: The image.
        path: What `shim.analysis.execute_path` found of its program; None if nobody looked.
        whole_functions: Whether to assume that the compiler copied no function into another.

    Raises:
        MissingLibraryError: the extra `sbom` is not installed.
        VulnerabilityRecordError: a file is none of records.
    """
    try:
        from images.sbom import osv, vex
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    parsed = [record for name, data in records.items() for record in osv.parse_records(data, name)]
    return vex.vex(parsed, inventory, subject, path, whole_functions=whole_functions)


def _missing(error: ModuleNotFoundError) -> MissingLibraryError:
    return MissingLibraryError(str(error.name), "not installed", "it: pip install 'tee-shim[sbom]'")
