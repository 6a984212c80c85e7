"""
The bills of materials of an image, and what of the extra `sbom` they need.

The libraries are loaded here, so that whoever makes no document needs none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from images.packages.errors import MissingLibraryError
from images.packages.package import Inventory
from images.sbom.ntia import MissingElement, missing_elements
from images.sbom.subject import Subject


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
    except ImportError as error:
        raise MissingLibraryError(
            str(error.name), "not installed", "it: pip install 'tee-shim[sbom]'"
        ) from error
    made = Documents(
        spdx.spdx(inventory, subject, check=check),
        cyclonedx.cyclonedx(inventory, subject),
        missing_elements(inventory, subject),
    )
    if check:
        from images.sbom.cyclonedx_schema import check_schema

        check_schema(made.cyclonedx)
    return made
