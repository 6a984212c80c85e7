"""How what an SEV-SNP report says is compared with a policy."""

from __future__ import annotations

from attestation.kind import Criteria
from attestation.policy_file import Section
from attestation.snp import policy
from attestation.snp.appraise import SOURCES, appraise, reference
from attestation.snp.authenticate import Authenticated
from attestation.snp.observed import VOLATILE, observed, says
from attestation.snp.policy import SnpPolicy
from attestation.snp.roots import Roots


def criteria(roots: Roots) -> Criteria[Authenticated, SnpPolicy, Roots]:
    """Return the criteria for evidence of the products of `roots`."""
    products = tuple(roots.products.values())

    def read(top: Section) -> SnpPolicy:
        return policy.read(top, products)

    return Criteria(
        read=read,
        appraise=appraise,
        reference=reference,
        observed=observed,
        sources=SOURCES,
        concerns=_concerns,
        says=says,
        volatile=VOLATILE,
    )


def _concerns(authenticated: Authenticated, key: str) -> bool:
    """Minima for other products say nothing about this one."""
    ours = f"tcb.{authenticated.chain.product.name}."
    return key.startswith(ours) or not key.startswith("tcb.")
