"""
Who vouches for an enclave image?

A certificate, and a COSE message over PCR0 by its key.  Bytes stand as arrays of numbers, because the tools
of AWS write and read them so.
"""

from __future__ import annotations

from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import cose, endorsements
from attestation.certificate import read_certificate
from attestation.errors import AttestationError
from images.boot_errors import EifError

SOURCE = 'aws-nitro-enclaves-image-format, README.md, "EifSectionSignature", 2024-06-21'
_CERTIFICATE, _SIGNATURE = "signing_certificate", "signature"
_INDEX, _VALUE = "register_index", "register_value"
_WHERE = "EIF.signature"
_NO_TAGS: frozenset[int] = frozenset()
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


@dataclass(frozen=True, slots=True)
class Signer:
    """
    Who signs: a key, and its certificate in PEM.

    Raises:
        EifError: no certificate, one for another key, or a key of another kind.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: bytes

    def __post_init__(self) -> None:
        _, found = _certificate(self.certificate)
        if found.public_numbers() != self.key.public_key().public_numbers():
            raise EifError("certificate", "one for another key", "one for the key that signs")


def sign(register: bytes, signer: Signer) -> bytes:
    """
    Return the section that vouches for an image with this PCR0.

    Source:
        aws-nitro-enclaves-image-format, README.md, "EifSectionSignature", of 2024-06-21.
    """
    payload = cbor2.dumps({_INDEX: 0, _VALUE: list(register)})
    # Without its tag, as the tools of AWS have it.
    message = cose.sign(payload, {}, signer.key)[1:]
    return cbor2.dumps([{_CERTIFICATE: list(signer.certificate), _SIGNATURE: list(message)}])


def check(section: bytes, register: bytes) -> bytes:
    """
    Return the certificate, in DER, whose key signed this PCR0.

    Raises:
        EifError: the section says something else, or the signature is of another register or key.

    Not checked:
        Who issued the certificate, and when it counts.
    """
    try:
        value = cose.tagged_cbor(section, _WHERE, _NO_TAGS)
        if not isinstance(value, list) or len(value) != 1:
            raise EifError(_WHERE, "another shape", "an array of one signature", SOURCE)
        certificate, key = _certificate(_octets(value[0], _CERTIFICATE, {_CERTIFICATE, _SIGNATURE}))
        message = cose.parse(_octets(value[0], _SIGNATURE, {_CERTIFICATE, _SIGNATURE}), _WHERE)
        cose.check(message, key, _WHERE)
        payload = cose.tagged_cbor(message.payload, _WHERE, _NO_TAGS)
    except AttestationError as error:
        raise EifError(
            _WHERE, str(error)[:200], "a signature by the key of its certificate", SOURCE
        ) from error
    signed = _octets(payload, _VALUE, {_INDEX, _VALUE})
    index = payload[_INDEX] if isinstance(payload, dict) else None
    if type(index) is not int or index != 0 or signed != register:
        raise EifError(
            _WHERE, f"one of {signed.hex()[:32]}...", f"one of PCR0, {register.hex()[:32]}...", SOURCE
        )
    return certificate


def _octets(value: object, name: str, members: set[str]) -> bytes:
    """Return the bytes of a member of a map that has these and no others."""
    if not isinstance(value, dict) or set(value) != members:
        raise EifError(_WHERE, "other members", " and ".join(sorted(members)), SOURCE)
    numbers = value[name]
    if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one < 256 for one in numbers):
        raise EifError(f"{_WHERE}.{name}", "something else", "an array of bytes", SOURCE)
    return bytes(numbers)


def _certificate(pem: bytes) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """Return the one certificate in PEM, in DER, and its key."""
    try:
        found = endorsements.parse(pem, "certificate").certificates
        if len(found) != 1:
            raise EifError("certificate", f"{len(found)} of them", "one, PEM", SOURCE)
        key = read_certificate(found[0]).public_key
    except AttestationError as error:
        raise EifError("certificate", str(error)[:200], "one that can be read, PEM", SOURCE) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise EifError("certificate", "another kind of key", "one on P-256, P-384 or P-521", SOURCE)
    return found[0], key
