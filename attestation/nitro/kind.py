"""Evidence of AWS Nitro Enclaves, as one of the kinds."""

from __future__ import annotations

from attestation.kind import Kind
from attestation.nitro import claims, evidence, policy
from attestation.nitro.appraise import appraise, reference
from attestation.nitro.authenticate import Authenticated, authenticate
from attestation.nitro.evidence import Evidence
from attestation.nitro.observed import VOLATILE, observed
from attestation.nitro.policy import NitroPolicy
from attestation.nitro.report import SOURCE
from attestation.nitro.roots import AWS
from attestation.path import Roots


def kind() -> Kind[Evidence, Authenticated, NitroPolicy, Roots]:
    """Return the kind of evidence that Nitro enclaves give."""
    return Kind(
        roots=AWS,
        boots=("nitro",),
        parse=evidence.parse,
        authenticate=authenticate,
        rules=policy.read,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources={"document": SOURCE},
        volatile=VOLATILE,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.document.user_data or b"",
        lists_checked=lambda authenticated: (
            len(authenticated.revocation_lists) == len(authenticated.chain) - 1
        ),
        nonce=lambda authenticated: authenticated.document.nonce,
    )
