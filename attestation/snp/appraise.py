"""
Do we accept what a genuine processor says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestation.policy_file import UNCHECKED, Checked
from attestation.policy_values import BitRules
from attestation.result import Mismatch
from attestation.rules import among, label, measurement, named_bits, reserved_bits
from attestation.snp import bits
from attestation.snp.appraise_firmware import appraise_firmware
from attestation.snp.authenticate import Authenticated
from attestation.snp.policy import SnpPolicy
from attestation.snp.report import HOST_VMPL, SOURCE, Report

_GUEST_POLICY_SOURCE = 'AMD 56860 r1.58, section 4.3, "Guest Policy"'
_CSP_SOURCE = 'AMD 57230, "VCEK Certificate and KDS Interface Specification", CSP_ID'


SOURCES = {
    "report": SOURCE,
    "guest_policy": _GUEST_POLICY_SOURCE,
    "platform_info": SOURCE,
    "firmware": SOURCE,
    "mitigations": SOURCE,
    "tcb": 'AMD 56860 r1.58, section 2.2, "TCB Version"',
}


def appraise(authenticated: Authenticated, policy: SnpPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the report differs from what `policy` accepts; empty means accepted.

    Two things are checked whatever the policy says, because firmware that tells the truth cannot break them:
    reported and committed versions are at most the current ones.

    Not checked:
        report_data: `attestation.appraise` compares it, for every kind of evidence in the same way.

    Source:
        AMD publication 56860, revision 1.58, section 7.3, "Attestation", structure of ATTESTATION_REPORT;
        section 4.3, "Guest Policy"; section 2.2, "TCB Version".
    """
    report = authenticated.report
    return (
        *measurement("report.measurement", report.measurement, policy.measurement, SOURCE),
        *_digests(report, policy),
        *_author_key(report, policy),
        *_guest_svn(report, policy),
        *_vmpl(report, policy),
        *_machine(authenticated, policy),
        *_abi(report, policy),
        *_guest_policy(report.policy, policy.guest_policy),
        *_platform_info(report.platform_info, policy.platform_info),
        *appraise_firmware(report, authenticated.chain.product, policy),
    )


def reference(authenticated: Authenticated, policy: SnpPolicy) -> str | None:
    """Return the label of the reference value that the measurement is, or None when it is none of them."""
    return label(authenticated.report.measurement, policy.measurement)


def _digests(report: Report, policy: SnpPolicy) -> Iterator[Mismatch]:
    yield from _among("host_data", report.host_data, policy.host_data)
    yield from _among("family_id", report.family_id, policy.family_id)
    yield from _among("image_id", report.image_id, policy.image_id)
    yield from _among("id_key_digest", report.id_key_digest, policy.id_key_digest)
    yield from _among("author_key_digest", report.author_key_digest, policy.author_key_digest)
    yield from _among("report_id", report.report_id, policy.report_id)
    yield from _among("report_id_ma", report.report_id_ma, policy.report_id_ma)


def _author_key(report: Report, policy: SnpPolicy) -> Iterator[Mismatch]:
    """The digest means something only if the guest was launched with an author key at all."""
    is_named = policy.author_key_digest is not UNCHECKED and any(map(any, policy.author_key_digest))
    if is_named and not report.author_key_en:
        yield Mismatch("report.author_key_en", "clear", "set, for an author_key_digest", SOURCE)


def _guest_svn(report: Report, policy: SnpPolicy) -> Iterator[Mismatch]:
    if policy.guest_svn is not UNCHECKED and report.guest_svn < policy.guest_svn:
        yield Mismatch("report.guest_svn", str(report.guest_svn), f"at least {policy.guest_svn}", SOURCE)


def _vmpl(report: Report, policy: SnpPolicy) -> Iterator[Mismatch]:
    if policy.vmpl is not UNCHECKED and report.vmpl not in policy.vmpl:
        found = "requested by the host" if report.vmpl == HOST_VMPL else str(report.vmpl)
        want = ("the host" if level == HOST_VMPL else str(level) for level in sorted(policy.vmpl))
        yield Mismatch("report.vmpl", found, " or ".join(want), SOURCE)


def _machine(authenticated: Authenticated, policy: SnpPolicy) -> Iterator[Mismatch]:
    signer = authenticated.report.signing_key.name.lower()
    if policy.signer is not UNCHECKED and signer != policy.signer:
        yield Mismatch("report.signer", signer, policy.signer, SOURCE)
    if policy.chip_id is not UNCHECKED and authenticated.chip_id not in policy.chip_id:
        found = "none, it is masked" if authenticated.chip_id is None else authenticated.chip_id.hex()
        yield Mismatch("report.chip_id", found, _any_of(policy.chip_id), SOURCE)
    csp_id = authenticated.extensions.csp_id
    if policy.csp_id is not UNCHECKED and csp_id not in policy.csp_id:
        found = "none" if csp_id is None else csp_id
        yield Mismatch("report.csp_id", found, " or ".join(sorted(policy.csp_id)), _CSP_SOURCE)


def _abi(report: Report, policy: SnpPolicy) -> Iterator[Mismatch]:
    major, minor = report.policy >> 8 & 0xFF, report.policy & 0xFF
    if policy.abi is not UNCHECKED and (major, minor) < policy.abi:
        want = "at least {}.{}".format(*policy.abi)
        yield Mismatch("guest_policy.abi", f"{major}.{minor}", want, _GUEST_POLICY_SOURCE)


def _guest_policy(value: int, rules: BitRules) -> Iterator[Mismatch]:
    yield from named_bits("guest_policy", value, bits.GUEST_POLICY, rules, _GUEST_POLICY_SOURCE)
    unnamed = bits.reserved_guest_policy(value)
    yield from reserved_bits("guest_policy", unnamed, rules, _GUEST_POLICY_SOURCE)


def _platform_info(value: int, rules: BitRules) -> Iterator[Mismatch]:
    yield from named_bits("platform_info", value, bits.PLATFORM_INFO, rules, SOURCE)
    yield from reserved_bits("platform_info", bits.reserved_platform_info(value), rules, SOURCE)


def _among(field: str, found: bytes, accepted: Checked[frozenset[bytes]]) -> Iterator[Mismatch]:
    return among(f"report.{field}", found, accepted, SOURCE)


def _any_of(accepted: frozenset[bytes]) -> str:
    return " or ".join(sorted(value.hex() for value in accepted))
