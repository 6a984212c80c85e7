"""What does a policy say that accepts just this document?"""

from __future__ import annotations

from attestation.nitro.authenticate import Authenticated
from attestation.nitro.policy import REGISTERS
from attestation.observed import only, reference
from shim.canonical import JsonValue

# Instance and enclave have other names at every launch, and a document is older whenever it is judged again.
VOLATILE = frozenset({"document.module_id", "document.max_age"})


def observed(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """Return the values of a policy by their dotted keys; `label` names the measurement."""
    registers = authenticated.document.pcrs
    return {
        "document.pcr0": reference(registers.get(0, b""), label),
        **{f"document.pcr{number}": only(registers.get(number)) for number in REGISTERS},
        "document.module_id": only(authenticated.document.module_id),
        "document.debug": "refused",
        "document.max_age": int(authenticated.age.total_seconds()),
    }
