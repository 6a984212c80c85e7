"""A device of a fake NVIDIA: real keys and the encoding of the genuine ones; each part can be replaced."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from attestation.endorsements import Endorsements
from attestation.nvidia.roots import NvidiaRoots
from tests.fakes import aws
from tests.fakes.aws import MADE, NAMES, certificate

FWID = hashlib.sha384(b"firmware").digest()
TCB_INFO = ("2.23.133.5.4.1", b"\x30\x3a" + bytes(10) + FWID)


def later_info(*digests: bytes, tag: int = 0xA6) -> tuple[str, bytes]:
    """Return the extension of Blackwell's certificates, which has more than the digest of the firmware."""
    fwids = [bytes.fromhex("06096086480165030402020430") + one for one in digests]
    listed = b"".join(b"\x30" + bytes([len(one)]) + one for one in fwids)
    said = bytes.fromhex("80064e564944494182023032830102840100850100")
    inside = said + bytes([tag]) + length(listed) + listed + bytes.fromhex("87050080000001880102890100")
    return "2.23.133.5.4.1.1", b"\x30" + length(inside) + inside


def length(value: bytes) -> bytes:
    return bytes([len(value)]) if len(value) < 128 else b"\x81" + bytes([len(value)])


LEAF = aws.certificate("leaf", "instance", extension=TCB_INFO)
CHAIN = (LEAF, *aws.CHAIN[1:])
MEASUREMENTS = {index: bytes([index]) * 48 for index in range(1, 65)}
OPAQUE = {3: b"590.12\0", 6: struct.pack("<II", 0x9600A500, 1), 15: b"885\0", 20: FWID}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One answer to a request for measurements."""

    nonce: bytes = field(default_factory=lambda: hashlib.sha256(bytes(64)).digest())
    request: bytes = bytes.fromhex("11e001ff")
    head: bytes = bytes.fromhex("11600000")
    measurements: Mapping[int, bytes] = field(default_factory=lambda: MEASUREMENTS)
    opaque: Mapping[int, bytes] = field(default_factory=lambda: OPAQUE)
    count: int | None = None
    specification: int = 1
    signer: str = "leaf"
    behind: bytes = b""
    chain: tuple[bytes, ...] = CHAIN

    def evidence(self) -> bytes:
        record = b"".join(
            struct.pack("<BBHBH", index, self.specification, len(value) + 3, 1, len(value)) + value
            for index, value in self.measurements.items()
        )
        opaque = b"".join(
            struct.pack("<HH", number, len(value)) + value for number, value in self.opaque.items()
        )
        count = len(self.measurements) if self.count is None else self.count
        signed = self.request + self.nonce + b"\0" + self.head + bytes([count])
        signed += len(record).to_bytes(3, "little") + record + bytes(32)
        signed += len(opaque).to_bytes(2, "little") + opaque
        r, s = decode_dss_signature(aws.key(self.signer).sign(signed, ec.ECDSA(hashes.SHA384())))
        return signed + r.to_bytes(48, "big") + s.to_bytes(48, "big") + self.behind

    def endorsements(
        self, *lists: bytes, responses: tuple[bytes, ...] = (), manifests: tuple[bytes, ...] = ()
    ) -> Endorsements:
        return Endorsements(self.chain, lists, status_responses=responses, manifests=manifests)


def roots() -> NvidiaRoots:
    """Return the roots of devices and of manifests, which are two."""
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    encoded = aws.key("manifests' root").public_key().public_bytes(*spki)
    return NvidiaRoots("NVIDIA", aws.roots().keys, frozenset({hashlib.sha256(encoded).hexdigest()}))


OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING


@dataclass(frozen=True, kw_only=True)
class Status:
    """One OCSP response about `subject`, by its issuer or by a responder that this made."""

    subject: str = "instance"
    about: bytes | None = None
    issuer: str | None = None
    state: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD
    reason: x509.ReasonFlags | None = None
    names: tuple[str, ...] = NAMES
    chain: tuple[bytes, ...] = CHAIN
    algorithm: hashes.HashAlgorithm = field(default_factory=hashes.SHA384)
    this_update: datetime = MADE
    next_update: datetime | None = MADE + timedelta(days=1)
    responder: bytes | None = None
    renamed: tuple[bytes, bytes] = (b"", b"")
    with_it: bool = True
    by_name: bool = False
    signer: str | None = None
    forger: str | None = None
    nonce: bytes | None = None
    critical: bool = False

    def response(self) -> bytes:
        above = self.issuer or self.names[self.names.index(self.subject) + 1]
        issuer = self.chain[self.names.index(above)]
        load = x509.load_der_x509_certificate
        responder = load(self.responder or issuer)
        encoding = ocsp.OCSPResponderEncoding
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=load(self.about or self.chain[self.names.index(self.subject)]),
                issuer=load(issuer),
                algorithm=self.algorithm,
                cert_status=self.state,
                this_update=self.this_update,
                next_update=self.next_update,
                revocation_time=MADE if self.state is ocsp.OCSPCertStatus.REVOKED else None,
                revocation_reason=self.reason,
            )
            .responder_id(encoding.NAME if self.by_name else encoding.HASH, responder)
        )
        if self.responder is not None and self.with_it:
            builder = builder.certificates([load(self.responder)])
        if self.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False)
        if self.critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        signed = builder.sign(aws.key(self.signer or above), hashes.SHA384())
        encoded = signed.public_bytes(serialization.Encoding.DER)
        if self.forger is None:
            return encoded
        said = signed.tbs_response_bytes.replace(*self.renamed)
        signature = b""
        while len(signature) != len(signed.signature):  # so that no length around it changes
            signature = aws.key(self.forger).sign(said, ec.ECDSA(hashes.SHA384()))
        return encoded.replace(signed.tbs_response_bytes, said).replace(signed.signature, signature)


def key_hash(name: str) -> bytes:
    """Return how a response names the key of whoever gave it."""
    return x509.SubjectKeyIdentifier.from_public_key(aws.key(name).public_key()).digest


def responder(issuer: str = "zone", **different: object) -> bytes:
    """Return the certificate of a responder that `issuer` made."""
    values = {"authority": False, "purpose": OCSP_SIGNING, **different}
    return certificate("responder", issuer, **values)  # type: ignore[arg-type]


ALL_RESPONSES = tuple(Status(subject=one).response() for one in NAMES[1:-1])
