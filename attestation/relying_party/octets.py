"""Bytes that a JSON document has as an array of numbers, as serde writes them."""

from __future__ import annotations

from attestation.json_document import JsonObject


def octets(said: JsonObject, name: str, size: int | None = None) -> bytes:
    """
    Return the bytes of a member; `size` of them, if that is known.

    Raises:
        EvidenceFormatError: something else, or another number of them.
    """
    value = said.members.get(name)
    want = "an array of bytes" if size is None else f"an array of {size} bytes"
    if not isinstance(value, list) or size not in {None, len(value)}:
        raise said.wrong(name, value, want)
    if not all(type(one) is int and 0 <= one <= 0xFF for one in value):
        raise said.wrong(name, value, want)
    return bytes(value)
