"""What does a policy say that accepts just this TPM in just this state?"""

from __future__ import annotations

from attestation.observed import UNCHECKED, only, state
from attestation.tpm.authenticate import Authenticated
from attestation.tpm.endorsement import SOFTWARE_MODELS
from attestation.tpm.registers import NUMBERS
from shim.canonical import JsonValue

# They count on while the machine runs.
VOLATILE = frozenset({"tpm.clock", "tpm.resets", "tpm.restarts"})


def observed(authenticated: Authenticated, _label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy by their dotted keys.

    The key is pinned by its name, which covers what it may do; and a root only where a chain was supplied.
    That a credential was opened no evidence shows, and with the key pinned nothing depends on it.
    """
    quote, chain = authenticated.evidence.quote, authenticated.chain
    return {
        "ak.key": only(authenticated.evidence.key.name),
        "ak.root": only(chain[-1].key_sha256) if chain else UNCHECKED,
        **_maker(authenticated),
        **{f"pcrs.pcr{number}": only(quote.pcrs.get(number)) for number in NUMBERS},
        "tpm.firmware_version": only(quote.attest.firmware_version.to_bytes(8, "big")),
        "tpm.clock": quote.attest.clock,
        "tpm.clock_safe": state(quote.attest.safe),
        "tpm.resets": [quote.attest.resets],
        "tpm.restarts": [quote.attest.restarts],
    }


def _maker(authenticated: Authenticated) -> dict[str, JsonValue]:
    endorsed = authenticated.endorsement
    root = UNCHECKED if endorsed is None else only(endorsed.chain[-1].key_sha256)
    is_software = endorsed is not None and endorsed.model in SOFTWARE_MODELS
    return {
        "ek.root": UNCHECKED if is_software else root,
        "ek.software_root": root if is_software else UNCHECKED,
        "ek.activation": UNCHECKED,
    }
