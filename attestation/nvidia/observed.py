"""What does a policy say that accepts just this device?"""

from __future__ import annotations

from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import DRIVER
from attestation.observed import UNCHECKED, only
from shim.canonical import JsonValue


def observed(authenticated: Authenticated, _label: str) -> dict[str, JsonValue]:
    """Return the values of a policy by their dotted keys."""
    evidence = authenticated.evidence
    measurements: JsonValue = {str(index): [value.hex()] for index, value in evidence.measurements.items()}
    known = authenticated.manifests
    return {
        "measurements": measurements,
        "device.driver_version": only(evidence.text(DRIVER)),
        "device.vbios_version": only(evidence.vbios_version),
        "device.name": only(authenticated.chain[0].common_name),
        "device.certificate_hold": "refused",
        "manifests.driver": UNCHECKED if known.driver is None else "required",
        "manifests.vbios": UNCHECKED if known.vbios is None else "required",
        "manifests.certificate_hold": "refused",
    }
