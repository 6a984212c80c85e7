"""Evidence of TPMs of no particular cloud, as one of the kinds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attestation.kind import Criteria, Kind
from attestation.path import Roots
from attestation.tpm import claims, evidence, registers
from attestation.tpm.authenticate import Authenticated, authenticate
from attestation.tpm.evidence import Evidence

if TYPE_CHECKING:
    from attestation.tpm.policy import TpmPolicy


def kind() -> Kind[Evidence, Authenticated, TpmPolicy, Roots]:
    """Return the kind of evidence that TPMs give."""
    return Kind(
        roots=Roots("the policy", frozenset()),
        boots=("vtpm",),
        parse=evidence.parse,
        authenticate=authenticate,
        criteria=_criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.quote.attest.extra_data,
        lists_checked=_lists_checked,
        registers=lambda authenticated: registers.of_quote(authenticated.evidence.quote),
        bound=lambda data: hashlib.sha256(data).digest(),
    )


def _lists_checked(authenticated: Authenticated) -> bool:
    endorsed = authenticated.endorsement
    chains = (authenticated.chain, () if endorsed is None else endorsed.chain)
    links = sum(max(len(chain) - 1, 0) for chain in chains)
    return 0 < links == len(authenticated.revocation_lists)


def _criteria() -> Criteria[Authenticated, TpmPolicy, Roots]:
    from attestation.tpm import criteria

    return criteria.criteria()
