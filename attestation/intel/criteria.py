"""How what a quote of TDX or of SGX says is compared with a policy."""

from __future__ import annotations

from attestation.intel.appraise import SOURCES, appraise_sgx, appraise_tdx, warnings
from attestation.intel.authenticate import Authenticated
from attestation.intel.observed import VOLATILE, observed_sgx, observed_tdx
from attestation.intel.policy import SgxPolicy, TdxPolicy, read_sgx, read_tdx
from attestation.intel.report import TDX_SOURCE, EnclaveReport, TdReport
from attestation.intel.roots import IntelRoots
from attestation.kind import Criteria
from attestation.result import Mismatch
from attestation.rules import label


def tdx() -> Criteria[Authenticated, TdxPolicy, IntelRoots]:
    """Return the criteria for evidence of trust domains."""
    return Criteria(
        read=read_tdx,
        appraise=appraise_tdx,
        reference=_tdx_reference,
        observed=observed_tdx,
        sources=SOURCES,
        uncovered=_uncovered,
        volatile=VOLATILE,
        warnings=_warnings,
    )


def sgx() -> Criteria[Authenticated, SgxPolicy, IntelRoots]:
    """Return the criteria for evidence of enclaves."""
    return Criteria(
        read=read_sgx,
        appraise=appraise_sgx,
        reference=_sgx_reference,
        observed=observed_sgx,
        sources=SOURCES,
        volatile=VOLATILE,
        warnings=_warnings,
    )


def _warnings(authenticated: Authenticated, rules: TdxPolicy | SgxPolicy) -> tuple[Mismatch, ...]:
    return warnings(authenticated, rules.tcb)


def _uncovered(authenticated: Authenticated) -> tuple[Mismatch, ...]:
    """Domains whose boot a vTPM measures, as Azure's, leave the registers as they were."""
    report = authenticated.evidence.report
    if not isinstance(report, TdReport) or any(report.rtmrs[1]):
        return ()
    want = "the measurements of what was booted: boot loader and kernel are in this register"
    return (Mismatch("boot", "rtmr1 as it was at launch, all zeros", want, TDX_SOURCE),)


def _tdx_reference(authenticated: Authenticated, rules: TdxPolicy) -> str | None:
    report = authenticated.evidence.report
    return label(report.mr_td, rules.mr_td) if isinstance(report, TdReport) else None


def _sgx_reference(authenticated: Authenticated, rules: SgxPolicy) -> str | None:
    report = authenticated.evidence.report
    return label(report.mr_enclave, rules.mr_enclave) if isinstance(report, EnclaveReport) else None
