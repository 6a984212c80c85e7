"""
Did a vTPM of a genuine confidential VM say this?

The hardware's report vouches for the data of the paravisor, this for the vTPM's key, the key for the quote.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from attestation.azure.evidence import Evidence
from attestation.azure.report import SOURCE
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import NotAuthenticError
from attestation.intel import authenticate as intel, evidence as intel_evidence
from attestation.intel.report import TdReport
from attestation.intel.roots import IntelRoots
from attestation.snp import authenticate as snp, evidence as snp_evidence
from attestation.snp.roots import Roots as SnpRoots
from attestation.tpm import signature
from attestation.tpm.quote import SOURCE as TPM_SOURCE
from attestation.trail import SILENT, Trail

# TDREPORT_STRUCT: Intel TDX Module ABI Reference Specification, 348551, section 4.6.
_REPORT_DATA = slice(128, 192)
_TD_FIELDS = {
    "ATTRIBUTES": (slice(512, 520), "td_attributes"),
    "XFAM": (slice(520, 528), "xfam"),
    "MRTD": (slice(528, 576), "mr_td"),
    "MRCONFIGID": (slice(576, 624), "mr_config_id"),
    "MROWNER": (slice(624, 672), "mr_owner"),
    "MROWNERCONFIG": (slice(672, 720), "mr_owner_config"),
}
_RTMRS = slice(720, 912)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A quote of a vTPM that genuine hardware vouches for.

    Attributes:
        evidence: What was said.
        hardware: What of it the hardware said.
    """

    evidence: Evidence
    hardware: snp.Authenticated | intel.Authenticated


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: SnpRoots | IntelRoots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the quote, proven to be made by a vTPM that hardware under one of `roots` vouches for.

    Args:
        evidence: From `attestation.azure.evidence.parse`.
        endorsements: Of the hardware.
        roots: Of AMD or of Intel, as the evidence's hardware is.
        now: The time to judge at, with its time zone.
        skew: By how much clocks may differ.
        crl_required: As for the hardware.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError,
        TcbError.

    Not checked:
        Everything that a policy is for.

    Source:
        Azure confidential VMs, guest attestation.
    """
    hardware: snp.Authenticated | intel.Authenticated
    if isinstance(evidence.hardware, snp_evidence.Evidence) and isinstance(roots, SnpRoots):
        hardware = snp.authenticate(
            evidence.hardware,
            endorsements,
            roots,
            now=now,
            skew=skew,
            crl_required=crl_required,
            cache=cache,
            trail=trail,
        )
        report_data = hardware.report.report_data
    elif isinstance(evidence.hardware, intel_evidence.Evidence) and isinstance(roots, IntelRoots):
        hardware = intel.authenticate(
            evidence.hardware,
            endorsements,
            roots,
            now=now,
            skew=skew,
            crl_required=crl_required,
            cache=cache,
            trail=trail,
        )
        report_data = evidence.hardware.report.report_data
        _check_td_report(evidence.hcl.hardware, evidence.hardware)
        trail.held("TDREPORT", "its measurements, attributes and data", "those of the quote", SOURCE)
    else:
        raise NotAuthenticError("HCL report.type", evidence.hcl.tee, f"hardware of {roots.name}", SOURCE)
    want = evidence.hcl.digest.ljust(len(report_data), b"\0")
    if report_data != want:
        raise NotAuthenticError(
            "report.report_data", report_data.hex(), f"{want.hex()} of the HCL data", SOURCE
        )
    trail.held("report.report_data", report_data.hex(), "the digest of the HCL data", SOURCE)
    quote = evidence.quote
    signature.check(quote.signature, evidence.hcl.attestation_key, quote.attest.message)
    trail.held("TPM quote", "made by the vTPM's key", "the attestation key in the HCL data", TPM_SOURCE)
    return Authenticated(evidence, hardware)


def _check_td_report(raw: bytes, quoted: intel_evidence.Evidence) -> None:
    """Check that the quote is about the domain whose paravisor reports; nobody signed TDREPORT itself."""
    report = quoted.report
    if not isinstance(report, TdReport):
        raise NotAuthenticError("quote", "of an enclave", "of a trust domain", SOURCE)
    pairs = [(name, raw[place], getattr(report, field)) for name, (place, field) in _TD_FIELDS.items()]
    pairs += [
        ("RTMRs", raw[_RTMRS], b"".join(report.rtmrs)),
        ("REPORTDATA", raw[_REPORT_DATA], report.report_data),
    ]
    for name, found, want in pairs:
        if found != want:
            raise NotAuthenticError(f"TDREPORT.{name}", found.hex(), f"{want.hex()} of the quote", SOURCE)
