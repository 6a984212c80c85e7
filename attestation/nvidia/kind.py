"""Evidence of NVIDIA's devices, as one of the kinds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attestation.kind import Criteria, Kind
from attestation.nvidia import claims, evidence
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.nvidia.evidence import Evidence
from attestation.nvidia.roots import NVIDIA, NvidiaRoots

if TYPE_CHECKING:
    from attestation.nvidia.policy import NvidiaPolicy


def kind() -> Kind[Evidence, Authenticated, NvidiaPolicy, NvidiaRoots]:
    """Return the kind of evidence that GPUs and switches give."""
    return Kind(
        roots=NVIDIA,
        boots=("device-firmware",),
        parse=evidence.parse,
        authenticate=authenticate,
        criteria=_criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.nonce,
        lists_checked=_states_known,
        bound=lambda data: hashlib.sha256(data).digest(),
    )


def _states_known(authenticated: Authenticated) -> bool:
    states = [*authenticated.states[1:]]
    for one in authenticated.manifests.given:
        states.extend(one.states)
    return all(one.known for one in states)


def _criteria() -> Criteria[Authenticated, NvidiaPolicy, NvidiaRoots]:
    from attestation.nvidia import criteria

    return criteria.criteria()
