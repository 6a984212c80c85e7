"""How what an enclave's document says is compared with a policy."""

from __future__ import annotations

from attestation.kind import Criteria
from attestation.nitro import policy
from attestation.nitro.appraise import appraise, reference
from attestation.nitro.authenticate import Authenticated
from attestation.nitro.observed import VOLATILE, observed
from attestation.nitro.policy import NitroPolicy
from attestation.nitro.report import SOURCE
from attestation.path import Roots


def criteria() -> Criteria[Authenticated, NitroPolicy, Roots]:
    """Return the criteria for evidence of Nitro enclaves."""
    return Criteria(
        read=policy.read,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources={"document": SOURCE},
        volatile=VOLATILE,
    )
