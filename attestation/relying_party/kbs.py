"""
The protocol of Confidential Containers' key broker (KBS), version 0.4: auth, attest, resource.

What differs from our own: the guest names its session by a cookie, report_data is made by another formula,
and values are encrypted to a JSON web key.  A policy takes part in it by saying `binding = "exact"`.  What
does not differ: a nonce is spent once, a resource is released once for it, and by its own policy.

Evidence of devices that comes beside that of the machine has to be accepted too, else nothing is.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.policy import Policy
from attestation.relying_party import base64url, jwe, kbs_evidence, kbs_messages
from attestation.relying_party.challenge import Challenge
from attestation.relying_party.errors import RequestError, SessionError
from attestation.relying_party.kbs_messages import Attestation
from attestation.relying_party.ledger import Session
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.submission import Refusal, Submission
from attestation.result import AttestationResult
from shim.canonical import JsonValue

COOKIE = "kbs-session-id"
_PURPOSE = "kbs session"


def auth(party: RelyingParty, body: bytes, now: datetime) -> tuple[Mapping[str, JsonValue], str]:
    """
    Return a challenge, and the secret by which the guest will name its session.

    Raises:
        RequestError: no request of this version, or for a kind of evidence that no policy accepts.
    """
    tee, devices = kbs_messages.request(body)
    if not _policies(party, kbs_evidence.kind_of(tee)):
        raise RequestError("request.tee", repr(tee)[:40], "a kind that a policy accepts")
    for one in devices:
        if not _policies(party, kbs_evidence.kind_of_devices(one)):
            raise RequestError("additional_tees", repr(one)[:40], "a kind that a policy accepts")
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
    given = kbs_messages.attestation(body)
    tee = cookie.partition(".")[0]
    if not any(
        hmac.compare_digest(f"{tee}.{base64url.encode(mac)}".encode(), cookie.encode())
        for mac in _macs(party, given.nonce, tee)
    ):
        raise SessionError("another session")
    asked = party.question(given.nonce, now)
    try:
        submission, devices = _submission(tee, given, peer), _devices(given, peer)
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error
    affirmed = _judge(party, kbs_evidence.kind_of(tee), asked, (submission, submission), now)
    of_devices: dict[str, AttestationResult] = {}
    for kind, device in devices:
        of_devices |= _judge(party, kind, asked, (submission, device), now)
    key = cast("JsonValue", dict(given.key.members))
    policies = tuple(party.policies[name] for name in affirmed)
    named = tuple(party.policies[name] for name in of_devices)
    session = party.session(asked, submission, policies, key, now, devices=named)
    result = next(iter(affirmed.values()))
    token = party.token(result, asked.nonce, now, {"cnf": {"jwk": key}, "tee-pubkey": key})
    party.affirm(asked, submission, {**affirmed, **of_devices}, session, names=(cookie, token), now=now)
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


def _submission(tee: str, given: Attestation, peer: str) -> Submission:
    found = kbs_evidence.unwrap(tee, given.evidence)
    bound = kbs_evidence.binding(tee, given.digest)
    return Submission(found.evidence, bound, found.certificates, found.event_log, peer)


def _devices(given: Attestation, peer: str) -> Sequence[tuple[str, Submission]]:
    """Return kind and evidence of every device: what came along has to be accepted as well."""
    bound = kbs_evidence.device_binding(given.device_digest)
    found: list[tuple[str, Submission]] = []
    for name, wrapped in given.devices.items():
        kind = kbs_evidence.kind_of_devices(name)
        found += (
            (kind, Submission(one.evidence, bound, one.certificates, one.event_log, peer))
            for one in kbs_evidence.devices(wrapped)
        )
    return found


def _judge(
    party: RelyingParty, kind: str, asked: Challenge, given: tuple[Submission, Submission], now: datetime
) -> Mapping[str, AttestationResult]:
    """
    Return the results of all policies for this kind that affirm evidence; one has to.

    Of `given` the first is what the refusal is recorded for, the second what is judged.
    """
    whole, submission = given
    policies = _policies(party, kind)
    if not policies:
        raise RequestError("tee-evidence", f"evidence of {kind}", "a kind that a policy accepts")
    affirmed: dict[str, AttestationResult] = {}
    refusals: list[Refusal] = []
    for name, policy in policies.items():
        outcome = party.judge(submission, policy, now)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        else:
            affirmed[name] = outcome
    if not affirmed:
        party.refuse(asked, whole, refusals, now)
    return affirmed


def _policies(party: RelyingParty, kind: str) -> Mapping[str, Policy]:
    """Return the policies that take part in this protocol and are about this kind of evidence."""
    return {
        name: policy
        for name, policy in party.policies.items()
        if policy.tee == kind and policy.binding == "exact"
    }


def _mac(party: RelyingParty, nonce: bytes, tee: str) -> bytes:
    return party.ledger.keys.current.mac(_PURPOSE, nonce + tee.encode())


def _macs(party: RelyingParty, nonce: bytes, tee: str) -> tuple[bytes, ...]:
    return tuple(key.mac(_PURPOSE, nonce + tee.encode()) for key in party.ledger.keys.keys)
