"""What does a policy say that accepts just this device?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import DRIVER
from attestation.nvidia.revocation import State
from attestation.observed import UNCHECKED, only
from shim.canonical import JsonValue


def observed(authenticated: Authenticated, _label: str) -> dict[str, JsonValue]:
    """Return the values of a policy by their dotted keys."""
    evidence = authenticated.evidence
    measurements: JsonValue = {str(index): [value.hex()] for index, value in evidence.measurements.items()}
    known = authenticated.manifests
    signers = [state for one in known.given for state in one.states]
    return {
        "measurements": measurements,
        "device.driver_version": only(evidence.text(DRIVER)),
        "device.vbios_version": only(evidence.vbios_version),
        "device.name": only(authenticated.chain[0].common_name),
        **_hold("device", authenticated.states),
        "manifests.driver": UNCHECKED if known.driver is None else "required",
        "manifests.vbios": UNCHECKED if known.vbios is None else "required",
        **_hold("manifests", signers),
    }


def says(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what is said, in words, by keys that say what to do about it."""
    known = authenticated.manifests
    signers = [state for one in known.given for state in one.states]
    manifests = {"driver": known.driver, "vbios": known.vbios}
    return {
        **{f"manifests.{name}": "supplied" for name, one in manifests.items() if one is not None},
        **_held("device", authenticated.states),
        **_held("manifests", signers),
    }


def _held(section: str, states: Sequence[State]) -> dict[str, JsonValue]:
    held = [one.certificate.common_name for one in states if one.held]
    said = f"on hold: {', '.join(held)}" if held else "none on hold"
    return {f"{section}.certificate_hold": said} if any(one.answer for one in states) else {}


def _hold(section: str, states: Iterable[State]) -> dict[str, JsonValue]:
    """Nothing where nobody was asked about any of the certificates."""
    return {f"{section}.certificate_hold": "refused"} if any(one.answer for one in states) else {}
