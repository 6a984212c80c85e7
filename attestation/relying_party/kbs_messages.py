"""
What do guests of the KBS protocol ask and answer, and to what is their evidence bound?

Nothing is judged here.  What a message has that nobody here looks at is an error wherever a guest might take
it for looked at.

Source:
    confidential-containers/trustee, kbs/docs/kbs_attestation_protocol.md, and kbs/src/attestation/backend.rs;
    guest-components, attestation-agent/kbs_protocol/src/client/rcar_client.rs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from attestation import json_document
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.relying_party import base64url, jwe
from attestation.relying_party.errors import RequestError
from shim.canonical import JsonValue, canonical_bytes

_VERSION = re.compile(r"0\.4\.[0-9]{1,4}")
_ALGORITHM = "sha-384"  # what a guest takes when the challenge chooses none


@dataclass(frozen=True, slots=True)
class Attestation:
    """
    What a guest answers to a challenge.

    Attributes:
        nonce: The one of the challenge.
        key: The JSON web key that values are to be encrypted to.
        digest: SHA-384 of what the evidence of the machine has to be bound to.
        evidence: Of the machine, as its attester wrapped it.
        device_digest: SHA-384 of what the evidence of devices has to be bound to.
        devices: Their evidence by the names of their attesters.
    """

    nonce: bytes
    key: JsonObject
    digest: bytes
    evidence: JsonObject
    device_digest: bytes
    devices: Mapping[str, JsonObject]


def request(body: bytes) -> tuple[str, tuple[str, ...]]:
    """
    Return for which kind of evidence a guest wants a challenge, and for which kinds of devices beside it.

    Raises:
        RequestError: no request of version 0.4, or one that wants what is not offered.
    """
    try:
        said = json_document.read(body, "request")
        version, tee = said.text("version"), said.text("tee")
        if not _VERSION.fullmatch(version):
            raise RequestError("request.version", repr(version)[:40], "0.4.0")
        # Before release 0.3 of the protocol it was an empty string.
        if said.members.get("extra-params") in (None, ""):
            return tee, ()
        return tee, _devices_of_request(said.part("extra-params"), tee)
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def _devices_of_request(more: JsonObject, tee: str) -> tuple[str, ...]:
    if "supported-hash-algorithms" in more:
        known = more.texts("supported-hash-algorithms")
        if _ALGORITHM not in {one.lower() for one in known}:
            raise RequestError(f"{more.where}.supported-hash-algorithms", ", ".join(known)[:80], _ALGORITHM)
    if more.members.get("attestation-policy-selector") is not None:
        want = "none: the resource names its policies"
        raise RequestError(f"{more.where}.attestation-policy-selector", "one", want)
    if more.members.get("tee-metadata") is None:
        return ()
    metadata = more.part("tee-metadata")
    primary = metadata.part("primary_tee").text("tee")
    if primary != tee:
        raise RequestError(f"{metadata.where}.primary_tee.tee", repr(primary)[:40], f"{tee}, as request.tee")
    if metadata.members.get("additional_tees") is None:
        return ()
    return tuple(one.text("tee") for one in metadata.parts("additional_tees"))


def attestation(body: bytes) -> Attestation:
    """
    Return what a guest sent.

    Raises:
        RequestError: something else.
    """
    try:
        return _attestation(json_document.read(body, "attestation"))
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def _attestation(said: JsonObject) -> Attestation:
    runtime_data, composite = said.part("runtime-data"), said.part("tee-evidence")
    additional = composite.text("additional_evidence")
    if set(runtime_data.members) != {"nonce", "tee-pubkey"}:
        raise RequestError("runtime-data", ", ".join(runtime_data.members)[:80], "nonce and tee-pubkey alone")
    key = runtime_data.part("tee-pubkey")
    jwe.public_key(key)
    bound: dict[str, JsonValue] = {
        "tee-pubkey": cast("JsonValue", runtime_data.members["tee-pubkey"]),
        "nonce": runtime_data.text("nonce"),
    }
    return Attestation(
        base64url.padded(runtime_data.text("nonce"), "runtime-data.nonce"),
        key,
        _digest({**bound, "additional-evidence": additional}),
        composite.part("primary_evidence"),
        _digest(bound),
        _devices(additional),
    )


def _devices(additional: str) -> Mapping[str, JsonObject]:
    """Return the evidence of devices: a document inside a string, so that all read the same bytes of it."""
    where = "tee-evidence.additional_evidence"
    if not additional.strip():
        return {}
    found = json_document.read(additional.encode(), where)
    return {name: found.part(name) for name in found.members}


def _digest(bound: JsonValue) -> bytes:
    """
    Return SHA-384 of canonical JSON.

    Raises:
        RequestError: the runtime data has no canonical form.

    Source:
        guest-components, attestation-agent/kbs_protocol/src/client/rcar_client.rs, `get_composite_evidence`.
    """
    try:
        return hashlib.sha384(canonical_bytes(bound)).digest()
    except ValueError as error:
        raise RequestError(
            "runtime-data", str(error)[:80], "JSON with a canonical form", "RFC 8785"
        ) from error
