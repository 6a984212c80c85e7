"""Did a key make a signature of a TPM?"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from attestation.certificate import dss_signature
from attestation.errors import NotAuthenticError, SignatureError
from attestation.reader import Reader

SOURCE = 'TCG TPM 2.0 Library, part 2, rev. 1.59, section 11.3.4, "TPMT_SIGNATURE"'
RSASSA, RSAPSS, ECDSA = 0x0014, 0x0016, 0x0018
SCHEMES: Mapping[int, str] = {RSASSA: "RSASSA", RSAPSS: "RSAPSS", ECDSA: "ECDSA"}
# TCG Algorithm Registry, rev. 1.34, section 6.10.
HASHES: Mapping[int, hashes.HashAlgorithm] = {
    0x000B: hashes.SHA256(),
    0x000C: hashes.SHA384(),
    0x000D: hashes.SHA512(),
}
_SHA256 = 0x000B
_LEAST_RSA = 2048
_CURVES = {ec.SECP256R1.name, ec.SECP384R1.name}
_LARGEST = 66  # of P-521


@dataclass(frozen=True, slots=True)
class Signature:
    """
    A signature.

    Attributes:
        scheme: RSASSA, RSAPSS or ECDSA, by its number.
        digest: The hash, by its number.
        value: PKCS #1 for RSA, DER for ECDSA.
    """

    scheme: int
    digest: int
    value: bytes

    @property
    def hash_name(self) -> str:
        """What the library calls the hash."""
        return HASHES[self.digest].name


def parse(data: bytes) -> Signature:
    """
    Return the signature in `data`, TPMT_SIGNATURE.

    Raises:
        EvidenceFormatError: none, or of a scheme other than RSASSA, RSAPSS and ECDSA with SHA-256 to SHA-512.

    Not checked:
        That any key made it.
    """
    reader = Reader(data, "signature", SOURCE, byteorder="big", origin=None)
    scheme, digest = reader.number(2, "sigAlg"), reader.number(2, "hash")
    if scheme not in SCHEMES or digest not in HASHES:
        raise reader.wrong("sigAlg", f"0x{scheme:04x}, 0x{digest:04x}", "RSASSA, RSAPSS or ECDSA, SHA-2")
    if scheme == ECDSA:
        halves = [reader.take(reader.number(2, "size"), name).lstrip(b"\0") for name in ("r", "s")]
        if any(len(one) > _LARGEST for one in halves):
            raise reader.wrong("signature", f"{max(map(len, halves))} bytes", f"at most {_LARGEST}")
        value = dss_signature(b"".join(one.rjust(_LARGEST, b"\0") for one in halves))
    else:
        value = reader.take(reader.number(2, "size"), "sig")
    reader.end("")
    return Signature(scheme, digest, value)


def parse_with_or_without_head(data: bytes) -> Signature:
    """
    Return an RSASSA signature with SHA-256, which clouds also give without its head.

    Raises:
        EvidenceFormatError: there is a head, and what follows is no signature.
    """
    if data[:4] == struct.pack(">HH", RSASSA, _SHA256):
        return parse(data)
    return Signature(RSASSA, _SHA256, data)


def check(signature: Signature, key: PublicKeyTypes, message: bytes) -> None:
    """
    Check that `key` signed `message`.

    Raises:
        NotAuthenticError: the key is too short, on another curve, or not for the scheme.
        SignatureError: it did not.

    Source:
        TCG TPM 2.0 Library, part 1, revision 1.59, annex B.7, "RSAPSS", and C.4, "ECDSA".
    """
    algorithm = HASHES[signature.digest]
    try:
        if isinstance(key, rsa.RSAPublicKey) and signature.scheme != ECDSA:
            if key.key_size < _LEAST_RSA:
                found = f"{key.key_size} bits"
                raise NotAuthenticError("attestation key", found, f"at least {_LEAST_RSA}", SOURCE)
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
            scheme = padding.PKCS1v15() if signature.scheme == RSASSA else pss
            key.verify(signature.value, message, scheme, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and signature.scheme == ECDSA:
            if key.curve.name not in _CURVES:
                raise NotAuthenticError("attestation key", key.curve.name, "P-256 or P-384", SOURCE)
            key.verify(signature.value, message, ec.ECDSA(algorithm))
        else:
            want = f"one for {SCHEMES[signature.scheme]}"
            raise NotAuthenticError("attestation key", "another kind of key", want, SOURCE)
    except InvalidSignature as error:
        want = "that of the attestation key"
        raise SignatureError("TPM quote", "made by another key", want, SOURCE) from error
