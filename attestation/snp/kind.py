"""Evidence of AMD SEV-SNP, or of what has its format, as one of the kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attestation.endorsements import Endorsements
from attestation.kind import Criteria, Kind
from attestation.snp import claims, evidence
from attestation.snp.authenticate import Authenticated, authenticate
from attestation.snp.evidence import Evidence
from attestation.snp.products import Product, with_cpuid
from attestation.snp.roots import Roots

if TYPE_CHECKING:
    from attestation.snp.policy import SnpPolicy
    from shim.canonical import JsonValue

SnpKind: TypeAlias = "Kind[Evidence, Authenticated, SnpPolicy, Roots]"


def kind(
    roots: Roots,
    boots: tuple[str, ...],
    known: tuple[Product, ...],
    endorsements: Endorsements = Endorsements(),  # noqa: B008  # an immutable value
    *,
    simulated: bool = False,
) -> SnpKind:
    """
    Return the kind of evidence in the format of SEV-SNP that `roots` vouch for.

    Of `known` products, whosever they are, the layout is used to show what nothing proves.
    """

    def criteria() -> Criteria[Authenticated, SnpPolicy, Roots]:
        from attestation.snp import criteria

        return criteria.criteria(roots)

    def unproven(found: Evidence) -> dict[str, JsonValue]:
        cpuid = found.report.cpuid  # which version 2 does not have
        product = None if cpuid is None else with_cpuid(known, *cpuid[:2])
        name = None if product is None else product.name
        return {"report": claims.of_report(found.report, product), "product": name}

    return Kind(
        roots=roots,
        boots=boots,
        parse=evidence.parse,
        authenticate=authenticate,
        criteria=criteria,
        claims=claims.of_authenticated,
        unproven=unproven,
        report_data=lambda authenticated: authenticated.report.report_data,
        lists_checked=lambda authenticated: authenticated.revocation_list is not None,
        endorsements=endorsements,
        simulated=simulated,
    )
