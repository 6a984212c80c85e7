"""
Do we accept what a genuine device of NVIDIA says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import DRIVER, SOURCE
from attestation.nvidia.policy import NvidiaPolicy
from attestation.nvidia.revocation import State
from attestation.nvidia.rim import SOURCE as RIM_SOURCE
from attestation.ocsp import HOLD, SOURCE as OCSP_SOURCE
from attestation.policy_file import UNCHECKED, Checked
from attestation.result import Mismatch
from attestation.rules import among
from attestation.verdict import Verdict

_DECODER_FIRMWARE = 36  # 35 in manifests, which count from 0


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
        *_among("device.driver_version", evidence.text(DRIVER), policy.driver_version),
        *_among("device.vbios_version", evidence.vbios_version, policy.vbios_version),
        *_among("device.name", authenticated.chain[0].common_name, policy.device),
        *_held("device", authenticated.states, accepted=policy.accept_hold),
        *_manifests(authenticated, policy),
        *_golden(authenticated),
    )


def _measurements(authenticated: Authenticated, policy: NvidiaPolicy) -> Iterator[Mismatch]:
    accepted = {} if policy.measurements is UNCHECKED else policy.measurements
    for index, values in accepted.items():
        yield from among(
            f"measurements.{index}", authenticated.evidence.measurements.get(index), values, SOURCE
        )


def _held(section: str, states: Iterable[State], *, accepted: bool) -> Iterator[Mismatch]:
    """A certificate on hold is revoked, unless the policy accepts that by name."""
    for one in states:
        if one.held and not accepted:
            found = f"{HOLD} of {one.certificate.common_name}"
            yield Mismatch(f"{section}.certificate_hold", found, "good", OCSP_SOURCE, Verdict.REVOKED)


def _manifests(authenticated: Authenticated, policy: NvidiaPolicy) -> Iterator[Mismatch]:
    known = authenticated.manifests
    for name, found in (("driver", known.driver), ("vbios", known.vbios)):
        if found is None and policy.manifests[name]:
            want = "one for the version that the device states"
            yield Mismatch(f"manifests.{name}", "none", want, RIM_SOURCE, Verdict.CANNOT_TELL)
    for one in known.given:
        yield from _held("manifests", one.states, accepted=policy.accept_manifest_hold)


def _golden(authenticated: Authenticated) -> Iterator[Mismatch]:
    """
    Every active value of a manifest has to be measured, and no index may belong to both.

    Source:
        NVIDIA/nvtrust, guest_tools, for the measurement that a disabled video decoder makes void.
    """
    known, evidence = authenticated.manifests, authenticated.evidence
    if known.driver is not None and known.vbios is not None:
        for index in sorted(known.driver.manifest.golden.keys() & known.vbios.manifest.golden.keys()):
            found = "active in the manifests of driver and VBIOS"
            yield Mismatch(f"manifests.{index}", found, "in one of them", RIM_SOURCE)
    for one in known.given:
        for index, accepted in sorted(one.manifest.golden.items()):
            if index == _DECODER_FIRMWARE and evidence.decoder_disabled:
                continue
            yield from among(
                f"measurements.{index}",
                evidence.measurements.get(index),
                accepted,
                f"manifest of {one.manifest.version}",
            )


def _among(field: str, found: str | None, accepted: Checked[frozenset[str]]) -> Iterator[Mismatch]:
    if accepted is not UNCHECKED and found not in accepted:
        yield Mismatch(field, found or "none", " or ".join(sorted(accepted)), SOURCE)
