"""
What was signed, and by which algorithm: COSE_Sign1.

The bytes that a signature covers are put together from the bytes of the message; nothing that is signed is
encoded again.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation import cbor as strict
from attestation.certificate import dss_signature
from attestation.errors import EvidenceFormatError, SignatureError

SOURCE = 'RFC 9052, section 4.2, "Signing with One Signer"'
_TAGGED = b"\xd2"  # tag 18
_ALGORITHM = 1
# RFC 8949, section 3, "Specification of the CBOR Encoding".
_ARGUMENT_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
_FIRST_SIZE, _INDEFINITE = 24, 31
_MAJOR_STRINGS, _MAJOR_TAG = (2, 3), 6
# RFC 9053, section 2.1, "ECDSA": name, curve, hash, bytes of r and of s.
_ALGORITHMS: Mapping[int, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm, int]] = {
    -7: ("ES256", ec.SECP256R1(), hashes.SHA256(), 32),
    -35: ("ES384", ec.SECP384R1(), hashes.SHA384(), 48),
    -36: ("ES512", ec.SECP521R1(), hashes.SHA512(), 66),
}


@dataclass(frozen=True, slots=True)
class Sign1:
    """
    A message with one signature.

    Attributes:
        algorithm: Of the signature, a number of the IANA registry "COSE Algorithms", which is protected.
        payload: What was signed.
        signed_bytes: The Sig_structure, with no external data.
        signature: r and s, big-endian.
        headers: Everything that is protected, by label.
    """

    algorithm: int
    payload: bytes
    signed_bytes: bytes
    signature: bytes
    headers: Mapping[object, object] = field(default_factory=dict)


def cbor(data: bytes, where: str) -> object:
    """
    Return the one value that `data` encodes.

    Raises:
        EvidenceFormatError: it encodes none, something follows, or a part of it has a tag: those make other
            values of values, some at great cost, and no evidence has any.
    """
    _check_plain(data, where)
    return _decoded(data, where)


def tagged_cbor(data: bytes, where: str, tags: frozenset[int]) -> object:
    """
    Return the one value that `data` encodes, in which parts may have some tags.

    Raises:
        EvidenceFormatError: it encodes none, a part of it has another tag, or two readers could read it in
            two ways: see `attestation.cbor.check`.
    """
    strict.check(data, where, tags)
    return _decoded(data, where)


def _decoded(data: bytes, where: str) -> object:
    stream = io.BytesIO(data)
    try:
        value: object = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EvidenceFormatError(where, "", str(error)[:80], "CBOR", "RFC 8949") from error
    if stream.tell() != len(data):
        raise EvidenceFormatError(
            where, "", f"{len(data) - stream.tell()} bytes behind it", "none", "RFC 8949"
        )
    return value


def _check_plain(data: bytes, where: str) -> None:
    """Look at the head of every item, wherever it is nested: they stand one after the other."""
    at = 0
    while at < len(data):
        major, low = data[at] >> 5, data[at] & 0x1F
        size = _ARGUMENT_SIZES.get(low, 0)
        argument = low if low < _FIRST_SIZE else int.from_bytes(data[at + 1 : at + 1 + size], "big")
        if major == _MAJOR_TAG:
            raise EvidenceFormatError(where, "tag", str(argument), "none", "RFC 8949, section 3.4", offset=at)
        at += 1 + size + (argument if major in _MAJOR_STRINGS and low != _INDEFINITE else 0)


def parse(data: bytes, where: str, *, unprotected: frozenset[int] = frozenset()) -> Sign1:
    """
    Return the message in `data`, with or without its tag; the labels in `unprotected` may be so.

    Raises:
        EvidenceFormatError: it is none, says something about the signature without protection, or is signed
            by an algorithm other than ECDSA.

    Not checked:
        The signature.

    Source:
        RFC 9052, section 4.2, "Signing with One Signer", and 4.4, "Signing and Verification Process".
    """
    value = cbor(data.removeprefix(_TAGGED), where)
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise EvidenceFormatError(where, "", type(value).__name__, "an array of 4 elements", SOURCE)
    protected, free, payload, signature = value
    for name, part in (("protected", protected), ("payload", payload), ("signature", signature)):
        if not isinstance(part, bytes):
            raise EvidenceFormatError(where, name, type(part).__name__, "a byte string", SOURCE)
    if not isinstance(free, Mapping) or not unprotected.issuperset(free):
        want = f"none but {', '.join(map(str, sorted(unprotected)))}" if unprotected else "an empty map"
        raise EvidenceFormatError(where, "unprotected", f"{free!r:.60}", want, SOURCE)
    headers = cbor(protected, f"{where} protected")
    headers = headers if isinstance(headers, Mapping) else {}
    algorithm = headers.get(_ALGORITHM)
    if not isinstance(algorithm, int) or algorithm not in _ALGORITHMS:
        names = ", ".join(name for name, *_ in _ALGORITHMS.values())
        raise EvidenceFormatError(where, "algorithm", repr(algorithm)[:60], names, "RFC 9053, section 2.1")
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    return Sign1(algorithm, payload, signed, signature, headers)


def sign(payload: bytes, headers: Mapping[int, object], key: ec.EllipticCurvePrivateKey) -> bytes:
    """
    Return a message with its tag; `headers` are protected beside the algorithm, which is that of the key.

    Raises:
        ValueError: no algorithm is known for the curve of the key; the caller's bug.

    Source:
        RFC 9052, section 4.4, "Signing and Verification Process".
    """
    for algorithm, (_, curve, digest, size) in _ALGORITHMS.items():
        if curve.name == key.curve.name:
            protected = cbor2.dumps({_ALGORITHM: algorithm, **headers}, canonical=True)
            data = cbor2.dumps(["Signature1", protected, b"", payload])
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
            signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
            return _TAGGED + cbor2.dumps([protected, {}, payload, signature])
    raise ValueError(f"key: found one on {key.curve.name}, want one on a curve of NIST")


def check(message: Sign1, key: PublicKeyTypes, where: str) -> None:
    """
    Check that `key` made the signature.

    Raises:
        SignatureError: it is of another kind than the algorithm, or did not.
    """
    name, curve, digest, size = _ALGORITHMS[message.algorithm]
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve.name:
        raise SignatureError(where, "another kind of key", f"one for {name}", "RFC 9053, section 2.1")
    if len(message.signature) != 2 * size:
        raise SignatureError(
            where, f"{len(message.signature)} bytes", f"{2 * size} bytes", "RFC 9053, section 2.1"
        )
    try:
        key.verify(dss_signature(message.signature), message.signed_bytes, ec.ECDSA(digest))
    except InvalidSignature as error:
        raise SignatureError(where, "made by another key", "that of the certificate", SOURCE) from error
