"""
A whole AWS of our own: root, issuers, and a hypervisor that signs attestation documents.

Every key is real and every structure has the encoding of the genuine one; each part can be replaced, so that a
test case can break exactly one thing.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from attestation.path import Roots

NOW = datetime(2025, 6, 1, 12, 1, tzinfo=UTC)
MADE = NOW - timedelta(minutes=1)
NAMES = ("leaf", "instance", "zone", "region", "root")


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha384(name.encode()).digest(), "big")
    return ec.derive_private_key(number >> 1, ec.SECP384R1())


def certificate(  # what one certificate says
    subject: str, issuer: str, *, signer: str | None = None, start: datetime = MADE, end: datetime | None = None,
    authority: bool | None = None, serial: int = 5,
    extension: tuple[str, bytes] | None = None, purpose: x509.ObjectIdentifier | None = None,
    path_length: int | None = None, signs_certificates: bool | None = None, signs_revocations: bool | None = None,
) -> bytes:  # fmt: skip
    is_authority = subject != "leaf" if authority is None else authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key(subject).public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end or start + timedelta(hours=3))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority if signs_certificates is None else signs_certificates,
                crl_sign=is_authority if signs_revocations is None else signs_revocations,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if extension is not None:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension[0]), extension[1])
        builder = builder.add_extension(value, critical=False)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    made = builder.sign(key(signer or issuer), hashes.SHA384())
    return made.public_bytes(serialization.Encoding.DER)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def revocation_list(issuer: str, *serials: int, end: datetime | None = None) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(name(issuer))
    builder = builder.last_update(MADE).next_update(end or MADE + timedelta(days=1))
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(MADE).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key(issuer), hashes.SHA384()).public_bytes(serialization.Encoding.DER)


CHAIN = tuple(
    certificate(subject, issuer) for subject, issuer in zip(NAMES, (*NAMES[1:], "root"), strict=True)
)
ALL_LISTS = tuple(revocation_list(issuer) for issuer in NAMES[1:])
MEMBERS: Mapping[str, Any] = {
    "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
    "digest": "SHA384",
    "timestamp": int(MADE.timestamp() * 1000),
    "pcrs": {number: bytes([number + 1]) * 48 for number in range(16)},
    "certificate": CHAIN[0],
    "cabundle": list(reversed(CHAIN[1:])),
    "public_key": None,
    "user_data": bytes(64),
    "nonce": None,
}


@dataclass(frozen=True, kw_only=True)
class Nitro:
    """One document, and how it is signed."""

    members: Mapping[str, Any] = field(default_factory=dict)
    signer: str = "leaf"
    protected: Mapping[int, int] = field(default_factory=lambda: {1: -35})
    unprotected: Mapping[int, int] = field(default_factory=dict)
    signed: bytes | None = None

    def document(self) -> bytes:
        payload = cbor2.dumps({**MEMBERS, **self.members})
        protected = cbor2.dumps(dict(self.protected))
        data = self.signed or cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(key(self.signer).sign(data, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        return cbor2.dumps([protected, dict(self.unprotected), payload, signature])


def with_chain(*chain: bytes) -> Nitro:
    return Nitro(members={"certificate": chain[0], "cabundle": list(reversed(chain[1:]))})


def roots() -> Roots:
    encoded = (
        key("root")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return Roots("the fake AWS", frozenset({hashlib.sha256(encoded).hexdigest()}))
