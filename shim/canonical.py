"""
The one byte string that stands for a JSON value, and its digest.

Canonical means RFC 8785 (JSON Canonicalization Scheme): sorted keys, no white space, one spelling for every
number and string.  Equal values give equal bytes on every machine, so digests of them can be compared.
"""

from __future__ import annotations

import encodings.utf_16_be  # noqa: F401  # by which names are sorted; else the first use opens a file
import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import rfc8785

JsonValue: TypeAlias = bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None


def canonical_bytes(value: JsonValue) -> bytes:
    """
    Return the canonical JSON text of `value`, UTF-8, without a final newline.

    Raises:
        ValueError: an integer outside ±(2**53 - 1), which JSON readers do not agree on; write such
            numbers as strings.  Also a string that is not valid Unicode.

    Source:
        RFC 8785, section 3.2, "Generation of Canonical JSON Data".
    """
    return bytes(rfc8785.dumps(value))


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 digest of `data`, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
