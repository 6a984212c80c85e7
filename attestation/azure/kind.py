"""Evidence of Azure's confidential VMs, on SEV-SNP and on TDX, as two of the kinds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from attestation.azure import claims, evidence
from attestation.azure.authenticate import Authenticated, authenticate
from attestation.azure.evidence import Evidence
from attestation.errors import EvidenceFormatError
from attestation.kind import Criteria, Kind
from attestation.tpm.registers import of_quote

if TYPE_CHECKING:
    from attestation.azure.policy import AzurePolicy

H = TypeVar("H")
R = TypeVar("R")
T = TypeVar("T")


def kind(tee: str, hardware: Kind[Any, H, R, T]) -> Kind[Evidence, Authenticated, AzurePolicy[R], T]:
    """Return the kind of evidence of confidential VMs on `hardware`, which is called `tee`."""

    def parse(data: bytes) -> Evidence:
        found = evidence.parse(data)
        if found.hcl.tee != tee:
            raise EvidenceFormatError("HCL report", "report type", found.hcl.tee, tee)
        return found

    def criteria() -> Criteria[Authenticated, AzurePolicy[R], T]:
        from attestation.azure import criteria

        return criteria.criteria(hardware.criteria())

    def lists_checked(authenticated: Authenticated) -> bool:
        found: Any = authenticated.hardware  # of either vendor
        return hardware.lists_checked(found)

    verify: Any = authenticate  # its roots are those of either hardware
    return Kind(
        roots=hardware.roots,
        boots=("vtpm",),
        parse=parse,
        authenticate=verify,
        criteria=criteria,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.quote.attest.extra_data,
        lists_checked=lists_checked,
        registers=lambda authenticated: of_quote(authenticated.evidence.quote),
        bound=lambda data: hashlib.sha256(data).digest(),
    )
