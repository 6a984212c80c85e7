"""How what a GPU or a switch says is compared with a policy."""

from __future__ import annotations

from attestation.kind import Criteria
from attestation.nvidia import policy
from attestation.nvidia.appraise import appraise
from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import SOURCE
from attestation.nvidia.observed import observed, says
from attestation.nvidia.policy import NvidiaPolicy
from attestation.nvidia.rim import SOURCE as RIM_SOURCE
from attestation.nvidia.roots import NvidiaRoots


def criteria() -> Criteria[Authenticated, NvidiaPolicy, NvidiaRoots]:
    """Return the criteria for evidence of devices."""
    return Criteria(
        read=policy.read,
        appraise=appraise,
        reference=lambda _, __: None,
        observed=observed,
        sources={"measurements": SOURCE, "device": SOURCE, "manifests": RIM_SOURCE},
        concerns=_concerns,
        says=says,
    )


def _concerns(authenticated: Authenticated, key: str) -> bool:
    """A manifest that was supplied is used, whatever the policy asks for."""
    known = authenticated.manifests
    used = {"manifests.driver": known.driver, "manifests.vbios": known.vbios}
    return used.get(key) is None
