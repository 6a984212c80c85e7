"""
Who vouches for a manifest?

A message of COSE around it.  The key is one that the reader names; what the message says about its signer is
shown and decides nothing.

Source:
    draft-ietf-rats-corim-10, section 4.2, "Signed CoRIM".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import cbor2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import cose
from attestation.corim import manifest, terms
from attestation.corim.terms import SOURCE, mapping
from attestation.errors import EvidenceFormatError, SignatureError
from attestation.reference_values import Manifest, ReferenceValueError

_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_WANTED = "a private key on P-256, P-384 or P-521, PEM, without a password"
_LATEST = 1 << 37
TAG = b"\xd2"  # 18
CONTENT_TYPE = "application/rim+cbor"
_ALGORITHM, _CONTENT_TYPE, _KEY_ID, _META, _CLAIMS, _CHAIN = 1, 3, 4, 8, 15, 33
_SIGNER, _VALIDITY, _NAME, _URI = 0, 1, 0, 1
# RFC 8392, section 4, "Summary of the CWT Claim Names, Keys, and Value Types".
_ISSUER, _SUBJECT, _EXPIRES, _NOT_BEFORE, _ISSUED = 1, 2, 4, 5, 6


def parse(data: bytes, where: str, key: bytes | None) -> Manifest:
    """
    Return the reference values of a signed manifest.

    Args:
        data: The message, with its tag.
        where: The name of the file, for errors.
        key: Who has to have signed it: a public key, PEM.  Without one the signature is not looked at, and
            the manifest says so.

    Raises:
        ReferenceValueError: it is none, another key signed it, or something is protected that is not known.
    """
    try:
        message = cose.parse(data, where)
        if key is not None:
            cose.check(message, _public(key, where), where)
        signer, start, end = _headers(message.headers, where)
    except SignatureError as error:
        raise ReferenceValueError(
            where, "the signature of another key", "that of the key given", SOURCE
        ) from error
    except EvidenceFormatError as error:
        raise ReferenceValueError(error.where, error.found, error.want, error.source) from error
    inner = manifest.parse(message.payload, where)
    return replace(
        inner,
        signer=signer,
        verified=key is not None,
        not_before=max(filter(None, (inner.not_before, start)), default=None),
        not_after=min(filter(None, (inner.not_after, end)), default=None),
    )


def sign(payload: bytes, signer: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a manifest that `signer` vouches for; the key is named by the SHA-256 of its public half."""
    meta = cbor2.dumps({_SIGNER: {_NAME: signer}}, canonical=True)
    headers = {_CONTENT_TYPE: CONTENT_TYPE, _KEY_ID: key_id(key.public_key()), _META: meta}
    return cose.sign(payload, headers, key)


def load_key(pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """
    Return the private key in a PEM file.

    Raises:
        ReferenceValueError: it is none, has a password, or is of a curve that no manifest is signed with.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ReferenceValueError(where, "no private key", _WANTED, SOURCE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise ReferenceValueError(where, "another kind of key", _WANTED, SOURCE)
    return key


def key_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()


def _public(key: bytes, where: str) -> ec.EllipticCurvePublicKey:
    try:
        found = serialization.load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceFormatError(where, "key", "no public key", "one, PEM", "RFC 7468") from error
    if not isinstance(found, ec.EllipticCurvePublicKey):
        raise EvidenceFormatError(where, "key", "another kind of key", "one of an elliptic curve", SOURCE)
    return found


def _headers(headers: Mapping[object, object], where: str) -> tuple[str, datetime | None, datetime | None]:
    """Return the name of the signer, and when the signature counts."""
    known = frozenset({_ALGORITHM, _CONTENT_TYPE, _KEY_ID, _META, _CLAIMS, _CHAIN})
    found = mapping(headers, f"{where} protected", known)
    if found.get(_CONTENT_TYPE) != CONTENT_TYPE:
        shown = repr(found.get(_CONTENT_TYPE))[:80]
        raise EvidenceFormatError(where, "content type", shown, CONTENT_TYPE, SOURCE)
    said = [
        read(found[label], f"{where}.{name}")
        for label, name, read in ((_META, "corim-meta", _meta), (_CLAIMS, "CWT claims", _claims))
        if label in found
    ]
    if not said:
        raise EvidenceFormatError(where, "protected", "no signer", "corim-meta or CWT claims", SOURCE)
    names, starts, ends = zip(*said, strict=True)
    return names[0], max(filter(None, starts), default=None), min(filter(None, ends), default=None)


def _meta(value: object, where: str) -> tuple[str, datetime | None, datetime | None]:
    if not isinstance(value, bytes):
        raise EvidenceFormatError(where, "", type(value).__name__, "bytes", SOURCE)
    members = frozenset({_SIGNER, _VALIDITY})
    said = mapping(cose.tagged_cbor(value, where, terms.TAGS), where, members)
    name = _text(mapping(said.get(_SIGNER), where, frozenset({_NAME, _URI})).get(_NAME), where)
    return (name, *terms.validity(said[_VALIDITY], where)) if _VALIDITY in said else (name, None, None)


def _claims(value: object, where: str) -> tuple[str, datetime | None, datetime | None]:
    members = frozenset({_ISSUER, _SUBJECT, _EXPIRES, _NOT_BEFORE, _ISSUED})
    said = mapping(value, where, members)
    return _text(said.get(_ISSUER), where), _time(said, _NOT_BEFORE, where), _time(said, _EXPIRES, where)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise EvidenceFormatError(where, "signer", type(value).__name__, "text", SOURCE)
    return value


def _time(said: Mapping[object, object], label: int, where: str) -> datetime | None:
    if label not in said:
        return None
    value = said[label]
    if not isinstance(value, int) or not 0 <= value < _LATEST:
        raise EvidenceFormatError(where, str(label), repr(value)[:80], "seconds since 1970", SOURCE)
    return datetime.fromtimestamp(value, UTC)
