"""Evidence of NVIDIA's devices, as one of the kinds."""

from __future__ import annotations

import hashlib

from attestation.kind import Kind
from attestation.nvidia import claims, evidence, policy
from attestation.nvidia.appraise import appraise
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.nvidia.evidence import SOURCE, Evidence
from attestation.nvidia.observed import observed, says
from attestation.nvidia.policy import NvidiaPolicy
from attestation.nvidia.rim import SOURCE as RIM_SOURCE
from attestation.nvidia.roots import NVIDIA, NvidiaRoots


def kind() -> Kind[Evidence, Authenticated, NvidiaPolicy, NvidiaRoots]:
    """Return the kind of evidence that GPUs and switches give."""
    return Kind(
        roots=NVIDIA,
        boots=("device-firmware",),
        parse=evidence.parse,
        authenticate=authenticate,
        rules=policy.read,
        appraise=appraise,
        reference=lambda _, __: None,
        observed=observed,
        says=says,
        sources={"measurements": SOURCE, "device": SOURCE, "manifests": RIM_SOURCE},
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.nonce,
        lists_checked=_states_known,
        concerns=_concerns,
        bound=lambda data: hashlib.sha256(data).digest(),
    )


def _states_known(authenticated: Authenticated) -> bool:
    states = [*authenticated.states[1:]]
    for one in authenticated.manifests.given:
        states.extend(one.states)
    return all(one.known for one in states)


def _concerns(authenticated: Authenticated, key: str) -> bool:
    """A manifest that was supplied is used, whatever the policy asks for."""
    known = authenticated.manifests
    used = {"manifests.driver": known.driver, "manifests.vbios": known.vbios}
    return used.get(key) is None
