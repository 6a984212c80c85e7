"""What does a policy say that accepts just this device?"""

from __future__ import annotations

from attestation.nvidia.appraise import DRIVER
from attestation.nvidia.authenticate import Authenticated
from attestation.observed import only
from shim.canonical import JsonValue


def observed(authenticated: Authenticated, _label: str) -> dict[str, JsonValue]:
    """Return the values of a policy by their dotted keys."""
    evidence = authenticated.evidence
    measurements: JsonValue = {str(index): [value.hex()] for index, value in evidence.measurements.items()}
    return {
        "measurements": measurements,
        "device.driver_version": only(evidence.text(DRIVER)),
        "device.vbios_version": only(evidence.vbios_version),
        "device.name": only(authenticated.chain[0].common_name),
    }
