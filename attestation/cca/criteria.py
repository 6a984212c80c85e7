"""How what a realm's token says is compared with a policy."""

from __future__ import annotations

from attestation.cca import policy
from attestation.cca.appraise import appraise, reference
from attestation.cca.authenticate import Authenticated
from attestation.cca.evidence import SOURCE
from attestation.cca.observed import observed
from attestation.cca.policy import CcaPolicy
from attestation.kind import Criteria
from attestation.path import Roots


def criteria() -> Criteria[Authenticated, CcaPolicy, Roots]:
    """Return the criteria for evidence of realms."""
    return Criteria(
        read=policy.read,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources={"realm": SOURCE, "platform": SOURCE},
    )
