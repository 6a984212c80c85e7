"""
What does a report claim, in words?

A JSON value for people, tokens and logs.  Numbers wider than 53 bits and all bytes are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Mapping

from attestation.claims import certificate, revocation_list
from attestation.snp import bits
from attestation.snp.authenticate import Authenticated
from attestation.snp.products import Product
from attestation.snp.report import HOST_VMPL, Report
from shim.canonical import JsonValue


def of_report(report: Report, product: Product | None) -> dict[str, JsonValue]:
    """
    Return what `report` says.

    Args:
        report: Authentic or not.
        product: Whose layout the firmware versions have; None leaves them as 8 bytes in hexadecimal.
    """
    return {
        "version": report.version,
        "vmpl": "host" if report.vmpl == HOST_VMPL else report.vmpl,
        "guest_svn": report.guest_svn,
        "measurement": report.measurement.hex(),
        "report_data": report.report_data.hex(),
        "host_data": report.host_data.hex(),
        "family_id": report.family_id.hex(),
        "image_id": report.image_id.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "author_key_digest": report.author_key_digest.hex(),
        "author_key_en": report.author_key_en,
        "report_id": report.report_id.hex(),
        "report_id_ma": report.report_id_ma.hex(),
        "chip_id": report.chip_id.hex(),
        "signing_key": report.signing_key.name,
        "mask_chip_key": report.mask_chip_key,
        "cpuid": _cpuid(report),
        "guest_policy": _guest_policy(report.policy),
        "platform_info": _platform_info(report.platform_info),
        "tcb": _tcb(report, product),
        "firmware": {"current": str(report.current_version), "committed": str(report.committed_version)},
        "mitigations": _mitigations(report),
    }


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what the report says and what its endorsements add."""
    chip_id = authenticated.chip_id
    crl = authenticated.revocation_list
    return {
        "report": of_report(authenticated.report, authenticated.chain.product),
        "product": authenticated.chain.product.name,
        "product_name": authenticated.extensions.product_name,
        "signer": authenticated.chain.leaf.common_name,
        "chip_id": None if chip_id is None else chip_id.hex(),
        "csp_id": authenticated.extensions.csp_id,
        "chain": [certificate(one) for one in authenticated.chain.certificates],
        "revocation_list": None if crl is None else revocation_list(crl),
    }


def _cpuid(report: Report) -> JsonValue:
    if report.cpuid is None:
        return None
    family, model, stepping = report.cpuid
    return {"family": hex(family), "model": hex(model), "stepping": stepping}


def _guest_policy(value: int) -> Mapping[str, JsonValue]:
    return {
        "value": hex(value),
        "abi": f"{value >> 8 & 0xFF}.{value & 0xFF}",
        **bits.flags(value, bits.GUEST_POLICY),
        "reserved": hex(bits.reserved_guest_policy(value)),
    }


def _platform_info(value: int) -> Mapping[str, JsonValue]:
    return {
        "value": hex(value),
        **bits.flags(value, bits.PLATFORM_INFO),
        "reserved": hex(bits.reserved_platform_info(value)),
    }


def _tcb(report: Report, product: Product | None) -> Mapping[str, JsonValue]:
    versions = {
        "reported": report.reported_tcb,
        "committed": report.committed_tcb,
        "current": report.current_tcb,
        "launch": report.launch_tcb,
    }
    return {kind: raw.hex() if product is None else product.tcb(raw) for kind, raw in versions.items()}


def _mitigations(report: Report) -> JsonValue:
    if report.launch_mit_vector is None or report.current_mit_vector is None:
        return None
    return {"launch": hex(report.launch_mit_vector), "current": hex(report.current_mit_vector)}
