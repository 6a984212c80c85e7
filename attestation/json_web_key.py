"""Which public key is a JSON web key?  Only those of elliptic curves; a vTPM's is read where it stands."""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import json_document
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject

SOURCE = 'RFC 7518, section 6.2, "Parameters for Elliptic Curve Keys"'
_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def read(data: bytes, where: str) -> bytes | None:
    """
    Return the SubjectPublicKeyInfo of the key in `data`, None where the object is no key.

    Raises:
        EvidenceFormatError: the text is no JSON object, or a key that is none.
    """
    key = json_document.read(data, where)
    if "kty" not in key:
        return None
    if key.text("kty") != "EC" or key.text("crv") not in _CURVES:
        raise key.wrong("kty", key.members["kty"], f"EC, on {', '.join(_CURVES)}")
    numbers = ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), _CURVES[key.text("crv")])
    try:
        public = numbers.public_key()
    except ValueError as error:
        raise EvidenceFormatError(where, "x, y", "no point of the curve", "one", SOURCE) from error
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _number(key: JsonObject, name: str) -> int:
    text = key.text(name)
    padded = text + "=" * (-len(text) % 4)
    try:
        return int.from_bytes(base64.b64decode(padded, altchars=b"-_", validate=True), "big")
    except (binascii.Error, ValueError) as error:
        raise key.wrong(name, text, "base64url") from error
