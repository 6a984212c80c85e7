"""Evidence of NVIDIA's devices, as one of the kinds."""

from __future__ import annotations

import hashlib

from attestation.kind import Kind
from attestation.nvidia import claims, evidence, policy
from attestation.nvidia.appraise import appraise
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.nvidia.evidence import Evidence
from attestation.nvidia.policy import NvidiaPolicy
from attestation.nvidia.roots import NVIDIA
from attestation.path import Roots


def kind() -> Kind[Evidence, Authenticated, NvidiaPolicy, Roots]:
    """Return the kind of evidence that GPUs and switches give."""
    return Kind(
        roots=NVIDIA,
        boots=("device-firmware",),
        parse=evidence.parse,
        authenticate=authenticate,
        rules=policy.read,
        appraise=appraise,
        reference=lambda _, __: None,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.nonce,
        lists_checked=lambda authenticated: all(one.known for one in authenticated.states[1:]),
        bound=lambda data: hashlib.sha256(data).digest(),
    )
