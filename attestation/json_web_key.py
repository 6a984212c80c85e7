"""
Which public key was supplied: as a JSON web key, or as it stands in a certificate?

Only those of elliptic curves; a vTPM's is read where it stands.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject

SOURCE = 'RFC 7518, section 6.2, "Parameters for Elliptic Curve Keys"'
_SPKI = 'RFC 5280, section 4.1.2.7, "Subject Public Key Info"'
_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

_NAMES = {curve.name for curve in _CURVES.values()}


def read(key: JsonObject) -> bytes:
    """
    Return the SubjectPublicKeyInfo of a key.

    Raises:
        EvidenceFormatError: it is none, or of another type.
    """
    if key.text("kty") != "EC" or key.text("crv") not in _CURVES:
        raise key.wrong("kty", key.members["kty"], f"EC, on {', '.join(_CURVES)}")
    numbers = ec.EllipticCurvePublicNumbers(number(key, "x"), number(key, "y"), _CURVES[key.text("crv")])
    try:
        public = numbers.public_key()
    except ValueError as error:
        raise EvidenceFormatError(key.where, "x, y", "no point of the curve", "one", SOURCE) from error
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def checked(encoded: bytes, where: str) -> bytes:
    """
    Return a SubjectPublicKeyInfo as it stands.

    Raises:
        EvidenceFormatError: it is none, or of another kind of key or curve.
    """
    try:
        key = serialization.load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceFormatError(where, "public key", "no key that can be read", "one", _SPKI) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _NAMES:
        raise EvidenceFormatError(where, "public key", "another kind", f"one on {', '.join(_CURVES)}", _SPKI)
    return encoded


def number(key: JsonObject, name: str) -> int:
    """
    Return a member of a key that is a number.

    Raises:
        EvidenceFormatError: it is none.
    """
    text = key.text(name)
    padded = text + "=" * (-len(text) % 4)
    try:
        return int.from_bytes(base64.b64decode(padded, altchars=b"-_", validate=True), "big")
    except (binascii.Error, ValueError) as error:
        raise key.wrong(name, text, "base64url, RFC 7518") from error
