"""
Which devices of NVIDIA are accepted?

One attribute per thing that a device can say.  Every one must be given in the policy, or spelled "unchecked";
but for the measurements: without any nothing says which firmware answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.policy_file import Checked, Section, UnfitError, show
from attestation.policy_values import hexadecimal, nonempty, one_of, strings


@dataclass(frozen=True, slots=True)
class NvidiaPolicy:
    """
    What a device must say; `docs/examples/policy-nvidia.toml` explains each field.

    Attributes:
        measurements: Accepted values by index.
        driver_version, vbios_version: As people write them.
        device: The names of devices' certificates.
        accept_hold: Whether certificates on hold are accepted, which are revoked otherwise.
    """

    measurements: Mapping[int, frozenset[bytes]]
    driver_version: Checked[frozenset[str]]
    vbios_version: Checked[frozenset[str]]
    device: Checked[frozenset[str]]
    accept_hold: bool


def read(top: Section) -> NvidiaPolicy:
    """Return the rules for a device; problems are left in `top`, which the caller closes."""
    device = top.section("device")
    nothing: Mapping[int, frozenset[bytes]] = {}
    policy = NvidiaPolicy(
        measurements=top.need("measurements", _measurements, nothing),
        driver_version=device.take("driver_version", strings),
        vbios_version=device.take("vbios_version", strings),
        device=device.take("name", strings),
        accept_hold=device.need("certificate_hold", one_of("refused", "accepted"), "refused") == "accepted",
    )
    device.close()
    return policy


def _measurements(value: object) -> Mapping[int, frozenset[bytes]]:
    want = "a table of index (1 to 254) and array of digests of 48 bytes"
    if not isinstance(value, dict) or not value:
        raise UnfitError(show(value), want)
    reader = nonempty(hexadecimal(48))
    found: dict[int, frozenset[bytes]] = {}
    for name, digests in value.items():
        if not str(name).isdecimal() or not 1 <= int(name) <= 254:
            raise UnfitError(show(name), want)
        found[int(name)] = reader(digests)
    return found
