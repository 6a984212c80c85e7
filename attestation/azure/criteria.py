"""How what Azure's vTPM and the hardware below it say is compared with a policy."""

from __future__ import annotations

from typing import Any, TypeVar

from attestation.azure import policy
from attestation.azure.appraise import appraise
from attestation.azure.authenticate import Authenticated
from attestation.azure.observed import observed
from attestation.azure.policy import AzurePolicy
from attestation.azure.report import SOURCE
from attestation.kind import Claims, Criteria
from attestation.policy_file import Section
from attestation.result import Mismatch
from attestation.tpm import registers
from attestation.tpm.quote import SOURCE as TPM_SOURCE
from shim.canonical import JsonValue

H = TypeVar("H")
R = TypeVar("R")
T = TypeVar("T")


def criteria(hardware: Criteria[H, R, T]) -> Criteria[Authenticated, AzurePolicy[R], T]:
    """Return the criteria for evidence of confidential VMs, given those for what the hardware says."""

    def read(top: Section) -> AzurePolicy[R]:
        return policy.read(top, hardware.read)

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

    def uncovered(authenticated: Authenticated) -> tuple[Mismatch, ...]:
        return registers.uncovered(authenticated.evidence.quote)

    def concerns(authenticated: Authenticated, key: str) -> bool:
        return hardware.concerns(_hardware(authenticated), key)

    return Criteria(
        read=read,
        appraise=mismatches,
        reference=reference,
        observed=seen,
        sources={**hardware.sources, "pcrs": TPM_SOURCE, "vm": SOURCE},
        uncovered=uncovered,
        concerns=concerns,
        says=says,
        volatile=hardware.volatile,
        warnings=warnings,
    )


def _hardware(authenticated: Authenticated) -> Any:  # noqa: ANN401  # of either vendor
    return authenticated.hardware
