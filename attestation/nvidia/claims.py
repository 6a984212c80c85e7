"""What does a device of NVIDIA claim, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation.claims import certificate, revocation_list
from attestation.nvidia.authenticate import Authenticated
from attestation.nvidia.evidence import OPAQUE, Evidence
from attestation.nvidia.manifests import Proven
from attestation.nvidia.revocation import State
from shim.canonical import JsonValue


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what was said, authentic or not."""
    facts: dict[str, JsonValue] = {
        name: evidence.opaque[number].hex() if name == "fwid" else evidence.text(number)
        for number, name in OPAQUE.items()
        if number in evidence.opaque
    }
    return {
        "nonce": evidence.nonce.hex(),
        "device": {**facts, "vbios_version": evidence.vbios_version},
        "measurements": {str(index): value.hex() for index, value in evidence.measurements.items()},
    }


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what was said and by whom it is signed."""
    return {
        **of_evidence(authenticated.evidence),
        "name": authenticated.chain[0].common_name,
        "chain": [certificate(one) for one in authenticated.chain],
        "states": [_state(one) for one in authenticated.states],
        "manifests": {
            "driver": _manifest(authenticated.manifests.driver),
            "vbios": _manifest(authenticated.manifests.vbios),
        },
    }


def _manifest(proven: Proven | None) -> JsonValue:
    """Return which manifest there is, and by whom it is signed."""
    if proven is None:
        return None
    return {
        "version": proven.manifest.version,
        "product": proven.manifest.product,
        "measurements": len(proven.manifest.golden),
        "sha256": proven.manifest.sha256.hex(),
        "chain": [certificate(one) for one in proven.chain],
        "states": [_state(one) for one in proven.states],
    }


def _state(state: State) -> dict[str, JsonValue]:
    """Return what is said of a certificate, and by whom."""
    facts: dict[str, JsonValue] = {"name": state.certificate.common_name, "state": "unchecked"}
    if state.revocation_list is not None:
        facts |= {"state": "not on the list", "list": revocation_list(state.revocation_list)}
    if state.answer is not None:
        response = state.answer.response
        facts |= {
            "state": response.reason or response.state,
            "this_update": response.this_update.isoformat(),
            "next_update": response.next_update.isoformat(),
            "nonce": None if response.nonce is None else response.nonce.hex(),
            "responder": state.answer.responder.common_name,
        }
    return facts
