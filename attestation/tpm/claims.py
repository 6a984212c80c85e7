"""What does a TPM claim, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation import bits
from attestation.claims import certificate, revocation_list
from attestation.tpm.authenticate import Authenticated
from attestation.tpm.endorsement import SOFTWARE_MODELS, Endorsement
from attestation.tpm.evidence import Evidence
from attestation.tpm.public_area import ATTRIBUTES, PublicArea
from attestation.tpm.quote import Quote
from attestation.tpm.signature import SCHEMES
from shim.canonical import JsonValue


def of_quote(quote: Quote) -> dict[str, JsonValue]:
    """Return what a quote says, and the registers that it covers."""
    attest = quote.attest
    return {
        "extra_data": attest.extra_data.hex(),
        "firmware_version": f"0x{attest.firmware_version:x}",
        "clock": f"{attest.clock} ms",
        "clock_safe": attest.safe,
        "resets": attest.resets,
        "restarts": attest.restarts,
        **{f"pcr{number}": register.hex() for number, register in quote.pcrs.items()},
    }


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what was said, authentic or not."""
    said = evidence.endorsement
    return {
        "quote": of_quote(evidence.quote),
        "ak": _key(evidence.key),
        **({} if said is None else {"ek": {"name": said.key.name.hex()}}),
    }


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what was said and what its endorsements add."""
    key = {**_key(authenticated.evidence.key), "sha256": authenticated.key_sha256.hex()}
    return {
        "quote": of_quote(authenticated.evidence.quote),
        "ak": key,
        **({} if authenticated.endorsement is None else {"ek": _maker(authenticated.endorsement)}),
        "chain": [certificate(one) for one in authenticated.chain],
        "revocation_lists": [revocation_list(one) for one in authenticated.revocation_lists],
    }


def _maker(endorsed: Endorsement) -> dict[str, JsonValue]:
    """Return which TPM it is; `software` is what its own certificate says, and nothing else says not."""
    return {
        "name": endorsed.key.name.hex(),
        "manufacturer": endorsed.manufacturer,
        "model": endorsed.model,
        "version": endorsed.version,
        "software": endorsed.model in SOFTWARE_MODELS,
        "chain": [certificate(one) for one in endorsed.chain],
    }


def _key(key: PublicArea) -> dict[str, JsonValue]:
    return {
        "name": key.name.hex(),
        "scheme": None if key.scheme is None else SCHEMES[key.scheme],
        **bits.flags(key.attributes, ATTRIBUTES),
    }
