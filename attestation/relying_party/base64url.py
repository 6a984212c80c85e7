"""Bytes in JSON, as JOSE has them: base64url without padding, in its only spelling; or base64 with it."""

from __future__ import annotations

import base64
import binascii

from attestation.json_document import JsonObject
from attestation.relying_party.errors import RequestError

SOURCE = "RFC 7515, section 2"


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def encode_padded(data: bytes) -> str:
    """Return base64 with padding, as the KBS protocol has nonces and quotes."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str, where: str) -> bytes:
    """
    Return the bytes that `text` stands for.

    Raises:
        RequestError: it is not base64url, or not the spelling that `encode` gives.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(where, repr(text)[:40], "base64url without padding", SOURCE) from error
    if encode(data) != text:
        raise RequestError(where, repr(text)[:40], "base64url without padding", SOURCE)
    return data


def member(request: JsonObject, name: str, *, size: int | None = None, most: int | None = None) -> bytes:
    """
    Return the bytes of a member.

    Raises:
        RequestError: it is missing, none, or of another size.
        EvidenceFormatError: it is no string.
    """
    data = decode(request.text(name), f"{request.where}.{name}")
    if size is not None and len(data) != size:
        raise RequestError(f"{request.where}.{name}", f"{len(data)} bytes", f"{size} bytes")
    if most is not None and not 0 < len(data) <= most:
        raise RequestError(f"{request.where}.{name}", f"{len(data)} bytes", f"1 to {most} bytes")
    return data


def padded(text: str, where: str) -> bytes:
    """
    Return the bytes that base64 with padding stands for.

    Raises:
        RequestError: it is not that.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(where, repr(text)[:40], "base64 with padding", "RFC 4648, section 4") from error
