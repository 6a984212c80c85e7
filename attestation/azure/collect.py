"""
How does a confidential VM of Azure collect evidence about itself?

What the guest writes to one index of the vTPM, the paravisor puts into a new report of the hardware, which it
leaves in another index.  The quote of the vTPM holds the same data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from attestation.azure import report
from attestation.azure.report import HclReport
from attestation.errors import CollectError, EvidenceFormatError, UnsupportedTeeError
from attestation.patience import patiently
from attestation.tpm import storage
from attestation.tpm.collect import quoted
from attestation.tpm.command import Tpm
from shim.canonical import JsonValue, canonical_bytes

REPORT_INDEX, USER_DATA_INDEX, ATTESTATION_KEY = 0x01400001, 0x01400002, 0x81000003
SOURCE = "Azure confidential VMs, guest attestation"
QuoteOf = Callable[[bytes], bytes]


def kind(tpm: Tpm) -> str | None:
    """
    Return "azure-snp" or "azure-tdx" where the vTPM holds a paravisor's report, else None.

    Raises:
        TpmError, EvidenceFormatError: the TPM refused, or the report cannot be read.
    """
    index = storage.find(tpm, REPORT_INDEX)
    return None if index is None else f"azure-{report.parse(storage.read(tpm, index)).tee}"


def evidence(tpm: Tpm, tee: str, report_data: bytes, quote_of: QuoteOf | None) -> bytes:
    """
    Return evidence as `attestation.azure.evidence` reads it.

    Args:
        tpm: The vTPM.
        tee: "snp" or "tdx", the hardware that is expected.
        report_data: 64 bytes: the hardware's report covers them, the quote holds their SHA-256.
        quote_of: Returns the quote of the trust domain for a TDREPORT of 1024 bytes, which Azure's metadata
            service makes; without it there is no evidence of TDX.

    Raises:
        CollectError: other hardware, no report, or none that covers `report_data` after some seconds.
        UnsupportedTeeError: TDX without `quote_of`.
        EvidenceFormatError: what the vTPM holds cannot be read.

    Source:
        Azure confidential VMs, guest attestation.
    """
    _check(tee, _report(tpm)[1], quote_of)
    storage.write(tpm, USER_DATA_INDEX, report_data)
    raw, hcl = patiently(
        lambda: _covering(tpm, report_data), lambda error: isinstance(error, _StaleError), tpm.pause
    )
    parts: dict[str, JsonValue] = {"hcl_report": raw.hex()}
    if quote_of is not None and hcl.tee == "tdx":
        parts["td_quote"] = quote_of(hcl.hardware).hex()
    found = quoted(tpm, ATTESTATION_KEY, hashlib.sha256(report_data).digest())
    return canonical_bytes({**parts, "tpm_quote": found.to_json()})


class _StaleError(CollectError):
    """The paravisor has not yet made a report with the new data."""


def _check(tee: str, hcl: HclReport, quote_of: QuoteOf | None) -> None:
    if hcl.tee != tee:
        raise CollectError("HCL report.type", f"azure-{hcl.tee}", f"azure-{tee}", SOURCE)
    if tee == "tdx" and quote_of is None:
        want = "a command that has Azure's metadata service make it from the TDREPORT"
        raise UnsupportedTeeError("quote of the trust domain", "no way to get it", want, SOURCE)


def _report(tpm: Tpm) -> tuple[bytes, HclReport]:
    index = storage.find(tpm, REPORT_INDEX)
    if index is None:
        want = "the paravisor's report"
        raise CollectError(f"TPM index 0x{REPORT_INDEX:08x}", "no such index", want, SOURCE)
    raw = storage.read(tpm, index)
    return raw, report.parse(raw)


def _covering(tpm: Tpm, user_data: bytes) -> tuple[bytes, HclReport]:
    """Return the report, if it covers `user_data`; while it is written it may be half another."""
    try:
        raw, hcl = _report(tpm)
    except EvidenceFormatError as error:
        raise _StaleError(error.where, error.found, error.want, error.source) from error
    if hcl.user_data != user_data:
        found = "none" if hcl.user_data is None else hcl.user_data.hex()
        raise _StaleError("HCL report.user-data", found, f"{user_data.hex()}, as was written", SOURCE)
    return raw, hcl
