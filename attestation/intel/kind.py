"""Evidence of Intel TDX and of SGX, as two of the kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from attestation.errors import EvidenceFormatError
from attestation.eventlog.replay import Registers
from attestation.intel import claims, evidence
from attestation.intel.appraise import SOURCES, appraise_sgx, appraise_tdx, warnings
from attestation.intel.authenticate import Authenticated, authenticate
from attestation.intel.evidence import Evidence
from attestation.intel.observed import VOLATILE, observed_sgx, observed_tdx
from attestation.intel.policy import SgxPolicy, TdxPolicy, read_sgx, read_tdx
from attestation.intel.report import EnclaveReport, TdReport
from attestation.intel.roots import INTEL, IntelRoots
from attestation.kind import Kind
from attestation.policy_file import Section
from attestation.result import Mismatch
from attestation.rules import label
from shim.canonical import JsonValue

R = TypeVar("R")


def tdx() -> Kind[Evidence, Authenticated, TdxPolicy, IntelRoots]:
    """Return the kind of evidence that trust domains give."""
    kind = _kind("TDX", "rtmr", read_tdx, appraise_tdx, _tdx_reference, observed_tdx)
    return replace(kind, registers=_registers, warnings=_warnings)


def sgx() -> Kind[Evidence, Authenticated, SgxPolicy, IntelRoots]:
    """Return the kind of evidence that enclaves give."""
    kind = _kind("SGX", "enclave", read_sgx, appraise_sgx, _sgx_reference, observed_sgx)
    return replace(kind, warnings=_warnings)


def _kind(  # in what the two differ
    tee: str,
    boot: str,
    rules: Callable[[Section], R],
    appraise: Callable[[Authenticated, R], tuple[Mismatch, ...]],
    reference: Callable[[Authenticated, R], str | None],
    observed: Callable[[Authenticated, str], Mapping[str, JsonValue]],
) -> Kind[Evidence, Authenticated, R, IntelRoots]:
    def parse(data: bytes) -> Evidence:
        found = evidence.parse(data)
        if found.tee != tee:
            raise EvidenceFormatError("quote", "TEE type", found.tee, tee, evidence.SOURCE)
        return found

    return Kind(
        roots=INTEL,
        boots=(boot,),
        parse=parse,
        authenticate=authenticate,
        rules=rules,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources=SOURCES,
        volatile=VOLATILE,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.report.report_data,
        lists_checked=lambda authenticated: len(authenticated.revocation_lists) > 1,
    )


def _warnings(authenticated: Authenticated, rules: TdxPolicy | SgxPolicy) -> tuple[Mismatch, ...]:
    return warnings(authenticated, rules.tcb)


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


def _tdx_reference(authenticated: Authenticated, rules: TdxPolicy) -> str | None:
    report = authenticated.evidence.report
    return label(report.mr_td, rules.mr_td) if isinstance(report, TdReport) else None


def _sgx_reference(authenticated: Authenticated, rules: SgxPolicy) -> str | None:
    report = authenticated.evidence.report
    return label(report.mr_enclave, rules.mr_enclave) if isinstance(report, EnclaveReport) else None
