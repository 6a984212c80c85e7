"""
Does a document fit the schema of CycloneDX 1.6?

Apart from what makes documents: the validator takes a second to load.
"""

from __future__ import annotations

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from images.sbom.errors import InvalidDocumentError

FORM = "CycloneDX 1.6"


def check_schema(document: bytes) -> None:
    """
    Check a document against the schema of CycloneDX 1.6, as the library ships it.

    Raises:
        InvalidDocumentError: it does not fit.
    """
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode())
    if problem is not None:
        raise InvalidDocumentError(FORM, (str(problem),))
