"""
Do we accept what a genuine Intel platform says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attestation.bits import reserved
from attestation.intel import bits, shortfall
from attestation.intel.authenticate import Authenticated
from attestation.intel.policy import PlatformRules, SgxPolicy, TcbRules, TdxPolicy
from attestation.intel.report import SGX_SOURCE, TDX_SOURCE, EnclaveReport, TdReport
from attestation.intel.tcb import SOURCE as TCB_SOURCE, with_grace
from attestation.intel.tcb_info import TcbStatus
from attestation.policy_file import UNCHECKED, Checked
from attestation.policy_values import BitRules
from attestation.result import Mismatch
from attestation.rules import among, measurement, named_bits, reserved_bits, state
from attestation.verdict import Verdict

_PCK_SOURCE = "Intel SGX PCK Certificate and CRL Profile Specification, rev. 1.5, section 1.3.5"


SOURCES = {
    "report": TDX_SOURCE,
    "td_attributes": TDX_SOURCE,
    "xfam": TDX_SOURCE,
    "attributes": SGX_SOURCE,
    "tcb": TCB_SOURCE,
    "platform": _PCK_SOURCE,
}


def appraise_tdx(authenticated: Authenticated, policy: TdxPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the quote of a trust domain differs from what `policy` accepts.

    Not checked:
        report_data: `attestation.appraise` compares it, for every kind of evidence in the same way.

    Source:
        Intel TDX DCAP Quoting Library API, revision 0.9, appendix A.3.2, "TD Report Body".
    """
    report = authenticated.evidence.report
    if not isinstance(report, TdReport):
        return (Mismatch("report", "of an enclave", "of a trust domain", TDX_SOURCE),)
    xfam = int.from_bytes(report.xfam, "little")
    service = report.mr_service_td if report.mr_service_td is not None else bytes(48)
    return (
        *measurement("report.mr_td", report.mr_td, policy.mr_td, TDX_SOURCE),
        *(
            mismatch
            for number, (found, accepted) in enumerate(zip(report.rtmrs, policy.rtmrs, strict=True))
            for mismatch in among(f"report.rtmr{number}", found, accepted, TDX_SOURCE)
        ),
        *among("report.mr_seam", report.mr_seam, policy.mr_seam, TDX_SOURCE),
        *among("report.mr_signer_seam", report.mr_signer_seam, policy.mr_signer_seam, TDX_SOURCE),
        *among("report.seam_attributes", report.seam_attributes, policy.seam_attributes, TDX_SOURCE),
        *among("report.mr_config_id", report.mr_config_id, policy.mr_config_id, TDX_SOURCE),
        *among("report.mr_owner", report.mr_owner, policy.mr_owner, TDX_SOURCE),
        *among("report.mr_owner_config", report.mr_owner_config, policy.mr_owner_config, TDX_SOURCE),
        *among("report.mr_service_td", service, policy.mr_service_td, TDX_SOURCE),
        *_bits("td_attributes", report.attributes, bits.TD_ATTRIBUTES, policy.td_attributes, TDX_SOURCE),
        *_xfam(xfam, policy),
        *_tcb(authenticated, policy.tcb),
        *_platform(authenticated, policy.platform),
    )


