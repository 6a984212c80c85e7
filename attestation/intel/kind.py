"""Evidence of Intel TDX and of SGX, as two of the kinds."""

from __future__ import annotations

from attestation.errors import EvidenceFormatError
from attestation.eventlog.replay import Registers
from attestation.intel import claims, evidence
from attestation.intel.appraise import appraise_sgx, appraise_tdx
from attestation.intel.authenticate import Authenticated, authenticate
from attestation.intel.evidence import Evidence
from attestation.intel.policy import SgxPolicy, TdxPolicy, read_sgx, read_tdx
from attestation.intel.report import EnclaveReport, TdReport
from attestation.intel.roots import INTEL, IntelRoots
from attestation.kind import Kind
from attestation.policy_values import ReferenceValue


def tdx() -> Kind[Evidence, Authenticated, TdxPolicy, IntelRoots]:
    """Return the kind of evidence that trust domains give."""
    return Kind(
        roots=INTEL,
        boots=("rtmr",),
        registers=_registers,
        parse=_parse_tdx,
        authenticate=authenticate,
        rules=read_tdx,
        appraise=appraise_tdx,
        reference=_tdx_reference,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.report.report_data,
        lists_checked=_lists_checked,
        concerns=lambda _, __: True,
    )


def sgx() -> Kind[Evidence, Authenticated, SgxPolicy, IntelRoots]:
    """Return the kind of evidence that enclaves give."""
    return Kind(
        roots=INTEL,
        boots=("enclave",),
        parse=_parse_sgx,
        authenticate=authenticate,
        rules=read_sgx,
        appraise=appraise_sgx,
        reference=_sgx_reference,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.report.report_data,
        lists_checked=_lists_checked,
        concerns=lambda _, __: True,
    )


def _parse_tdx(data: bytes) -> Evidence:
    return _of(evidence.parse(data), "TDX")


def _parse_sgx(data: bytes) -> Evidence:
    return _of(evidence.parse(data), "SGX")


def _of(found: Evidence, tee: str) -> Evidence:
    if found.tee != tee:
        raise EvidenceFormatError("quote", "TEE type", found.tee, tee, evidence.SOURCE)
    return found


def _registers(authenticated: Authenticated) -> Registers:
    """A log calls MRTD 0 and the RTMRs 1 to 4; the last is for the running system, which keeps none."""
    report = authenticated.evidence.report
    rtmrs = report.rtmrs if isinstance(report, TdReport) else ()
    return Registers(
        "sha384",
        dict(enumerate(rtmrs, 1)),
        {number: f"rtmr{number - 1}" for number in range(1, 5)},
        frozenset({1, 2, 3}),
        dynamic=False,
    )


def _lists_checked(authenticated: Authenticated) -> bool:
    return len(authenticated.revocation_lists) > 1


def _tdx_reference(authenticated: Authenticated, rules: TdxPolicy) -> str | None:
    report = authenticated.evidence.report
    return _label(report.mr_td, rules.mr_td) if isinstance(report, TdReport) else None


def _sgx_reference(authenticated: Authenticated, rules: SgxPolicy) -> str | None:
    report = authenticated.evidence.report
    return _label(report.mr_enclave, rules.mr_enclave) if isinstance(report, EnclaveReport) else None


def _label(found: bytes, accepted: tuple[ReferenceValue, ...]) -> str | None:
    return next((value.label for value in accepted if value.digest == found), None)
