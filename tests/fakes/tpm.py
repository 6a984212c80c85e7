"""A TPM of our own: real keys and the encoding of genuine quotes; each part can be replaced."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.fakes import azure
from tests.fakes.aws import MADE

RSASSA, RSAPSS, ECDSA = 0x14, 0x16, 0x18
SHA256, SHA384 = 0x0B, 0x0C
HASHES = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384()}
CURVES = {
    "P-256": (ec.SECP256R1(), 3, 32),
    "P-384": (ec.SECP384R1(), 4, 48),
    "P-521": (ec.SECP521R1(), 5, 66),
}
BITS = {
    "fixed_tpm": 1,
    "fixed_parent": 4,
    "sensitive_data_origin": 5,
    "restricted": 16,
    "decrypt": 17,
    "sign": 18,
}
AK = ("fixed_tpm", "fixed_parent", "sensitive_data_origin", "restricted", "sign")
SELECTED = tuple(range(16))
PCRS = {
    name: tuple(hashlib.new(name, bytes([number])).digest() for number in range(24))
    for name in ("sha256", "sha384")
}
BANKS = {SHA256: "sha256", SHA384: "sha384"}


def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return azure.key(name, bits)


@functools.cache
def elliptic(name: str, curve: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, CURVES[curve][0])


@dataclass(frozen=True, kw_only=True)
class Tpm:
    """One quote, and the key that signed it; `curve` is None for RSA."""

    curve: str | None = None
    bits: int = 2048
    key: str = "ak"
    signer: str = "ak"
    scheme: int = RSASSA
    digest: int = SHA256
    key_scheme: int | None = None
    symmetric: int = 0x10
    name_hash: int = 0x0B
    attributes: tuple[str, ...] = AK
    selected: tuple[int, ...] = SELECTED
    bank: int = SHA256
    banks: int = 1
    extra_data: bytes = field(default_factory=lambda: hashlib.sha256(bytes(64)).digest())
    magic: int = 0xFF544347
    kind: int = 0x8018
    clock: tuple[int, int, int, int, int] = (1000, 2, 3, 1, 0x1122)
    pcrs: Mapping[int, bytes] = field(default_factory=dict)
    measured: Mapping[int, bytes] = field(default_factory=dict)
    behind: bytes = b""
    behind_signature: bytes = b""
    with_size: bool = False
    certificates: tuple[bytes, ...] = ()

    @property
    def registers(self) -> dict[int, bytes]:
        values = PCRS[BANKS.get(self.bank, "sha256")]
        return {number: self.measured.get(number, values[number]) for number in self.selected}

    def private(self, name: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        return rsa_key(name, self.bits) if self.curve is None else elliptic(name, self.curve)

    def message(self) -> bytes:
        digest = hashlib.new(HASHES[self.digest].name, b"".join(self.registers.values())).digest()
        selection = sum(1 << number for number in self.selected).to_bytes(3, "little")
        return (
            struct.pack(">IH", self.magic, self.kind)
            + _sized(b"\0\x0b" + bytes(32))
            + _sized(self.extra_data)
            + struct.pack(">QIIBQ", *self.clock)
            + struct.pack(">IHB", self.banks, self.bank, 3)
            + selection
            + _sized(digest)
            + self.behind
        )

    def signature(self) -> bytes:
        head, key, algorithm = (
            struct.pack(">HH", self.scheme, self.digest),
            self.private(self.signer),
            HASHES[self.digest],
        )
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(self.message(), ec.ECDSA(algorithm)))
            size = CURVES[self.curve or ""][2]
            made = _sized(r.to_bytes(size, "big")) + _sized(s.to_bytes(size, "big"))
        else:
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.MAX_LENGTH)
            scheme = pss if self.scheme == RSAPSS else padding.PKCS1v15()
            made = _sized(key.sign(self.message(), scheme, algorithm))
        return head + made + self.behind_signature

    def public(self) -> bytes:
        key = self.private(self.key).public_key()
        scheme = self.scheme if self.key_scheme is None else self.key_scheme
        area = struct.pack(
            ">HHI",
            1 if self.curve is None else 0x23,
            self.name_hash,
            sum(1 << BITS[name] for name in self.attributes),
        )
        area += _sized(b"") + struct.pack(">H", self.symmetric)
        area += struct.pack(">H", scheme) + (b"" if scheme == 0x10 else struct.pack(">H", self.digest))
        if isinstance(key, rsa.RSAPublicKey):
            area += struct.pack(">HI", self.bits, 0) + _sized(
                key.public_numbers().n.to_bytes(self.bits // 8, "big")
            )
        else:
            _, number, size = CURVES[self.curve or ""]
            point = key.public_numbers()
            area += struct.pack(">HH", number, 0x10)
            area += _sized(point.x.to_bytes(size, "big")) + _sized(point.y.to_bytes(size, "big"))
        return _sized(area) if self.with_size else area

    def name(self) -> bytes:
        return struct.pack(">H", self.name_hash) + hashlib.sha256(self.public()).digest()

    def spki(self) -> bytes:
        return spki(self.private(self.key))

    def parts(self) -> dict[str, str]:
        found = {
            "quote": self.message().hex(),
            "signature": self.signature().hex(),
            "pcrs": b"".join({**self.registers, **self.pcrs}.values()).hex(),
            "ak_public": self.public().hex(),
        }
        if self.certificates:
            found["ak_certificates"] = b"".join(self.certificates).hex()
        return found

    def evidence(self) -> bytes:
        return json.dumps(self.parts()).encode()


def certificate(
    subject: str, issuer: str, *, signer: str | None = None, start: datetime = MADE, unnamed: bool = False,
    critical: str | None = None, path_length: int | None = None, purposes: tuple[str, ...] = (),
    authority: bool | None = None,
) -> bytes:  # fmt: skip
    """Return a certificate of one of the RSA keys; "ak" issues none."""
    authority = subject != "ak" if authority is None else authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]) if unnamed else _name(subject))
        .issuer_name(_name(issuer))
        .public_key(rsa_key(subject).public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False),
            critical=True,
        )
    )
    if unnamed:
        names = x509.SubjectAlternativeName([x509.DirectoryName(_name("the TPM"))])
        builder = builder.add_extension(names, critical=True)
    if purposes:
        usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(one) for one in purposes])
        builder = builder.add_extension(usage, critical=True)
    if critical is not None:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(critical), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    made = builder.sign(rsa_key(signer or issuer), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def revocation_list(issuer: str, *serials: int) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer))
    builder = builder.last_update(MADE).next_update(MADE + timedelta(days=1))
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(MADE).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(rsa_key(issuer), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def spki(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    encoded = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(encoded).digest()


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