def appraise_sgx(authenticated: Authenticated, policy: SgxPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the quote of an enclave differs from what `policy` accepts.

    Not checked:
        report_data: `attestation.appraise` compares it.  XFRM, the second half of the attributes.

    Source:
        Intel SGX DCAP ECDSA Quote Library API, revision 0.9, appendix A.4, "Enclave Report Body".
    """
    report = authenticated.evidence.report
    if not isinstance(report, EnclaveReport):
        return (Mismatch("report", "of a trust domain", "of an enclave", SGX_SOURCE),)
    attributes = int.from_bytes(report.attributes[:8], "little")
    return (
        *measurement("report.mr_enclave", report.mr_enclave, policy.mr_enclave, SGX_SOURCE),
        *among("report.mr_signer", report.mr_signer, policy.mr_signer, SGX_SOURCE),
        *_exactly("report.isv_prod_id", report.isv_prod_id, policy.isv_prod_id, SGX_SOURCE),
        *_at_least("report.isv_svn", report.isv_svn, policy.isv_svn, SGX_SOURCE),
        *among("report.config_id", report.config_id, policy.config_id, SGX_SOURCE),
        *_at_least("report.config_svn", report.config_svn, policy.config_svn, SGX_SOURCE),
        *_bits("attributes", attributes, bits.ENCLAVE_ATTRIBUTES, policy.attributes, SGX_SOURCE),
        *_exactly("report.misc_select", report.misc_select, policy.misc_select, SGX_SOURCE),
        *_tcb(authenticated, policy.tcb),
        *_platform(authenticated, policy.platform),
    )


def warnings(authenticated: Authenticated, tcb: TcbRules) -> tuple[Mismatch, ...]:
    """Return what the next TCB recovery will make a mismatch of, if nothing is done until then."""
    recovery = authenticated.recovery
    if recovery is None or tcb.status is UNCHECKED:
        return ()
    want = " or ".join(sorted(tcb.status))
    when = "in the next TCB recovery"
    if recovery.evaluation is not None:
        when = f"from TCB recovery {recovery.evaluation} on"
    if recovery.tcb is None:
        found = f"no level, {when}: {recovery.reason}"
        return (Mismatch("tcb.status", found, want, TCB_SOURCE, Verdict.TCB_TOO_LOW),)
    status = with_grace(recovery.tcb, authenticated.evaluated_at, tcb.platform_grace, tcb.qe_grace)
    if status.value in tcb.status:
        return ()
    return (Mismatch("tcb.status", f"{status.value}, {when}", want, TCB_SOURCE, Verdict.TCB_TOO_LOW),)


def _exactly(field: str, found: int, want: Checked[int], source: str) -> Iterator[Mismatch]:
    if want is not UNCHECKED and found != want:
        yield Mismatch(field, str(found), str(want), source)


def _at_least(
    field: str, found: int, least: Checked[int], source: str, verdict: Verdict = Verdict.POLICY_MISMATCH
) -> Iterator[Mismatch]:
    if least is not UNCHECKED and found < least:
        yield Mismatch(field, str(found), f"at least {least}", source, verdict)


def _bits(
    section: str, value: int, names: Mapping[str, int], rules: BitRules, source: str
) -> Iterator[Mismatch]:
    yield from named_bits(section, value, names, rules, source)
    yield from reserved_bits(section, reserved(value, names), rules, source)


def _xfam(found: int, policy: TdxPolicy) -> Iterator[Mismatch]:
    if policy.xfam_required is not UNCHECKED and policy.xfam_required & ~found:
        yield Mismatch("xfam.required", f"0x{found:x}", f"all of 0x{policy.xfam_required:x} set", TDX_SOURCE)
    if policy.xfam_allowed is not UNCHECKED and found & ~policy.xfam_allowed:
        yield Mismatch("xfam.allowed", f"0x{found:x}", f"none but 0x{policy.xfam_allowed:x} set", TDX_SOURCE)


def _tcb(authenticated: Authenticated, rules: TcbRules) -> Iterator[Mismatch]:
    evidence, low = authenticated.evidence, Verdict.TCB_TOO_LOW
    yield from _at_least("tcb.qe_svn", evidence.signature.qe_report.isv_svn, rules.qe_svn, TCB_SOURCE, low)
    yield from _at_least("tcb.pce_svn", authenticated.extensions.pce_svn, rules.pce_svn, TCB_SOURCE, low)
    if isinstance(evidence.report, TdReport) and rules.tee_svn is not UNCHECKED:
        for place, (found, least) in enumerate(zip(evidence.report.tee_tcb_svn, rules.tee_svn, strict=True)):
            yield from _at_least(f"tcb.tee_svn[{place}]", found, least, TCB_SOURCE, low)
    yield from _status(authenticated, rules)


def _status(authenticated: Authenticated, rules: TcbRules) -> Iterator[Mismatch]:
    """What only collateral can tell."""
    tcb = authenticated.tcb
    if tcb is None:
        asked = {
            "status": rules.status,
            "rejected_advisories": rules.rejected_advisories,
            "evaluation": rules.evaluation,
        }
        for name, rule in asked.items():
            if rule is not UNCHECKED:
                want = "TCB info and QE identity of the platform"
                yield Mismatch(f"tcb.{name}", "no collateral", want, TCB_SOURCE, Verdict.CANNOT_TELL)
        return
    status = with_grace(tcb, authenticated.evaluated_at, rules.platform_grace, rules.qe_grace)
    if rules.status is not UNCHECKED and status.value not in rules.status:
        found, want = _shortfall(authenticated, rules.status)
        verdict = Verdict.REVOKED if status is TcbStatus.REVOKED else Verdict.TCB_TOO_LOW
        yield Mismatch("tcb.status", tcb.summary + found, want, TCB_SOURCE, verdict)
    if rules.rejected_advisories is not UNCHECKED:
        open_ones = sorted(rules.rejected_advisories.intersection(tcb.advisories))
        if open_ones:
            found, want = ", ".join(open_ones), "dealt with"
            yield Mismatch("tcb.rejected_advisories", found, want, TCB_SOURCE, Verdict.TCB_TOO_LOW)
    yield from _at_least("tcb.evaluation", tcb.evaluation, rules.evaluation, TCB_SOURCE, Verdict.TCB_TOO_LOW)


def _shortfall(authenticated: Authenticated, accepted: frozenset[str]) -> tuple[str, str]:
    """Return what a status comes from, and what would be one that is accepted."""
    evidence, given = authenticated.evidence, authenticated.collateral
    want = " or ".join(sorted(accepted))
    short = (
        ()
        if given is None
        else shortfall.to_status(
            evidence.report,
            evidence.signature.qe_report,
            authenticated.extensions,
            (given.info, given.identity),
            accepted,
        )
    )
    if not short:
        return "", want
    found = ", ".join(f"{one.component} is {one.found}" for one in short)
    least = ", ".join(f"{one.component} at least {one.want}" for one in short)
    return f": {found}", f"{want}: {least}"


def _platform(authenticated: Authenticated, rules: PlatformRules) -> Iterator[Mismatch]:
    extensions = authenticated.extensions
    yield from among("platform.fmspc", extensions.fmspc, rules.fmspc, _PCK_SOURCE)
    yield from among("platform.ppid", extensions.ppid, rules.ppid, _PCK_SOURCE)
    yield from among("platform.instance_id", extensions.platform_instance_id, rules.instance_id, _PCK_SOURCE)
    if rules.sgx_type is not UNCHECKED and extensions.sgx_type not in rules.sgx_type:
        want = " or ".join(sorted(rules.sgx_type))
        yield Mismatch("platform.sgx_type", extensions.sgx_type, want, _PCK_SOURCE)
    for name, rule in rules.flags.items():
        found = extensions.flags.get(name)
        if rule is not UNCHECKED and found is not rule:
            said = "nothing in the PCK certificate" if found is None else state(found)
            yield Mismatch(f"platform.{name}", said, state(rule), _PCK_SOURCE)
