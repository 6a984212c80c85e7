"""Evidence of TPMs of no particular cloud, as one of the kinds."""

from __future__ import annotations

import hashlib

from attestation.kind import Kind
from attestation.path import Roots
from attestation.policy_file import UNCHECKED
from attestation.tpm import claims, evidence, policy, registers
from attestation.tpm.appraise import appraise, target
from attestation.tpm.authenticate import Authenticated, authenticate
from attestation.tpm.endorsement import SOURCE as MAKER
from attestation.tpm.evidence import Evidence
from attestation.tpm.observed import VOLATILE, observed
from attestation.tpm.policy import TpmPolicy
from attestation.tpm.public_area import SOURCE as KEY_SOURCE
from attestation.tpm.quote import SOURCE


def _named(rules: TpmPolicy) -> Roots:
    named = frozenset() if rules.roots is UNCHECKED else rules.roots
    return Roots("the policy", frozenset(key.hex() for key in named))


def kind() -> Kind[Evidence, Authenticated, TpmPolicy, Roots]:
    """Return the kind of evidence that TPMs give."""
    return Kind(
        roots=Roots("the policy", frozenset()),
        boots=("vtpm",),
        parse=evidence.parse,
        authenticate=authenticate,
        rules=policy.read,
        appraise=appraise,
        reference=lambda _, __: None,
        observed=observed,
        sources={"ak": KEY_SOURCE, "ek": MAKER, "pcrs": SOURCE, "tpm": SOURCE},
        volatile=VOLATILE,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.quote.attest.extra_data,
        lists_checked=_lists_checked,
        target=target,
        software=lambda rules: rules.software_makers is not UNCHECKED,
        registers=lambda authenticated: registers.of_quote(authenticated.evidence.quote),
        named=_named,
        bound=lambda data: hashlib.sha256(data).digest(),
    )


def _lists_checked(authenticated: Authenticated) -> bool:
    endorsed = authenticated.endorsement
    chains = (authenticated.chain, () if endorsed is None else endorsed.chain)
    links = sum(max(len(chain) - 1, 0) for chain in chains)
    return 0 < links == len(authenticated.revocation_lists)
