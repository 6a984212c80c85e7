"""Base64 with one spelling for each value, so that no character of a signature can be another."""

from __future__ import annotations

import base64
import binascii

from images.signature.errors import SignatureFormatError

_SOURCE = "RFC 4648, section 3.5"


def decode(text: str, where: str, *, url_safe: bool = False) -> bytes:
    """
    Return the bytes that a text in base64 stands for.

    Args:
        text: With its padding, without white space.
        where: What it is, for messages.
        url_safe: Whether the alphabet for URLs will do as well.

    Raises:
        SignatureFormatError: another spelling, or none.
    """
    plain = text.replace("-", "+").replace("_", "/") if url_safe else text
    try:
        data = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureFormatError(where, "no base64", "base64 with padding", _SOURCE) from error
    if base64.b64encode(data).decode() != plain:
        raise SignatureFormatError(
            where, "another spelling of base64", "zeros in the bits that are left over", _SOURCE
        )
    return data


def encode(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode()
