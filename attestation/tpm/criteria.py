"""How what a TPM's quote says is compared with a policy."""

from __future__ import annotations

from attestation.kind import Criteria
from attestation.path import Roots
from attestation.policy_file import UNCHECKED
from attestation.tpm import policy, registers
from attestation.tpm.appraise import appraise, target
from attestation.tpm.authenticate import Authenticated
from attestation.tpm.endorsement import SOURCE as MAKER
from attestation.tpm.observed import VOLATILE, observed
from attestation.tpm.policy import TpmPolicy
from attestation.tpm.public_area import SOURCE as KEY_SOURCE
from attestation.tpm.quote import SOURCE


def criteria() -> Criteria[Authenticated, TpmPolicy, Roots]:
    """Return the criteria for evidence of TPMs."""
    return Criteria(
        read=policy.read,
        appraise=appraise,
        reference=lambda _, __: None,
        observed=observed,
        sources={"ak": KEY_SOURCE, "ek": MAKER, "pcrs": SOURCE, "tpm": SOURCE},
        uncovered=lambda authenticated: registers.uncovered(authenticated.evidence.quote),
        volatile=VOLATILE,
        named=_named,
        target=target,
        software=lambda rules: rules.software_makers is not UNCHECKED,
    )


def _named(rules: TpmPolicy) -> Roots:
    named = frozenset() if rules.roots is UNCHECKED else rules.roots
    return Roots("the policy", frozenset(key.hex() for key in named))
