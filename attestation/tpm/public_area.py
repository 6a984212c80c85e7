"""
What is a key of a TPM, and what may it be used for?

The public area names the key together with its attributes: who knows the name, or vouches for it, vouches for
both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from attestation.errors import EvidenceFormatError
from attestation.reader import Reader
from attestation.tpm.signature import ECDSA, HASHES, RSAPSS, RSASSA

SOURCE = 'TCG TPM 2.0 Library, part 2, rev. 1.59, section 12.2.4, "TPMT_PUBLIC"'
# Section 8.3.2, "TPMA_OBJECT": name and bit.
ATTRIBUTES: Mapping[str, int] = {
    "fixed_tpm": 1,
    "st_clear": 2,
    "fixed_parent": 4,
    "sensitive_data_origin": 5,
    "user_with_auth": 6,
    "admin_with_policy": 7,
    "no_da": 10,
    "encrypted_duplication": 11,
    "restricted": 16,
    "decrypt": 17,
    "sign": 18,
    "x509_sign": 19,
}
_RSA, _ECC, _NULL = 0x0001, 0x0023, 0x0010
_AES, _CFB = 0x0006, 0x0043
_AES_BITS = (128, 192, 256)
_NAME_HASHES: Mapping[int, str] = {0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
_CURVES: Mapping[int, ec.EllipticCurve] = {0x0003: ec.SECP256R1(), 0x0004: ec.SECP384R1()}
_DEFAULT_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class PublicArea:
    """
    A key of a TPM.

    Attributes:
        key: The public key.
        attributes: The bits of TPMA_OBJECT.
        scheme, digest: With which it signs, by their numbers; None where that is left open.
        name: The number of a hash, and with that the digest of the whole area.
        name_hash: That number.
        symmetric_bits: Of the AES keys by which it protects others; None for a key that does not.
    """

    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    attributes: int
    scheme: int | None
    digest: int | None
    name: bytes
    name_hash: int
    symmetric_bits: int | None = None


def parse(data: bytes) -> PublicArea:
    """
    Return the signing key in `data`: TPMT_PUBLIC, or TPM2B_PUBLIC, which has its size before it.

    Raises:
        EvidenceFormatError: neither, or a key other than RSA, P-256 and P-384, or one that decrypts.

    Not checked:
        Whether it may be trusted, or used for quotes.

    Source:
        TCG TPM 2.0 Library, part 2, revision 1.59, section 12.2.4, "TPMT_PUBLIC"; 12.2.3.5,
        "TPMS_RSA_PARMS"; 12.2.3.6, "TPMS_ECC_PARMS".  Part 1, section 16, "Names".
    """
    area = _parse(data)
    if area.symmetric_bits is not None:
        found, want = "an algorithm", "none: only keys that decrypt have one"
        raise EvidenceFormatError("public area", "symmetric", found, want, SOURCE)
    return area


def parse_storage(data: bytes) -> PublicArea:
    """
    Return the key in `data` that protects others, such as an endorsement key; otherwise as `parse`.

    Raises:
        EvidenceFormatError: as `parse`, or a key without AES in CFB mode, or with a scheme.
    """
    area = _parse(data)
    if area.symmetric_bits is None or area.scheme is not None:
        found = "none" if area.symmetric_bits is None else "a scheme"
        raise EvidenceFormatError("public area", "symmetric", found, "AES in CFB mode alone", SOURCE)
    return area


def _parse(data: bytes) -> PublicArea:
    if len(data) >= 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        data = data[2:]
    reader = Reader(data, "public area", SOURCE, byteorder="big", origin=None)
    kind, name_hash = reader.number(2, "type"), reader.number(2, "nameAlg")
    if name_hash not in _NAME_HASHES:
        raise reader.wrong("nameAlg", f"0x{name_hash:04x}", "SHA-256, SHA-384 or SHA-512")
    attributes = reader.number(4, "objectAttributes")
    _sized(reader, "authPolicy")
    symmetric_bits = _symmetric(reader)
    scheme, digest = _scheme(reader)
    key = _key(reader, kind)
    reader.end("")
    name = _name(name_hash, data)
    return PublicArea(key, attributes, scheme, digest, name, name_hash, symmetric_bits)


def _name(name_hash: int, data: bytes) -> bytes:
    """Return the name of the object with this public area."""
    return name_hash.to_bytes(2, "big") + hashlib.new(_NAME_HASHES[name_hash], data).digest()


def _symmetric(reader: Reader) -> int | None:
    """Return the size of the AES keys, or None where there are none: TPMT_SYM_DEF_OBJECT, section 11.1.7."""
    algorithm = reader.number(2, "symmetric")
    if algorithm == _NULL:
        return None
    bits, mode = reader.number(2, "symmetric.keyBits"), reader.number(2, "symmetric.mode")
    if algorithm != _AES or bits not in _AES_BITS or mode != _CFB:
        found = f"0x{algorithm:04x}, {bits} bits, mode 0x{mode:04x}"
        raise reader.wrong("symmetric", found, "none, or AES in CFB mode")
    return bits


def _scheme(reader: Reader) -> tuple[int | None, int | None]:
    scheme = reader.number(2, "scheme")
    if scheme == _NULL:
        return None, None
    digest = reader.number(2, "hash")
    if scheme not in {RSASSA, RSAPSS, ECDSA} or digest not in HASHES:
        raise reader.wrong("scheme", f"0x{scheme:04x}, 0x{digest:04x}", "RSASSA, RSAPSS or ECDSA, SHA-2")
    return scheme, digest


def _key(reader: Reader, kind: int) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    try:
        if kind == _RSA:
            bits, exponent = reader.number(2, "keyBits"), reader.number(4, "exponent")
            modulus = int.from_bytes(_sized(reader, "modulus"), "big")
            if modulus.bit_length() != bits:
                raise reader.wrong("modulus", f"{modulus.bit_length()} bits", f"{bits} bits")
            return rsa.RSAPublicNumbers(exponent or _DEFAULT_EXPONENT, modulus).public_key()
        curve = _CURVES.get(reader.number(2, "curveID")) if kind == _ECC else None
        if curve is None or reader.number(2, "kdf") != _NULL:
            raise reader.wrong("type", f"0x{kind:04x}", "RSA, P-256 or P-384")
        x, y = (int.from_bytes(_sized(reader, name), "big") for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as error:
        raise EvidenceFormatError("public area", "unique", str(error)[:60], "a key", SOURCE) from error


def _sized(reader: Reader, field: str) -> bytes:
    return reader.take(reader.number(2, f"size of {field}"), field)
