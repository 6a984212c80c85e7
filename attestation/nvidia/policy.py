"""
Which devices of NVIDIA are accepted?

One attribute per thing that a device can say.  Every one must be given in the policy, or spelled "unchecked";
but for the measurements where no manifest is required: without any nothing says which firmware answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.policy_file import UNCHECKED, Checked, Reader, Section, UnfitError, show
from attestation.policy_values import hexadecimal, nonempty, one_of, strings

MANIFESTS = ("driver", "vbios")

_INDEX = r"^([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-4])$"


@dataclass(frozen=True, slots=True)
class NvidiaPolicy:
    """
    What a device must say; `attestation/examples/policy-nvidia.toml` explains each field.

    Attributes:
        measurements: Accepted values by index.
        driver_version, vbios_version: As people write them.
        device: The names of devices' certificates.
        accept_hold: Whether certificates on hold are accepted, which are revoked otherwise.
        manifests: For "driver" and "vbios", whether there has to be one.
        accept_manifest_hold: As for devices.
    """

    measurements: Checked[Mapping[int, frozenset[bytes]]]
    driver_version: Checked[frozenset[str]]
    vbios_version: Checked[frozenset[str]]
    device: Checked[frozenset[str]]
    accept_hold: bool
    manifests: Mapping[str, bool]
    accept_manifest_hold: bool


def read(top: Section) -> NvidiaPolicy:
    """Return the rules for a device; problems are left in `top`, which the caller closes."""
    device, manifests = top.section("device"), top.section("manifests")
    required = {name: manifests.take(name, one_of("required")) is not UNCHECKED for name in MANIFESTS}
    measurements = top.take("measurements", _MEASUREMENTS)
    if measurements is UNCHECKED and not any(required.values()):
        found = "nothing that says which firmware answered"
        top.problems.add("measurements", found, "values, or manifests that are required")
    policy = NvidiaPolicy(
        measurements=measurements,
        driver_version=device.take("driver_version", strings),
        vbios_version=device.take("vbios_version", strings),
        device=device.take("name", strings),
        accept_hold=_accepts_hold(device),
        manifests=required,
        accept_manifest_hold=_accepts_hold(manifests),
    )
    device.close()
    manifests.close()
    return policy


def _accepts_hold(section: Section) -> bool:
    return section.need("certificate_hold", one_of("refused", "accepted"), "refused") == "accepted"


def _measurements(value: object) -> Mapping[int, frozenset[bytes]]:
    want = "a table of index (1 to 254) and array of digests of 48 bytes"
    if not isinstance(value, dict) or not value:
        raise UnfitError(show(value), want)
    found: dict[int, frozenset[bytes]] = {}
    for name, digests in value.items():
        if not re.fullmatch(_INDEX, str(name)):
            raise UnfitError(show(name), want)
        found[int(name)] = _DIGESTS.read(digests)
    return found


_DIGESTS = nonempty(hexadecimal(48))
_MEASUREMENTS = Reader(
    _measurements,
    {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {_INDEX: _DIGESTS.schema},
        "additionalProperties": False,
    },
)
