"""What does a policy say that accepts just this quote?"""

from __future__ import annotations

from collections.abc import Mapping

from attestation.bits import reserved
from attestation.errors import EvidenceFormatError
from attestation.intel import bits
from attestation.intel.authenticate import Authenticated
from attestation.intel.report import SGX_SOURCE, TDX_SOURCE, EnclaveReport, TdReport
from attestation.observed import UNCHECKED, bit_rules, mask, only, reference, state
from shim.canonical import JsonValue

# What is not dealt with is said, not asked for.
VOLATILE = frozenset({"tcb.rejected_advisories"})


def observed_tdx(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy for a trust domain by their dotted keys; `label` names the measurement.

    Raises:
        EvidenceFormatError: it is none.
    """
    report = authenticated.evidence.report
    if not isinstance(report, TdReport):
        raise EvidenceFormatError("quote", "report", "of an enclave", "of a trust domain", TDX_SOURCE)
    xfam = int.from_bytes(report.xfam, "little")
    service = report.mr_service_td if report.mr_service_td is not None else bytes(48)
    unnamed = reserved(report.attributes, bits.TD_ATTRIBUTES)
    return {
        "report.mr_td": reference(report.mr_td, label),
        **{f"report.rtmr{number}": only(value) for number, value in enumerate(report.rtmrs)},
        "report.mr_seam": only(report.mr_seam),
        "report.mr_signer_seam": only(report.mr_signer_seam),
        "report.seam_attributes": only(report.seam_attributes),
        "report.mr_config_id": only(report.mr_config_id),
        "report.mr_owner": only(report.mr_owner),
        "report.mr_owner_config": only(report.mr_owner_config),
        "report.mr_service_td": only(service),
        **bit_rules("td_attributes", report.attributes, bits.TD_ATTRIBUTES, unnamed),
        "xfam.required": mask(xfam),
        "xfam.allowed": mask(xfam),
        **_tcb(authenticated),
        "tcb.tee_svn": report.tee_tcb_svn.hex(),
        **_platform(authenticated),
    }


def observed_sgx(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy for an enclave by their dotted keys; `label` names the measurement.

    Raises:
        EvidenceFormatError: it is none.
    """
    report = authenticated.evidence.report
    if not isinstance(report, EnclaveReport):
        raise EvidenceFormatError("quote", "report", "of a trust domain", "of an enclave", SGX_SOURCE)
    attributes = int.from_bytes(report.attributes[:8], "little")
    unnamed = reserved(attributes, bits.ENCLAVE_ATTRIBUTES)
    return {
        "report.mr_enclave": reference(report.mr_enclave, label),
        "report.mr_signer": only(report.mr_signer),
        "report.isv_prod_id": report.isv_prod_id,
        "report.isv_svn": report.isv_svn,
        "report.config_id": only(report.config_id),
        "report.config_svn": report.config_svn,
        **bit_rules("attributes", attributes, bits.ENCLAVE_ATTRIBUTES, unnamed),
        "report.misc_select": report.misc_select,
        **_tcb(authenticated),
        **_platform(authenticated),
    }


def _tcb(authenticated: Authenticated) -> Mapping[str, JsonValue]:
    tcb = authenticated.tcb
    return {
        "tcb.status": UNCHECKED if tcb is None else [tcb.status.value],
        "tcb.rejected_advisories": [] if tcb is None else list(tcb.advisories),
        **({} if tcb is None else {"tcb.platform_grace": 0, "tcb.qe_grace": 0}),
        "tcb.evaluation": UNCHECKED if tcb is None else tcb.evaluation,
        "tcb.qe_svn": authenticated.evidence.signature.qe_report.isv_svn,
        "tcb.pce_svn": authenticated.extensions.pce_svn,
    }


def _platform(authenticated: Authenticated) -> Mapping[str, JsonValue]:
    extensions = authenticated.extensions
    flags = {name: extensions.flags.get(name) for name in bits.PLATFORM}
    return {
        "platform.fmspc": only(extensions.fmspc),
        "platform.ppid": only(extensions.ppid),
        "platform.instance_id": only(extensions.platform_instance_id),
        "platform.sgx_type": only(extensions.sgx_type),
        **{
            f"platform.{name}": UNCHECKED if is_set is None else state(is_set)
            for name, is_set in flags.items()
        },
    }
