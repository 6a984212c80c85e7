"""Evidence of AWS Nitro Enclaves, as one of the kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attestation.kind import Criteria, Kind
from attestation.nitro import claims, evidence
from attestation.nitro.authenticate import Authenticated, authenticate
from attestation.nitro.evidence import Evidence
from attestation.nitro.roots import AWS
from attestation.path import Roots

if TYPE_CHECKING:
    from attestation.nitro.policy import NitroPolicy


def kind() -> Kind[Evidence, Authenticated, NitroPolicy, Roots]:
    """Return the kind of evidence that Nitro enclaves give."""
    return Kind(
        roots=AWS,
        boots=("nitro",),
        parse=evidence.parse,
        authenticate=authenticate,
        criteria=_criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.document.user_data or b"",
        lists_checked=lambda authenticated: (
            len(authenticated.revocation_lists) == len(authenticated.chain) - 1
        ),
        nonce=lambda authenticated: authenticated.document.nonce,
    )


def _criteria() -> Criteria[Authenticated, NitroPolicy, Roots]:
    from attestation.nitro import criteria

    return criteria.criteria()
