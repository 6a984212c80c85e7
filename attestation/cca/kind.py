"""Evidence of Arm's realms, as one of the kinds."""

from __future__ import annotations

from attestation.cca import claims, evidence, policy
from attestation.cca.appraise import appraise, reference
from attestation.cca.authenticate import Authenticated, authenticate
from attestation.cca.evidence import SOURCE, Evidence
from attestation.cca.observed import observed
from attestation.cca.policy import CcaPolicy
from attestation.kind import Kind
from attestation.path import Roots


def kind() -> Kind[Evidence, Authenticated, CcaPolicy, Roots]:
    """Return the kind of evidence that realms give."""
    return Kind(
        roots=Roots("the policy", frozenset()),
        boots=("realm",),
        parse=evidence.parse,
        authenticate=authenticate,
        rules=policy.read,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources={"realm": SOURCE, "platform": SOURCE},
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.realm.challenge,
        lists_checked=lambda _: False,
    )
