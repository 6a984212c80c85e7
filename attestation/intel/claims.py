"""
What does a quote claim, in words?

A JSON value for people, tokens and logs.  Numbers wider than 53 bits and all bytes are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Mapping

from attestation.bits import flags, reserved
from attestation.claims import certificate, revocation_list
from attestation.intel import bits
from attestation.intel.authenticate import Authenticated
from attestation.intel.evidence import Evidence
from attestation.intel.report import EnclaveReport, TdReport
from attestation.intel.tcb import Recovery, Tcb
from attestation.intel.tcb_info import Level
from shim.canonical import JsonValue


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what a quote says, authentic or not."""
    report = evidence.report
    return {
        "version": evidence.version,
        "tee": evidence.tee,
        "report": _td(report) if isinstance(report, TdReport) else _enclave(report),
        "qe": {
            "mr_enclave": evidence.signature.qe_report.mr_enclave.hex(),
            "mr_signer": evidence.signature.qe_report.mr_signer.hex(),
            "isv_svn": evidence.signature.qe_report.isv_svn,
        },
    }


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what the quote says and what its endorsements add."""
    extensions = authenticated.extensions
    instance = extensions.platform_instance_id
    recovery = authenticated.recovery
    return {
        **of_evidence(authenticated.evidence),
        "platform": {
            "fmspc": extensions.fmspc.hex(),
            "ppid": extensions.ppid.hex(),
            "pce_id": extensions.pce_id.hex(),
            "pce_svn": extensions.pce_svn,
            "cpu_svn": extensions.cpu_svn.hex(),
            "components": ".".join(map(str, extensions.components)),
            "sgx_type": extensions.sgx_type,
            "platform_instance_id": None if instance is None else instance.hex(),
            **extensions.flags,
        },
        "tcb": None if authenticated.tcb is None else _tcb(authenticated.tcb),
        "next_tcb_recovery": None if recovery is None else _recovery(recovery),
        "chain": [certificate(one) for one in authenticated.chain],
        "revocation_lists": [revocation_list(one) for one in authenticated.revocation_lists],
    }


def _td(report: TdReport) -> Mapping[str, JsonValue]:
    found: dict[str, JsonValue] = {
        "tee_tcb_svn": report.tee_tcb_svn.hex(),
        "mr_seam": report.mr_seam.hex(),
        "mr_signer_seam": report.mr_signer_seam.hex(),
        "seam_attributes": report.seam_attributes.hex(),
        "td_attributes": {
            "value": f"0x{report.attributes:x}",
            **flags(report.attributes, bits.TD_ATTRIBUTES),
            "reserved": f"0x{reserved(report.attributes, bits.TD_ATTRIBUTES):x}",
        },
        "debug": report.debug,
        "xfam": f"0x{int.from_bytes(report.xfam, 'little'):x}",
        "mr_td": report.mr_td.hex(),
        "mr_config_id": report.mr_config_id.hex(),
        "mr_owner": report.mr_owner.hex(),
        "mr_owner_config": report.mr_owner_config.hex(),
        **{f"rtmr{number}": register.hex() for number, register in enumerate(report.rtmrs)},
        "report_data": report.report_data.hex(),
    }
    if report.tee_tcb_svn2 is not None and report.mr_service_td is not None:
        found["tee_tcb_svn2"] = report.tee_tcb_svn2.hex()
        found["mr_service_td"] = report.mr_service_td.hex()
    return found


def _enclave(report: EnclaveReport) -> Mapping[str, JsonValue]:
    attributes = int.from_bytes(report.attributes[:8], "little")
    return {
        "cpu_svn": report.cpu_svn.hex(),
        "misc_select": report.misc_select,
        "attributes": {
            "value": report.attributes.hex(),
            **flags(attributes, bits.ENCLAVE_ATTRIBUTES),
            "reserved": f"0x{reserved(attributes, bits.ENCLAVE_ATTRIBUTES):x}",
        },
        "debug": report.debug,
        "mr_enclave": report.mr_enclave.hex(),
        "mr_signer": report.mr_signer.hex(),
        "config_id": report.config_id.hex(),
        "config_svn": report.config_svn,
        "isv_ext_prod_id": report.isv_ext_prod_id.hex(),
        "isv_family_id": report.isv_family_id.hex(),
        "isv_prod_id": report.isv_prod_id,
        "isv_svn": report.isv_svn,
        "report_data": report.report_data.hex(),
    }


def _tcb(tcb: Tcb) -> Mapping[str, JsonValue]:
    return {
        "status": tcb.status.value,
        "advisories": list(tcb.advisories),
        "evaluation": tcb.evaluation,
        "relaunch_advised": tcb.relaunch_advised,
        "platform": _level(tcb.platform),
        "module": None if tcb.module is None else _level(tcb.module),
        "qe": _level(tcb.qe),
    }


def _recovery(recovery: Recovery) -> Mapping[str, JsonValue]:
    return {
        "evaluation": recovery.evaluation,
        "tcb": None if recovery.tcb is None else _tcb(recovery.tcb),
        "reason": recovery.reason or None,
    }


def _level(level: Level) -> Mapping[str, JsonValue]:
    return {"status": level.status.value, "date": f"{level.date:%Y-%m-%d}"}
