"""
A resource for a guest of Confidential Containers: encrypted (JWE) to the key that its evidence vouches for.

By hand and not by a JOSE library, for one reason: the guest authenticates its own spelling of the protected
header, alg, enc, then the rest with sorted names, and not the bytes that it was sent.  Another order, which
JOSE allows, would be refused there.

Source:
    RFC 7516, section 7.2.2, "Flattened JWE JSON Serialization Syntax"; RFC 7518, sections 4.3, 4.6 and 5.3;
    virtee/kbs-types, src/lib.rs, `ProtectedHeader::generate_aad`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from attestation import json_web_key
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.relying_party import base64url
from shim.canonical import JsonValue

_ECDH, _RSA, _CONTENT = "ECDH-ES+A256KW", "RSA-OAEP-256", "A256GCM"
_CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-521": ec.SECP521R1()}
_MEMBERS = {"EC": {"kty", "alg", "crv", "x", "y"}, "RSA": {"kty", "alg", "n", "e"}}
_SMALLEST_RSA, _LARGEST_RSA = 2048, 4096
_KEY, _IV, _TAG = 32, 12, 16
SOURCE = "KBS attestation protocol 0.4.0, Key Format"


def encrypt(value: bytes, key: JsonObject, random: Callable[[int], bytes]) -> Mapping[str, JsonValue]:
    """
    Return `value` encrypted to a public key, flattened JSON serialization.

    Args:
        value: What to encrypt.
        key: A JSON web key for ECDH-ES+A256KW on P-256 or P-521, or for RSA-OAEP-256.
        random: Returns as many random bytes as it is asked for.

    Raises:
        EvidenceFormatError: another key.
    """
    content_key, iv = random(_KEY), random(_IV)
    public = public_key(key)
    header: dict[str, JsonValue] = {"alg": key.text("alg"), "enc": _CONTENT}
    if isinstance(public, rsa.RSAPublicKey):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        encrypted_key = public.encrypt(content_key, oaep)
    else:
        ephemeral = ec.generate_private_key(public.curve)
        encrypted_key = aes_key_wrap(_agreed(ephemeral, public), content_key)
        header["epk"] = _coordinates(ephemeral.public_key(), key.text("crv"))
    protected = base64url.encode(json.dumps(header, separators=(",", ":")).encode())
    sealed = AESGCM(content_key).encrypt(iv, value, protected.encode())
    return {
        "protected": protected,
        "encrypted_key": base64url.encode(encrypted_key),
        "iv": base64url.encode(iv),
        "ciphertext": base64url.encode(sealed[:-_TAG]),
        "tag": base64url.encode(sealed[-_TAG:]),
    }


def public_key(key: JsonObject) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """
    Return the key, if it is one that values are encrypted to.

    Raises:
        EvidenceFormatError: another type, curve, algorithm or size, no point of its curve, or members that
            are not of a public key.
    """
    kind, algorithm = key.text("kty"), key.text("alg")
    if set(key.members) != _MEMBERS.get(kind):
        raise key.wrong("kty", kind, "a public key of EC or RSA with its own members alone")
    try:
        if (kind, algorithm) == ("RSA", _RSA):
            return _rsa(key)
        if (kind, algorithm) == ("EC", _ECDH) and key.text("crv") in _CURVES:
            return _elliptic(key)
    except ValueError as error:
        raise EvidenceFormatError(key.where, "", str(error)[:80], "a public key", SOURCE) from error
    raise key.wrong("alg", algorithm, f"{_ECDH} on {' or '.join(_CURVES)}, or {_RSA}")


def _elliptic(key: JsonObject) -> ec.EllipticCurvePublicKey:
    x, y = json_web_key.number(key, "x"), json_web_key.number(key, "y")
    return ec.EllipticCurvePublicNumbers(x, y, _CURVES[key.text("crv")]).public_key()


def _rsa(key: JsonObject) -> rsa.RSAPublicKey:
    modulus, exponent = json_web_key.number(key, "n"), json_web_key.number(key, "e")
    if not _SMALLEST_RSA <= modulus.bit_length() <= _LARGEST_RSA:
        want = f"{_SMALLEST_RSA} to {_LARGEST_RSA} bits"
        raise key.wrong("n", f"{modulus.bit_length()} bits", want)
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _agreed(ephemeral: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
    """Return the key that wraps; RFC 7518, section 4.6.2, with neither PartyUInfo nor PartyVInfo."""
    shared = ephemeral.exchange(ec.ECDH(), public)
    algorithm = len(_ECDH).to_bytes(4, "big") + _ECDH.encode()
    other = algorithm + bytes(4) + bytes(4) + (8 * _KEY).to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), _KEY, other).derive(shared)


def _coordinates(public: ec.EllipticCurvePublicKey, curve: str) -> Mapping[str, JsonValue]:
    """Return an ephemeral key, its members in the order of their names."""
    size = (public.curve.key_size + 7) // 8
    numbers = public.public_numbers()
    x, y = (base64url.encode(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"crv": curve, "kty": "EC", "x": x, "y": y}
