"""
By which policies is a resource released, and what stands for them in a session?

A policy counts by its text and the reference values that it goes by, so that a session says what affirmed its
machine also where instances have other policies of the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from attestation.policy import Policy
from attestation.relying_party.errors import UnavailableError
from attestation.relying_party.resources import Resource

AND = "+"  # between the names of the policies of a resource; no name has one


def policies(known: Mapping[str, Policy], resource: Resource) -> tuple[Policy, ...]:
    """
    Return the policies that a resource is released by: that of the machine, then those of its devices.

    Raises:
        UnavailableError: one of them is not known.
    """
    found = []
    for name in resource.policy.split(AND):
        if name not in known:
            want = ", ".join(sorted(known)) or "none"
            raise UnavailableError(f"resource {resource.name}: policy", name, f"one of {want}")
        found.append(known[name])
    return tuple(found)


def named(machine: Iterable[Policy], devices: Iterable[Policy]) -> set[str]:
    """Return what stands for policies; never the same for a machine and for a device."""
    return {identity(one) for one in machine} | {f"device {identity(one)}" for one in devices}


def identity(policy: Policy) -> str:
    """Return a digest of a policy and of the reference values that it goes by, hexadecimal."""
    digest = hashlib.sha256(policy.sha256)
    for used in policy.reference_values:
        digest.update(bytes.fromhex(used.sha256))
    return digest.hexdigest()
