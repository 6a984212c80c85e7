"""What does a policy say that accepts just this TPM in just this state?"""

from __future__ import annotations

from attestation.observed import UNCHECKED, only, state
from attestation.tpm.authenticate import Authenticated
from attestation.tpm.registers import NUMBERS
from shim.canonical import JsonValue

# They count on while the machine runs.
VOLATILE = frozenset({"tpm.clock", "tpm.resets", "tpm.restarts"})


def observed(authenticated: Authenticated, _label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy by their dotted keys.

    The key is pinned by its name, which covers what it may do; and a root only where a chain was supplied.
    """
    quote, chain = authenticated.evidence.quote, authenticated.chain
    return {
        "ak.key": only(authenticated.evidence.key.name),
        "ak.root": only(chain[-1].key_sha256) if chain else UNCHECKED,
        **{f"pcrs.pcr{number}": only(quote.pcrs.get(number)) for number in NUMBERS},
        "tpm.firmware_version": only(quote.attest.firmware_version.to_bytes(8, "big")),
        "tpm.clock": quote.attest.clock,
        "tpm.clock_safe": state(quote.attest.safe),
        "tpm.resets": [quote.attest.resets],
        "tpm.restarts": [quote.attest.restarts],
    }
