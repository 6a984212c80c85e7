"""
What was handed to us: a quote of version 3, 4 or 5, with what its signature brings along.

A quote is a header and a report, both signed by an attestation key; the report of the quoting enclave that
vouches for this key, signed by the platform's PCK; and the PCK's certificates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError
from attestation.intel.report import (
    ENCLAVE_SIZE,
    TD_1_0_SIZE,
    TD_1_5_SIZE,
    EnclaveReport,
    TdReport,
    enclave_report,
    td_report,
)
from attestation.reader import Reader

SOURCE = 'Intel TDX DCAP Quoting Library API, rev. 0.9, appendix A.3, "Quote Format"'
MAXIMUM_SIZE = 1 << 20
_STRUCTURE = "quote"
HEADER_SIZE = 48
_TEE_TYPES = {0x00: "SGX", 0x81: "TDX"}
_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_QE_REPORT = 6  # certification data that begins with a quoting enclave's report
# What says which PCK signed: its PPID in plain or encrypted, its certificate, or that with those above it.
_CERTIFICATIONS = range(1, 6)
_PEM_CERTIFICATIONS = (4, 5)
_BODIES = {1: ENCLAVE_SIZE, 2: TD_1_0_SIZE, 3: TD_1_5_SIZE}  # by the body types of version 5


@dataclass(frozen=True, slots=True)
class QuoteSignature:
    """
    Who signed the quote, as the quote says it.

    Attributes:
        quote: r and s of the attestation key's signature, big-endian, 32 bytes each.
        key: The attestation key, x and y of a point of P-256.
        qe_report: The report of the quoting enclave that made the key.
        qe_report_signature: r and s of the PCK's signature over it.
        qe_authentication: What the quoting enclave hashed together with the key.
    """

    quote: bytes
    key: bytes
    qe_report: EnclaveReport
    qe_report_signature: bytes
    qe_authentication: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    A quote and the endorsements that travelled with it.

    Attributes:
        version: 3, 4 or 5.
        tee: "TDX" or "SGX".
        report: What the machine says.
        signed_bytes: What the attestation key signed.
        signature: By whom.
        endorsements: Certificates from the same bytes; not more trustworthy than any others.
        sha256: Digest of the bytes as they were given.
    """

    version: int
    tee: str
    report: EnclaveReport | TdReport
    signed_bytes: bytes
    signature: QuoteSignature
    endorsements: Endorsements
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the quote in `data`; what follows it is no part of it, for several clouds fill up a buffer.

    Raises:
        EvidenceFormatError: anything else, or a quote that was not made with ECDSA on P-256 by a quoting
            enclave of Intel's format.

    Not checked:
        Any signature, and everything else that `authenticate` is for.

    Source:
        Intel TDX DCAP Quoting Library API, revision 0.9, appendix A.3, "Quote Format"; Intel SGX DCAP ECDSA
        Quote Library API, revision 0.9, appendix A.4, for version 3.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    reader = Reader(data, _STRUCTURE, SOURCE)
    version, tee = _header(reader)
    report = _body(reader, version, tee)
    signed_bytes = data[: reader.at]
    size = reader.number(4, "signature size")
    signature, certificates = _signature(reader.part(size, "signature"), version)
    digest = hashlib.sha256(data).digest()
    return Evidence(version, tee, report, signed_bytes, signature, certificates, digest)


def _header(reader: Reader) -> tuple[int, str]:
    version = reader.number(2, "version")
    if version not in {3, 4, 5}:
        raise _wrong("version", str(version), "3, 4 or 5", 0)
    key_type = reader.number(2, "attestation key type")
    if key_type != _ECDSA_P256:
        raise _wrong("attestation key type", str(key_type), "2 (ECDSA on P-256)", 2)
    tee_type = reader.number(4, "TEE type") if version > 3 else reader.number(4, "reserved") * 0
    if tee_type not in _TEE_TYPES:
        raise _wrong("TEE type", hex(tee_type), "0x0 (SGX) or 0x81 (TDX)", 4)
    reader.take(4, "QE SVN, PCE SVN")
    vendor = reader.take(16, "QE vendor")
    if vendor != _INTEL_QE_VENDOR:
        raise _wrong("QE vendor", vendor.hex(), _INTEL_QE_VENDOR.hex(), 12)
    reader.take(20, "user data")
    return version, _TEE_TYPES[tee_type]


def _body(reader: Reader, version: int, tee: str) -> EnclaveReport | TdReport:
    expected = ENCLAVE_SIZE if tee == "SGX" else TD_1_0_SIZE
    if version == 5:
        kind, expected = reader.number(2, "body type"), reader.number(4, "body size")
        if _BODIES.get(kind) != expected or (kind == 1) != (tee == "SGX"):
            want = "type 1 of 384 bytes for SGX, 2 of 584 or 3 of 648 for TDX"
            raise _wrong("body type", f"type {kind} of {expected} bytes for {tee}", want, HEADER_SIZE)
    raw = reader.take(expected, "report")
    return enclave_report(raw) if tee == "SGX" else td_report(raw)


def _signature(reader: Reader, version: int) -> tuple[QuoteSignature, Endorsements]:
    quote, key = reader.take(64, "quote signature"), reader.take(64, "attestation key")
    inner = reader
    if version > 3:
        kind = reader.number(2, "certification data type")
        if kind != _QE_REPORT:
            want = f"{_QE_REPORT} (QE report certification data)"
            raise reader.wrong("certification data type", str(kind), want, back=2)
        inner = reader.part(reader.number(4, "certification data size"), "certification data")
        reader.end("signature")
    report = enclave_report(inner.take(ENCLAVE_SIZE, "QE report"))
    report_signature = inner.take(64, "QE report signature")
    authentication = inner.take(inner.number(2, "QE authentication data size"), "QE authentication data")
    kind = inner.number(2, "certification data type")
    certification = inner.take(inner.number(4, "certification data size"), "certification data")
    if kind not in _CERTIFICATIONS:
        raise _wrong("certification data type", str(kind), "1 to 5: PPID, PCK certificate or chain", None)
    inner.end("signature" if version == 3 else "certification data")
    certificates = Endorsements()
    if kind in _PEM_CERTIFICATIONS:
        certificates = endorsements.parse(certification.rstrip(b"\0"), "PCK certificate chain")
    return QuoteSignature(quote, key, report, report_signature, authentication), certificates


def _wrong(field: str, found: str, want: str, offset: int | None) -> EvidenceFormatError:
    return EvidenceFormatError(_STRUCTURE, field, found, want, SOURCE, offset=offset)
