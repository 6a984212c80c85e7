"""
A whole Intel of our own: root, CAs, platform, quoting enclave, collateral, and a machine that signs quotes.

Every key is real and every structure has the encoding of the genuine one, so that the code under test runs
unchanged; everything is a field of `Intel`, so that a test case can break exactly one thing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from attestation.endorsements import Endorsements
from attestation.intel.collateral import SignedDocument
from attestation.intel.roots import IntelRoots

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
END = datetime(2030, 1, 1, tzinfo=UTC)
ROOT, PLATFORM_CA = "Intel SGX Root CA", "Intel SGX PCK Platform CA"
PCK, SIGNING = "Intel SGX PCK Certificate", "Intel SGX TCB Signing"
FMSPC = bytes.fromhex("90c06f000000")
SGX_OID = (1, 2, 840, 113741, 1, 13, 1)
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
    return ec.derive_private_key(number % (2**255), ec.SECP256R1())


def sign(name: str, data: bytes) -> bytes:
    r, s = decode_dss_signature(key(name).sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(name: str) -> bytes:
    numbers = key(name).public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def der(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    length = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + contents


def oid(*arcs: int) -> bytes:
    encoded = bytes([40 * arcs[0] + arcs[1]])
    for arc in arcs[2:]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        encoded += bytes(reversed(groups))
    return der(6, encoded)


def pair(number: tuple[int, ...], value: bytes) -> bytes:
    return der(0x30, oid(*SGX_OID, *number) + value)


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(2, "big") if value > 0x7F else bytes([value]))


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What the PCK certificate says of the machine."""

    components: tuple[int, ...] = (3,) * 16
    pce_svn: int = 13
    fmspc: bytes = FMSPC
    pce_id: bytes = bytes(2)
    smt: bool = True
    without: int = 0  # the number of a field to leave out

    def extension(self) -> bytes:
        tcb = b"".join(pair((2, place), integer(svn)) for place, svn in enumerate(self.components, 1))
        tcb += pair((2, 17), integer(self.pce_svn)) + pair((2, 18), der(4, bytes(self.components)))
        configuration = b"".join(pair((7, n), der(1, b"\xff" if self.smt else b"\0")) for n in (1, 2, 3))
        fields = {
            1: der(4, bytes(range(16))),
            2: der(0x30, tcb),
            3: der(4, self.pce_id),
            4: der(4, self.fmspc),
            5: der(10, b"\1"),
            6: der(4, bytes(16)),
            7: der(0x30, configuration),
        }
        return der(0x30, b"".join(pair((n,), value) for n, value in fields.items() if n != self.without))


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What one certificate says."""

    subject: str
    issuer: str
    key: str
    issuer_key: str
    serial: int = 7
    start: datetime = START
    end: datetime = END
    is_authority: bool = False
    path_length: int | None = None
    extension: bytes | None = None
    critical: bool = False

    def der(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.subject))
            .issuer_name(_name(self.issuer))
            .public_key(key(self.key).public_key())
            .serial_number(self.serial)
            .not_valid_before(self.start)
            .not_valid_after(self.end)
            .add_extension(
                x509.BasicConstraints(ca=self.is_authority, path_length=self.path_length), critical=True
            )
            .add_extension(_usage(self.is_authority), critical=True)
        )
        if self.extension is not None:
            identifier = x509.ObjectIdentifier(".".join(map(str, SGX_OID)))
            builder = builder.add_extension(
                x509.UnrecognizedExtension(identifier, self.extension), critical=self.critical
            )
        made = builder.sign(key(self.issuer_key), hashes.SHA256())
        return made.public_bytes(serialization.Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(is_authority: bool) -> x509.KeyUsage:  # noqa: FBT001  # the one fact that it is about
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def revocation_list(
    issuer: str,
    issuer_key: str,
    serials: tuple[int, ...] = (),
    *,
    start: datetime = START,
    end: datetime = END,
    only: str = "",
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(_name(issuer))
    builder = builder.last_update(start).next_update(end)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    if only:
        point = x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=only == "user_certs",
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=only == "attribute_certs",
        )
        builder = builder.add_extension(point, critical=True)
    return builder.sign(key(issuer_key), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def level(status: str, svn: int, *advisories: str, tdx: tuple[int, ...] = (0,) * 16) -> dict[str, Any]:
    return {
        "tcb": {
            "sgxtcbcomponents": [{"svn": svn}] * 16,
            "pcesvn": 11,
            "tdxtcbcomponents": [{"svn": one} for one in tdx],
        },
        "tcbDate": "2025-01-01T00:00:00Z",
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


def enclave_level(status: str, svn: int, *advisories: str) -> dict[str, Any]:
    found: dict[str, Any] = {"tcb": {"isvsvn": svn}, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": status}
    return {**found, **({"advisoryIDs": list(advisories)} if advisories else {})}


def module(name: str, *levels: dict[str, Any]) -> dict[str, Any]:
    mask = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "ff" * 8}
    return {"id": name, **mask, "tcbLevels": list(levels)}


TCB_INFO: Mapping[str, Any] = {
    "id": "TDX",
    "version": 3,
    "issueDate": "2025-05-15T00:00:00Z",
    "nextUpdate": "2025-06-14T00:00:00Z",
    "fmspc": FMSPC.hex(),
    "pceId": "0000",
    "tcbType": 0,
    "tcbEvaluationDataNumber": 18,
    "tdxModule": {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8},
    "tdxModuleIdentities": [
        module("TDX_03", enclave_level("UpToDate", 3), enclave_level("OutOfDate", 1, "INTEL-SA-3")),
        module("TDX_01", enclave_level("UpToDate", 5), enclave_level("OutOfDate", 2, "INTEL-SA-1")),
    ],
    "tcbLevels": [level("UpToDate", 3), level("OutOfDate", 2, "INTEL-SA-2")],
}
QE_IDENTITY: Mapping[str, Any] = {
    "id": "TD_QE",
    "version": 2,
    "issueDate": "2025-05-15T00:00:00Z",
    "nextUpdate": "2025-06-14T00:00:00Z",
    "tcbEvaluationDataNumber": 17,
    "miscselect": "00000000",
    "miscselectMask": "FFFFFFFF",
    "attributes": "11000000000000000000000000000000",
    "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
    "mrsigner": "DC" * 32,
    "isvprodid": 2,
    "tcbLevels": [enclave_level("UpToDate", 4), enclave_level("OutOfDate", 2, "INTEL-SA-4")],
}


def enclave(report_data: bytes, **fields: Any) -> bytes:  # noqa: ANN401  # one type per field
    """A report of an enclave, that of the fake quoting enclave unless told otherwise."""
    values = {
        "attributes": bytes([0x11]) + bytes(7) + b"\7" + bytes(7),
        "mr_signer": b"\xdc" * 32,
        "isv_prod_id": 2,
        "isv_svn": 5,
        "misc_select": 0,
        **fields,
    }
    raw = bytearray(384)
    struct.pack_into("<I", raw, 16, values["misc_select"])
    raw[48:64], raw[64:96], raw[128:160] = values["attributes"], b"\xec" * 32, values["mr_signer"]
    struct.pack_into("<HH", raw, 256, values["isv_prod_id"], values["isv_svn"])
    raw[320:384] = report_data
    return bytes(raw)


def td(**fields: bytes) -> bytes:
    """A report of a trust domain of TDX 1.5: each 48-byte field filled with a number of its own."""
    values = {
        "tee_tcb_svn": bytes([7, 1]) + bytes(14),
        "td_attributes": (1 << 28).to_bytes(8, "little"),
        "xfam": (0x602E7).to_bytes(8, "little"),
        "mr_signer_seam": bytes(48),
        "seam_attributes": bytes(8),
        "report_data": bytes(64),
        "tee_tcb_svn2": bytes([7, 1]) + bytes(14),
        "mr_service_td": bytes(48),
        **fields,
    }
    digests = [bytes([number]) * 48 for number in range(1, 9)]
    return b"".join(
        (
            values["tee_tcb_svn"],
            b"\x5e" * 48,
            values["mr_signer_seam"],
            values["seam_attributes"],
            values["td_attributes"],
            values["xfam"],
            *digests,
            values["report_data"],
            values["tee_tcb_svn2"],
            values["mr_service_td"],
        )
    )


@dataclass(frozen=True, kw_only=True)
class Intel:
    """Everything that one quote and its endorsements are made from."""

    tee: str = "TDX"
    version: int = 5
    report: bytes = field(default_factory=td)
    platform: Platform = Platform()
    qe: Mapping[str, Any] = field(default_factory=dict)
    attestation_key: str = "attestation"
    quote_key: str = "attestation"
    qe_key: str = "pck"
    authentication: bytes = bytes(range(32))
    hashed: bytes | None = None
    root: Maker = Maker(subject=ROOT, issuer=ROOT, key="root", issuer_key="root", is_authority=True)
    ca: Maker = Maker(subject=PLATFORM_CA, issuer=ROOT, key="ca", issuer_key="root", is_authority=True)
    pck: Maker = Maker(subject=PCK, issuer=PLATFORM_CA, key="pck", issuer_key="ca")
    signing: Maker = Maker(subject=SIGNING, issuer=ROOT, key="signing", issuer_key="root", serial=9)
    tcb_info: Mapping[str, Any] = field(default_factory=lambda: TCB_INFO)
    qe_identity: Mapping[str, Any] = field(default_factory=lambda: QE_IDENTITY)
    document_key: str = "signing"
    lists: tuple[bytes, ...] = field(
        default_factory=lambda: (revocation_list(PLATFORM_CA, "ca"), revocation_list(ROOT, "root"))
    )
    trailing: bytes = b""
    certification: int = 5

    def certificates(self) -> tuple[bytes, bytes, bytes]:
        pck = replace(self.pck, extension=self.pck.extension or self.platform.extension())
        return pck.der(), self.ca.der(), self.root.der()

    def quote(self) -> bytes:
        hashed = self.hashed or point(self.attestation_key) + self.authentication
        qe_report = enclave(hashlib.sha256(hashed).digest() + bytes(32), **self.qe)
        pem = b"".join(
            x509.load_der_x509_certificate(one).public_bytes(serialization.Encoding.PEM)
            for one in self.certificates()[: 1 if self.certification == 4 else 3]
        )
        pem = pem if self.certification in {4, 5} else bytes(404)
        certification = struct.pack("<HI", self.certification, len(pem)) + pem
        inner = qe_report + sign(self.qe_key, qe_report)
        inner += struct.pack("<H", len(self.authentication)) + self.authentication + certification
        if self.version > 3:
            inner = struct.pack("<HI", 6, len(inner)) + inner
        signed = self.signed()
        signature = sign(self.quote_key, signed) + point(self.attestation_key) + inner
        return signed + struct.pack("<I", len(signature)) + signature + self.trailing

    def signed(self) -> bytes:
        tee_type = 0x81 if self.tee == "TDX" and self.version > 3 else 0
        header = struct.pack("<HHI4x16s20x", self.version, 2, tee_type, VENDOR)
        if self.version == 5:
            kind = {384: 1, 584: 2, 648: 3}[len(self.report)]
            header += struct.pack("<HI", kind, len(self.report))
        return header + self.report

    def documents(self) -> tuple[SignedDocument, ...]:
        bodies = [json.dumps(one).encode() for one in (self.tcb_info, self.qe_identity) if one]
        return tuple(SignedDocument(body, sign(self.document_key, body)) for body in bodies)

    def endorsements(self) -> Endorsements:
        return Endorsements((self.signing.der(), self.root.der()), self.lists, self.documents())

    def roots(self) -> IntelRoots:
        encoded = (
            key("root")
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        quoting = {"SGX": (b"\xdc" * 32, 2), "TDX": (b"\xdc" * 32, 2)}
        return IntelRoots("the fake Intel", frozenset({hashlib.sha256(encoded).hexdigest()}), quoting)
