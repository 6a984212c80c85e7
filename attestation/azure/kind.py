"""Evidence of Azure's confidential VMs, on SEV-SNP and on TDX, as two of the kinds."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from attestation.azure import claims, evidence, policy
from attestation.azure.appraise import appraise
from attestation.azure.authenticate import Authenticated, authenticate
from attestation.azure.evidence import Evidence
from attestation.azure.observed import observed
from attestation.azure.policy import AzurePolicy
from attestation.azure.report import SOURCE
from attestation.errors import EvidenceFormatError
from attestation.kind import Claims, Kind
from attestation.policy_file import Section
from attestation.result import Mismatch
from attestation.tpm.quote import SOURCE as TPM_SOURCE
from attestation.tpm.registers import of_quote
from shim.canonical import JsonValue

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

    def rules(top: Section) -> AzurePolicy[R]:
        return policy.read(top, hardware.rules)

    def mismatches(authenticated: Authenticated, accepted: AzurePolicy[R]) -> tuple[Mismatch, ...]:
        return (
            *hardware.appraise(_hardware(authenticated), accepted.hardware),
            *appraise(authenticated, accepted),
        )

    def reference(authenticated: Authenticated, accepted: AzurePolicy[R]) -> str | None:
        return hardware.reference(_hardware(authenticated), accepted.hardware)

    def warnings(authenticated: Authenticated, accepted: AzurePolicy[R]) -> tuple[Mismatch, ...]:
        return hardware.warnings(_hardware(authenticated), accepted.hardware)

    def seen(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
        return {**hardware.observed(_hardware(authenticated), label), **observed(authenticated)}

    def says(authenticated: Authenticated) -> Claims:
        return hardware.says(_hardware(authenticated))

    def lists_checked(authenticated: Authenticated) -> bool:
        return hardware.lists_checked(_hardware(authenticated))

    def concerns(authenticated: Authenticated, key: str) -> bool:
        return hardware.concerns(_hardware(authenticated), key)

    verify: Any = authenticate  # its roots are those of either hardware
    return Kind(
        roots=hardware.roots,
        boots=("vtpm",),
        parse=parse,
        authenticate=verify,
        rules=rules,
        appraise=mismatches,
        reference=reference,
        observed=seen,
        says=says,
        sources={**hardware.sources, "pcrs": TPM_SOURCE, "vm": SOURCE},
        volatile=hardware.volatile,
        claims=claims.of_authenticated,
        unproven=claims.of_evidence,
        report_data=lambda authenticated: authenticated.evidence.quote.attest.extra_data,
        lists_checked=lists_checked,
        concerns=concerns,
        warnings=warnings,
        registers=lambda authenticated: of_quote(authenticated.evidence.quote),
        bound=lambda data: hashlib.sha256(data).digest(),
    )


def _hardware(authenticated: Authenticated) -> Any:  # noqa: ANN401  # of either vendor
    return authenticated.hardware
