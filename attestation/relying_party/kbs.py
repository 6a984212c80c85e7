"""
The protocol of Confidential Containers' key broker (KBS), version 0.4: auth, attest, resource.

What differs from our own: the guest names its session by a cookie, report_data is made by another formula,
and values are encrypted to a JSON web key.  A policy takes part in it by saying `binding = "exact"`.  What
does not differ: a nonce is spent once, a resource is released once for it, and by its own policy.

Source:
    confidential-containers/trustee, kbs/docs/kbs_attestation_protocol.md, and kbs/src/attestation/backend.rs;
    guest-components, attestation-agent/kbs_protocol/src/client/rcar_client.rs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from attestation import json_document
from attestation.binding import SIZE, Exact
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.policy import Policy
from attestation.relying_party import base64url, jwe, kbs_evidence
from attestation.relying_party.challenge import Challenge
from attestation.relying_party.errors import RequestError, SessionError
from attestation.relying_party.ledger import Session
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.submission import Refusal, Submission
from attestation.result import AttestationResult
from shim.canonical import JsonValue, canonical_bytes

COOKIE = "kbs-session-id"
_VERSION = re.compile(r"0\.4\.[0-9]{1,4}")
_PURPOSE = "kbs session"


@dataclass(frozen=True, slots=True)
class Attestation:
    """
    What a guest answers to a challenge.

    Attributes:
        nonce: The one of the challenge.
        key: The JSON web key that values are to be encrypted to.
        report_data: What evidence has to be bound to.
        evidence: As the guest's attester wrapped it.
    """

    nonce: bytes
    key: JsonObject
    report_data: bytes
    evidence: JsonObject


def auth(party: RelyingParty, body: bytes, now: datetime) -> tuple[Mapping[str, JsonValue], str]:
    """
    Return a challenge, and the secret by which the guest will name its session.

    Raises:
        RequestError: no request of this version, or for a kind of evidence that no policy accepts.
    """
    try:
        request = json_document.read(body, "request")
        version, tee = request.text("version"), request.text("tee")
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error
    if not _VERSION.fullmatch(version):
        raise RequestError("request.version", repr(version)[:40], "0.4.0")
    if not _policies(party, tee):
        raise RequestError("request.tee", repr(tee)[:40], "a kind that a policy accepts")
    asked = party.challenge(now)
    challenge: Mapping[str, JsonValue] = {
        "nonce": base64url.encode_padded(asked.nonce),
        "extra-params": {},  # no algorithm is chosen: then it is SHA-384
    }
    return challenge, f"{tee}.{base64url.encode(_mac(party, asked.nonce, tee))}"


def attest(
    party: RelyingParty, cookie: str, body: bytes, peer: str, now: datetime
) -> tuple[Mapping[str, JsonValue], int]:
    """
    Return the token of affirmed evidence, and when the session ends.

    Raises:
        RequestError: no attestation; the nonce counts still.
        SessionError: the cookie is not that of the challenge.
        RefusedError: the nonce or the evidence is not accepted.
        UnavailableError: the store cannot be used.
    """
    given = parse(body)
    tee = cookie.partition(".")[0]
    if not any(
        hmac.compare_digest(f"{tee}.{base64url.encode(mac)}".encode(), cookie.encode())
        for mac in _macs(party, given.nonce, tee)
    ):
        raise SessionError("another session")
    asked = party.question(given.nonce, now)
    submission = _submission(tee, given, peer)
    affirmed = _judge(party, tee, asked, submission, now)
    key = cast("JsonValue", dict(given.key.members))
    policies = tuple(party.policies[name] for name in affirmed)
    session = party.session(asked, submission, policies, key, now)
    result = next(iter(affirmed.values()))
    token = party.token(result, asked.nonce, now, {"cnf": {"jwk": key}, "tee-pubkey": key})
    party.affirm(asked, submission, affirmed, session, names=(cookie, token), now=now)
    return {"token": token}, session.expires


def resource(
    party: RelyingParty, secret: str, name: str, peer: str, now: datetime
) -> Mapping[str, JsonValue]:
    """
    Return a resource, encrypted to the key of the session that a cookie or token names.

    Raises:
        SessionError: no such session.
        ReleaseError: not by this policy, or released for this nonce already.
        RequestError, UnknownResourceError, StoreIntegrityError, UnavailableError: see `RelyingParty.redeem`.
    """
    session = party.ledger.session(secret, now=int(now.timestamp()))
    key = session_key(session)
    return party.redeem(
        session, name, lambda found: jwe.encrypt(found.value, key, party.random), peer=peer, now=now
    )


def session_key(session: Session) -> JsonObject:
    """
    Return the JSON web key of a session.

    Raises:
        SessionError: it is one of the other protocol.
    """
    if not isinstance(session.key, Mapping):
        raise SessionError("one of another protocol")
    return JsonObject(session.key, "session")


def parse(body: bytes) -> Attestation:
    """
    Return what a guest sent.

    Raises:
        RequestError: something else, or evidence of more devices than one: what nobody here looks at must not
            seem to have been looked at.
    """
    try:
        return _parse(json_document.read(body, "attestation"))
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def report_data(runtime_data: JsonObject, additional_evidence: str) -> bytes:
    """
    Return what has to be in the evidence: SHA-384 of the canonical runtime data, zeros up to 64 bytes.

    Raises:
        RequestError: the runtime data has no canonical form.

    Source:
        guest-components, attestation-agent/kbs_protocol/src/client/rcar_client.rs, `get_composite_evidence`.
    """
    bound = {
        "tee-pubkey": cast("JsonValue", runtime_data.members["tee-pubkey"]),
        "nonce": runtime_data.text("nonce"),
        "additional-evidence": additional_evidence,
    }
    try:
        return hashlib.sha384(canonical_bytes(bound)).digest().ljust(SIZE, b"\0")
    except ValueError as error:
        raise RequestError(
            "runtime-data", str(error)[:80], "JSON with a canonical form", "RFC 8785"
        ) from error


def _parse(said: JsonObject) -> Attestation:
    runtime_data, composite = said.part("runtime-data"), said.part("tee-evidence")
    additional = composite.text("additional_evidence")
    if additional.strip() not in {"", "{}"}:
        raise RequestError("tee-evidence.additional_evidence", "more evidence", "none")
    if set(runtime_data.members) != {"nonce", "tee-pubkey"}:
        raise RequestError("runtime-data", ", ".join(runtime_data.members)[:80], "nonce and tee-pubkey alone")
    key = runtime_data.part("tee-pubkey")
    jwe.public_key(key)
    return Attestation(
        base64url.padded(runtime_data.text("nonce"), "runtime-data.nonce"),
        key,
        report_data(runtime_data, additional),
        composite.part("primary_evidence"),
    )


def _submission(tee: str, given: Attestation, peer: str) -> Submission:
    try:
        found = kbs_evidence.unwrap(tee, given.evidence)
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error
    return Submission(found.evidence, Exact(given.report_data), found.certificates, found.event_log, peer)


def _judge(
    party: RelyingParty, tee: str, asked: Challenge, submission: Submission, now: datetime
) -> Mapping[str, AttestationResult]:
    """Return the results of all policies for this kind that affirm the evidence; one has to."""
    affirmed: dict[str, AttestationResult] = {}
    refusals: list[Refusal] = []
    for name, policy in _policies(party, tee).items():
        outcome = party.judge(submission, policy, now)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        else:
            affirmed[name] = outcome
    if not affirmed:
        party.refuse(asked, submission, refusals, now)
    return affirmed


def _policies(party: RelyingParty, tee: str) -> Mapping[str, Policy]:
    """Return the policies that take part in this protocol and are about this kind of evidence."""
    kind = kbs_evidence.kind_of(tee)
    return {
        name: policy
        for name, policy in party.policies.items()
        if policy.tee == kind and policy.binding == "exact"
    }


def _mac(party: RelyingParty, nonce: bytes, tee: str) -> bytes:
    return party.ledger.keys.current.mac(_PURPOSE, nonce + tee.encode())


def _macs(party: RelyingParty, nonce: bytes, tee: str) -> tuple[bytes, ...]:
    return tuple(key.mac(_PURPOSE, nonce + tee.encode()) for key in party.ledger.keys.keys)
