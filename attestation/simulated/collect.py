"""
What would a machine say, if this were one?

Everything but report_data is fixed, so that expectations can be written down: policy 0x30000 (SMT allowed,
nothing else), VMPL 0, all firmware versions and platform information zero, CHIP_ID "SIMULATED..." and the
measurement below, unless the caller says another.  Nobody measured anything.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.simulated.chain import PEM
from attestation.simulated.product import HWID, signing_key
from attestation.snp.report import FIELDS, SCALAR_SIZE, SIGNED_SIZE, SIZE

MEASUREMENT = hashlib.sha384(b"shim simulated TEE: nothing was measured").digest()
REPORT_ID = hashlib.sha256(b"shim simulated TEE: report id").digest()
GUEST_POLICY = 0x30000
_NO_MIGRATION_AGENT = b"\xff" * 32


def collect(
    report_data: bytes, measurement: bytes = MEASUREMENT, guest_policy: int = GUEST_POLICY
) -> tuple[bytes, Endorsements]:
    """
    Return simulated evidence bound to `report_data`, and the endorsements to judge it by.

    The same `report_data` gives the same bytes.

    Args:
        report_data: 64 bytes, from `attestation.binding.report_data`.
        measurement: What is said to have been measured, 48 bytes; nobody measured it.
        guest_policy: What the host is said to have promised, 64 bits.

    Returns:
        A report of version 5 in SEV-SNP's format, 1184 bytes, and its chain up to the simulated root.

    Raises:
        ValueError: `report_data` is not 64 bytes, or `measurement` not 48; the caller's bug.
    """
    if len(report_data) != FIELDS["REPORT_DATA"][1]:
        raise ValueError(f"report_data: found {len(report_data)} bytes, want 64")
    if len(measurement) != FIELDS["MEASUREMENT"][1]:
        raise ValueError(f"measurement: found {len(measurement)} bytes, want 48")
    raw = bytearray(SIZE)
    fields = {
        "VERSION": (5).to_bytes(4, "little"),
        "POLICY": guest_policy.to_bytes(8, "little"),
        "SIGNATURE_ALGO": (1).to_bytes(4, "little"),
        "REPORT_DATA": report_data,
        "MEASUREMENT": measurement,
        "REPORT_ID": REPORT_ID,
        "REPORT_ID_MA": _NO_MIGRATION_AGENT,
        "CHIP_ID": HWID,
    }
    for name, value in fields.items():
        _place(raw, name, value)
    signature = signing_key().sign(
        bytes(raw[:SIGNED_SIZE]), ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
    )
    for name, scalar in zip(("SIGNATURE_R", "SIGNATURE_S"), decode_dss_signature(signature), strict=True):
        _place(raw, name, scalar.to_bytes(SCALAR_SIZE, "little"))
    return bytes(raw), endorsements.parse(PEM, "simulated chain")


def _place(raw: bytearray, name: str, value: bytes) -> None:
    offset, size = FIELDS[name]
    raw[offset : offset + size] = value
