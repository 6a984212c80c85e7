"""What does a policy say that accepts just this confidential VM?"""

from __future__ import annotations

from attestation.azure.authenticate import Authenticated
from attestation.azure.policy import CONFIGURATION
from attestation.observed import UNCHECKED, only, state
from attestation.tpm.registers import NUMBERS
from shim.canonical import JsonValue


def observed(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what a policy says beside what it says of the hardware, by dotted keys."""
    registers = authenticated.evidence.quote.pcrs
    members = authenticated.evidence.hcl.configuration.members
    said = {name: members.get(member) for name, member in CONFIGURATION.items()}
    identifier = members.get("vmUniqueId")
    return {
        **{f"pcrs.pcr{number}": only(registers.get(number)) for number in NUMBERS},
        **{
            f"vm.{name}": state(found) if isinstance(found, bool) else UNCHECKED
            for name, found in said.items()
        },
        "vm.id": only(identifier if isinstance(identifier, str) else None),
    }
