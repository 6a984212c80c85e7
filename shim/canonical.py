"""
The one byte string that stands for a JSON value, and its digest.

Canonical means RFC 8785 (JSON Canonicalization Scheme): sorted keys, no white space, one spelling for every
number and string.  Equal values give equal bytes on every machine, so digests of them can be compared.
"""

from __future__ import annotations

import encodings.utf_16_be  # noqa: F401  # by which names are sorted; else the first use opens a file
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import rfc8785

_LARGEST = (1 << 53) - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))

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
    if _is_plain(value):
        # The same bytes, many times faster: a relying party does this for every answer.
        return _ENCODER.encode(value).encode("ascii")
    return bytes(rfc8785.dumps(value))


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 digest of `data`, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _is_plain(value: object) -> bool:
    """
    Return whether the standard library spells a value canonically, too.

    In ASCII the orders of characters, of UTF-16 units and of bytes are one, and what RFC 8785 escapes is
    what the library escapes.  Integers that are too large, and everything else, are left to rfc8785.
    """
    if type(value) is str:
        return value.isascii()
    if type(value) is dict:
        return all(type(name) is str and name.isascii() and _is_plain(one) for name, one in value.items())
    if type(value) is int:
        return -_LARGEST <= value <= _LARGEST
    if type(value) is list or type(value) is tuple:
        return all(map(_is_plain, value))
    return value is None or type(value) is bool
