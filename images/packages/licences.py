"""
Which licences does a package declare?

Debian writes them down for machines in `copyright` files of DEP-5; what is not written that way is not read.
"""

from __future__ import annotations

import re

from images.packages.errors import PackageDatabaseError
from images.packages.stanzas import stanzas

SOURCE = "Debian, Machine-readable debian/copyright file, version 1.0"
MAX_BYTES = 32 << 20
_FORMAT = re.compile(r"https?://www\.debian\.org/doc/packaging-manuals/copyright-format/1\.0/?")
# Section 7.1.1, "Short name", where the name has one counterpart in the SPDX License List 3.25.
_SAME = {
    "apache-2.0": "Apache-2.0",
    "artistic-1.0": "Artistic-1.0",
    "artistic-2.0": "Artistic-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "boost-1.0": "BSL-1.0",
    "bsl-1.0": "BSL-1.0",
    "cc0-1.0": "CC0-1.0",
    "cddl-1.0": "CDDL-1.0",
    "curl": "curl",
    "expat": "MIT",
    "isc": "ISC",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "openssl": "OpenSSL",
    "python-2.0": "Python-2.0",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}
_GNU_VERSIONS = frozenset(
    [("gpl", one) for one in ("1.0", "2.0", "3.0")]
    + [("lgpl", one) for one in ("2.0", "2.1", "3.0")]
    + [("agpl", one) for one in ("1.0", "3.0")]
)
_GNU = re.compile(r"(agpl|gpl|lgpl)-([0-9](?:\.[0-9])?)(\+?)")


def declared(data: bytes, where: str) -> str:
    """
    Return the SPDX expression of all licences that a `copyright` file names, "" if it is not in DEP-5.

    Every part of the package may be under another; the expression asks for all of them.  Names without a
    counterpart at SPDX become `LicenseRef-NAME`.

    Not checked:
        Which of the licences applies to the files that are in the image.

    Source:
        Debian, Machine-readable debian/copyright file, version 1.0, section 7, "License specification".
    """
    try:
        paragraphs = list(stanzas(data, where, ("format", "license", "files"), MAX_BYTES))
    except PackageDatabaseError:
        return ""  # free text is no mistake
    if not paragraphs or not _FORMAT.fullmatch(paragraphs[0].get("format", "")):
        return ""
    synopses = [
        paragraph["license"].split("\n")[0].strip()
        for index, paragraph in enumerate(paragraphs)
        if "license" in paragraph and (index == 0 or "files" in paragraph)
    ]
    if not synopses or not all(synopses):
        return ""
    parts = sorted({_expression(synopsis) for synopsis in synopses})
    return " AND ".join(f"({part})" if " " in part and len(parts) > 1 else part for part in parts)


def _expression(synopsis: str) -> str:
    """Return one synopsis: names joined by "and", "or" and commas, with exceptions behind "with"."""
    alternatives = re.split(r",?\s+or\s+", synopsis.strip(" ,"), flags=re.IGNORECASE)
    sides = []
    for side in alternatives:
        names = [name for name in re.split(r",?\s+and\s+|,\s*", side, flags=re.IGNORECASE) if name]
        sides.append(" AND ".join(_identifier(name) for name in names))
    if len(sides) == 1:
        return sides[0]
    return " OR ".join(f"({side})" if " AND " in side else side for side in sides)


def _identifier(name: str) -> str:
    lower = name.strip().lower()
    if lower in _SAME:
        return _SAME[lower]
    gnu = _GNU.fullmatch(lower)
    if gnu is not None:
        version = gnu[2] if "." in gnu[2] else f"{gnu[2]}.0"
        if (gnu[1], version) in _GNU_VERSIONS:
            return f"{gnu[1].upper()}-{version}-{'or-later' if gnu[3] else 'only'}"
    text = re.sub(r"[^A-Za-z0-9.]+", "-", name.strip()).strip("-")
    return f"LicenseRef-{text or 'unnamed'}"
