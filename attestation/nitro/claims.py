"""What does a document of a Nitro enclave claim, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation.claims import certificate, revocation_list
from attestation.nitro.authenticate import Authenticated
from attestation.nitro.evidence import Evidence
from attestation.nitro.report import Document
from shim.canonical import JsonValue


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what a document says, authentic or not."""
    return {"document": _document(evidence.document)}


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what the document says and by whom it is signed."""
    return {
        "document": _document(authenticated.document),
        "chain": [certificate(one) for one in authenticated.chain],
        "revocation_lists": [revocation_list(one) for one in authenticated.revocation_lists],
    }


def _document(document: Document) -> dict[str, JsonValue]:
    return {
        "module_id": document.module_id,
        "timestamp": document.timestamp.isoformat(timespec="milliseconds"),
        "debug": document.debug,
        **{f"pcr{number}": register.hex() for number, register in document.pcrs.items()},
        "public_key": _hexadecimal(document.public_key),
        "user_data": _hexadecimal(document.user_data),
        "nonce": _hexadecimal(document.nonce),
    }


def _hexadecimal(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
