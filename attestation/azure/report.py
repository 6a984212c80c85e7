"""
What does the report of the paravisor say, which a confidential VM of Azure reads from its vTPM?

It holds the report of the hardware, and the data that this report vouches for: the vTPM's keys and the
configuration of the VM.  Layout only: nothing here knows whether anybody signed it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from attestation import json_document
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.json_web_key import number
from attestation.snp.report import SIZE as SNP_SIZE

SOURCE = "Azure confidential VMs, guest attestation, HCL report"
MAXIMUM_SIZE = 1 << 16
MAGIC = b"HCLA"
_HARDWARE = 0x20
_DATA = _HARDWARE + SNP_SIZE
_HEADER = struct.Struct("<IIIII")  # size of this, version, report type, hash type, size of the data
_TEES = {2: "snp", 4: "tdx"}
_TD_REPORT_SIZE = 1024
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}
_ATTESTATION_KEY = "HCLAkPub"


@dataclass(frozen=True, slots=True)
class HclReport:
    """
    The paravisor's report.

    Attributes:
        tee: "snp" or "tdx".
        hardware: A report of SEV-SNP, or TDREPORT_STRUCT, which only the machine itself can check.
        data: The bytes that the hardware's report vouches for.
        digest: Their digest, as it is in its report_data.
        attestation_key: The key with which the vTPM signs quotes.
        configuration: Of the VM, as the host says it.
        user_data: What the guest gave, 64 bytes, or None.
    """

    tee: str
    hardware: bytes
    data: bytes
    digest: bytes
    attestation_key: rsa.RSAPublicKey
    configuration: JsonObject
    user_data: bytes | None


def parse(data: bytes) -> HclReport:
    """
    Return the report in `data`, with the zeros that fill up the index of the vTPM.

    Raises:
        EvidenceFormatError: anything else.

    Source:
        Azure confidential VMs, guest attestation: the layout at index 0x01400001 of the vTPM.
    """
    if not _DATA + _HEADER.size <= len(data) <= MAXIMUM_SIZE:
        want = f"{_DATA + _HEADER.size} to {MAXIMUM_SIZE} bytes"
        raise _wrong("", f"{len(data)} bytes", want)
    if data[:4] != MAGIC:
        raise _wrong("signature", data[:4].hex(), MAGIC.hex())
    _, _, kind, hash_type, size = _HEADER.unpack_from(data, _DATA)
    if kind not in _TEES or hash_type not in _HASHES:
        found = f"report type {kind}, hash type {hash_type}"
        raise _wrong("type", found, "2 (SEV-SNP) or 4 (TDX), 1 to 3")
    begin = _DATA + _HEADER.size
    content, rest = data[begin : begin + size], data[begin + size :]
    if len(content) != size or any(rest):
        raise _wrong("data", f"{len(data) - begin} bytes", f"{size} bytes, and zeros")
    claims = json_document.read(content, "HCL report data")
    hardware = data[_HARDWARE:_DATA]
    if _TEES[kind] == "tdx":
        hardware = hardware[:_TD_REPORT_SIZE]
    return HclReport(
        tee=_TEES[kind],
        hardware=hardware,
        data=content,
        digest=hashlib.new(_HASHES[hash_type], content).digest(),
        attestation_key=_attestation_key(claims),
        configuration=claims.part("vm-configuration"),
        user_data=claims.octets("user-data", 64) if "user-data" in claims else None,
    )


def _attestation_key(claims: JsonObject) -> rsa.RSAPublicKey:
    found = [key for key in claims.parts("keys") if key.text("kid") == _ATTESTATION_KEY]
    if len(found) != 1:
        raise _wrong("keys", f"{len(found)} of {_ATTESTATION_KEY}", "one")
    (key,) = found
    if key.text("kty") != "RSA":
        raise key.wrong("kty", key.text("kty"), "RSA")
    try:
        return rsa.RSAPublicNumbers(number(key, "e"), number(key, "n")).public_key()
    except ValueError as error:
        raise _wrong("keys", str(error)[:60], "an RSA key") from error


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("HCL report", field, found, want, SOURCE)
