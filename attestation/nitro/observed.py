"""What does a policy say that accepts just this document?"""

from __future__ import annotations

from attestation.nitro.authenticate import Authenticated
from attestation.nitro.policy import REGISTERS
from attestation.observed import UNCHECKED, only, reference
from shim.canonical import JsonValue


def observed(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy by their dotted keys; `label` names the measurement.

    Instance and enclave have other names at every launch, and a document is always older when it is judged
    again, so module_id and max_age stay unchecked.
    """
    registers = authenticated.document.pcrs
    return {
        "document.pcr0": reference(registers.get(0, b""), label),
        **{f"document.pcr{number}": only(registers.get(number)) for number in REGISTERS},
        "document.module_id": UNCHECKED,
        "document.debug": "refused",
        "document.max_age": UNCHECKED,
    }
