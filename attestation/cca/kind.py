"""Evidence of Arm's realms, as one of the kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attestation.cca import claims, evidence
from attestation.cca.authenticate import Authenticated, authenticate
from attestation.cca.evidence import Evidence
from attestation.kind import Criteria, Kind
from attestation.path import Roots

if TYPE_CHECKING:
    from attestation.cca.policy import CcaPolicy


def kind() -> Kind[Evidence, Authenticated, CcaPolicy, Roots]:
    """Return the kind of evidence that realms give."""
    return Kind(
        roots=Roots("the policy", frozenset()),
        boots=("realm",),
        parse=evidence.parse,
        authenticate=authenticate,
        criteria=_criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.realm.challenge,
        lists_checked=lambda _: False,
    )


def _criteria() -> Criteria[Authenticated, CcaPolicy, Roots]:
    from attestation.cca import criteria

    return criteria.criteria()
