"""
Which packages does a bill of materials name, whoever made it?

SPDX and CycloneDX in JSON, by the package URLs in them; nothing else is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from packageurl import PackageURL

from images.sbom.errors import SbomFormatError

SOURCE = "SPDX 2.3, section 7.21; CycloneDX 1.6, components"
MAX_BYTES = 256 << 20


def package_urls(data: bytes, where: str) -> tuple[PackageURL, ...]:
    """
    Return the package URLs of a bill of materials, each once, in order.

    Raises:
        SbomFormatError: neither SPDX 2 nor CycloneDX in JSON, or a package URL that is none.
    """
    if len(data) > MAX_BYTES:
        raise SbomFormatError(where, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SbomFormatError(where, "no JSON", "SPDX or CycloneDX in JSON", SOURCE) from error
    form = document if isinstance(document, dict) else {}
    try:
        if str(form.get("spdxVersion", "")).startswith("SPDX-2."):
            texts = set(_of_spdx(form))
        elif form.get("bomFormat") == "CycloneDX":
            texts = set(_of_cyclonedx(form.get("components", [])))
        else:
            raise SbomFormatError(where, "another document", "SPDX 2 or CycloneDX in JSON", SOURCE)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SbomFormatError(where, "something else where packages are", "packages", SOURCE) from error
    found = []
    for text in sorted(texts):
        try:
            found.append(PackageURL.from_string(text))
        except ValueError as error:
            raise SbomFormatError(where, repr(text), "a package URL") from error
    return tuple(found)


def _of_spdx(document: dict[str, Any]) -> Iterator[str]:
    for package in document.get("packages", []):
        for reference in package.get("externalRefs", []):
            if reference["referenceType"] == "purl":
                yield _text(reference["referenceLocator"])


def _of_cyclonedx(components: list[dict[str, Any]]) -> Iterator[str]:
    for component in components:
        if "purl" in component:
            yield _text(component["purl"])
        yield from _of_cyclonedx(component.get("components", []))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
