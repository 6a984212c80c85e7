"""
Which devices of NVIDIA are accepted?

One attribute per thing that a device can say.  Every one must be given in the policy, or spelled "unchecked";
but for the measurements: without any nothing says which firmware answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.policy_file import Checked, Reader, Section, UnfitError, show
from attestation.policy_values import hexadecimal, nonempty, strings

_INDEX = r"^([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-4])$"


@dataclass(frozen=True, slots=True)
class NvidiaPolicy:
    """
    What a device must say; `attestation/examples/policy-nvidia.toml` explains each field.

    Attributes:
        measurements: Accepted values by index.
        driver_version, vbios_version: As people write them.
        device: The names of devices' certificates.
    """

    measurements: Mapping[int, frozenset[bytes]]
    driver_version: Checked[frozenset[str]]
    vbios_version: Checked[frozenset[str]]
    device: Checked[frozenset[str]]


def read(top: Section) -> NvidiaPolicy:
    """Return the rules for a device; problems are left in `top`, which the caller closes."""
    device = top.section("device")
    nothing: Mapping[int, frozenset[bytes]] = {}
    policy = NvidiaPolicy(
        measurements=top.need("measurements", _MEASUREMENTS, nothing),
        driver_version=device.take("driver_version", strings),
        vbios_version=device.take("vbios_version", strings),
        device=device.take("name", strings),
    )
    device.close()
    return policy


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
