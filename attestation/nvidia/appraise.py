"""
Do we accept what a genuine device of NVIDIA says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import SOURCE
from attestation.nvidia.policy import NvidiaPolicy
from attestation.ocsp import HOLD, SOURCE as OCSP_SOURCE
from attestation.policy_file import UNCHECKED, Checked
from attestation.result import Mismatch
from attestation.verdict import Verdict

_DRIVER = 3


def appraise(authenticated: Authenticated, policy: NvidiaPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the measurements differ from what `policy` accepts.

    Not checked:
        The nonce: `attestation.appraise` compares it, as the report_data of every kind.

    Source:
        DMTF DSP0274, version 1.1.3, section 10.11.
    """
    evidence = authenticated.evidence
    return (
        *_measurements(authenticated, policy),
        *_among("device.driver_version", evidence.text(_DRIVER), policy.driver_version),
        *_among("device.vbios_version", evidence.vbios_version, policy.vbios_version),
        *_among("device.name", authenticated.chain[0].common_name, policy.device),
        *_held(authenticated, policy),
    )


def _measurements(authenticated: Authenticated, policy: NvidiaPolicy) -> Iterator[Mismatch]:
    for index, accepted in policy.measurements.items():
        found = authenticated.evidence.measurements.get(index)
        if found not in accepted:
            want = " or ".join(sorted(value.hex() for value in accepted))
            yield Mismatch(f"measurements.{index}", "none" if found is None else found.hex(), want, SOURCE)


def _held(authenticated: Authenticated, policy: NvidiaPolicy) -> Iterator[Mismatch]:
    """A certificate on hold is revoked, unless the policy accepts that by name."""
    for one in authenticated.states:
        if one.held and not policy.accept_hold:
            found = f"{HOLD} of {one.certificate.common_name}"
            yield Mismatch("device.certificate_hold", found, "good", OCSP_SOURCE, Verdict.REVOKED)


def _among(field: str, found: str | None, accepted: Checked[frozenset[str]]) -> Iterator[Mismatch]:
    if accepted is not UNCHECKED and found not in accepted:
        yield Mismatch(field, found or "none", " or ".join(sorted(accepted)), SOURCE)
