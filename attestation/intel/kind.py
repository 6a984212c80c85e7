"""Evidence of Intel TDX and of SGX, as two of the kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from attestation.errors import EvidenceFormatError
from attestation.intel import claims, evidence
from attestation.intel.authenticate import Authenticated, authenticate
from attestation.intel.evidence import Evidence
from attestation.intel.report import TdReport
from attestation.intel.roots import INTEL, IntelRoots
from attestation.kind import Criteria, Kind

if TYPE_CHECKING:
    from attestation.eventlog.replay import Registers
    from attestation.intel.policy import SgxPolicy, TdxPolicy

R = TypeVar("R")


def tdx() -> Kind[Evidence, Authenticated, TdxPolicy, IntelRoots]:
    """Return the kind of evidence that trust domains give."""
    return replace(_kind("TDX", "rtmr", _criteria_of_tdx), registers=_registers)


def sgx() -> Kind[Evidence, Authenticated, SgxPolicy, IntelRoots]:
    """Return the kind of evidence that enclaves give."""
    return _kind("SGX", "enclave", _criteria_of_sgx)


def _criteria_of_tdx() -> Criteria[Authenticated, TdxPolicy, IntelRoots]:
    from attestation.intel import criteria

    return criteria.tdx()


def _criteria_of_sgx() -> Criteria[Authenticated, SgxPolicy, IntelRoots]:
    from attestation.intel import criteria

    return criteria.sgx()


def _kind(
    tee: str, boot: str, criteria: Callable[[], Criteria[Authenticated, R, IntelRoots]]
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
        criteria=criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.report.report_data,
        lists_checked=lambda authenticated: len(authenticated.revocation_lists) > 1,
    )


def _registers(authenticated: Authenticated) -> Registers:
    """A log calls MRTD 0 and the RTMRs 1 to 4; the last is for the running system, which keeps none."""
    from attestation.eventlog.replay import Registers

    report = authenticated.evidence.report
    rtmrs = report.rtmrs if isinstance(report, TdReport) else ()
    return Registers(
        "sha384",
        dict(enumerate(rtmrs, 1)),
        {number: f"rtmr{number - 1}" for number in range(1, 5)},
        frozenset({1, 2, 3}),
        dynamic=False,
    )
