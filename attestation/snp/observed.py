"""What does a policy say that accepts just this report?"""

from __future__ import annotations

from attestation.observed import UNCHECKED, bit_rules, mask, only, reference
from attestation.snp import bits
from attestation.snp.authenticate import Authenticated
from attestation.snp.report import HOST_VMPL, Report
from shim.canonical import JsonValue

# Another at every launch.
VOLATILE = frozenset({"report.report_id"})


def observed(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """Return the values of a policy by their dotted keys; `label` names the measurement."""
    report, product = authenticated.report, authenticated.chain.product
    versions = {
        "reported": report.reported_tcb,
        "committed": report.committed_tcb,
        "current": report.current_tcb,
        "launch": report.launch_tcb,
    }
    return {
        "report.measurement": reference(report.measurement, label),
        "report.signer": report.signing_key.name.lower(),
        "report.vmpl": ["host" if report.vmpl == HOST_VMPL else report.vmpl],
        "report.guest_svn": report.guest_svn,
        "report.host_data": only(report.host_data),
        "report.family_id": only(report.family_id),
        "report.image_id": only(report.image_id),
        "report.id_key_digest": only(report.id_key_digest),
        "report.author_key_digest": only(report.author_key_digest if report.author_key_en else None),
        "report.report_id": only(report.report_id),
        "report.report_id_ma": only(report.report_id_ma),
        "report.chip_id": only(authenticated.chip_id),
        "report.csp_id": only(authenticated.extensions.csp_id),
        "guest_policy.abi": f"{report.policy >> 8 & 0xFF}.{report.policy & 0xFF}",
        **bit_rules(
            "guest_policy", report.policy, bits.GUEST_POLICY, bits.reserved_guest_policy(report.policy)
        ),
        **bit_rules(
            "platform_info",
            report.platform_info,
            bits.PLATFORM_INFO,
            bits.reserved_platform_info(report.platform_info),
        ),
        "firmware.current": str(report.current_version),
        "firmware.committed": str(report.committed_version),
        "firmware.provisional": "refused" if _is_committed(report) else UNCHECKED,
        "mitigations.launch": mask(report.launch_mit_vector),
        "mitigations.current": mask(report.current_mit_vector),
        **{f"tcb.{product.name}.{kind}": product.tcb(raw) for kind, raw in versions.items()},
    }


def says(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what the report says, in words, by keys that say what to do about it."""
    report = authenticated.report
    digest = report.author_key_digest.hex() if report.author_key_en else "no author key"
    firmware = "committed" if _is_committed(report) else "not yet committed"
    return {"report.author_key_digest": digest, "firmware.provisional": firmware}


def _is_committed(report: Report) -> bool:
    is_same = report.current_version == report.committed_version
    return is_same and report.current_tcb == report.committed_tcb
