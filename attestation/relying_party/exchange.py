"""
The project's own protocol, version 1: challenge, attest, resource, as JSON in and JSON out.

Bytes are base64url without padding.  What is released is sealed to the X25519 key that the evidence vouches
for, and the token names its digest: who has the relying party's public key knows who sealed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from attestation import eventlog, json_document
from attestation.binding import NONCE_SIZE, PLAN_DIGEST_SIZE, PUBLIC_KEY_SIZE, Shim
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.files import MAXIMUM_SIZE
from attestation.json_document import JsonObject
from attestation.relying_party import base64url, release, token
from attestation.relying_party.errors import RequestError
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.release import Context
from attestation.relying_party.resources import Resource, check_name
from attestation.relying_party.submission import Refusal, Submission
from shim.canonical import JsonValue

LARGEST_REQUEST = 4 * (MAXIMUM_SIZE + MAXIMUM_SIZE // 2)
_REQUIRED = frozenset({"nonce", "resource", "evidence", "public_key"})
_OPTIONAL = frozenset({"plan_digest", "certificates", "event_log"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a machine sends to be attested."""

    nonce: bytes
    resource: str
    public_key: bytes
    submission: Submission


def challenge(party: RelyingParty, body: bytes, now: datetime) -> Mapping[str, JsonValue]:
    """
    Return a question.

    Raises:
        RequestError: a body that is neither nothing nor an empty object.
    """
    if body and _object(body).members:
        raise RequestError("request", "more", "{} or nothing")
    made = party.challenge(now)
    return {"nonce": base64url.encode(made.nonce), "expires": made.expires}


def attest(party: RelyingParty, body: bytes, peer: str, now: datetime) -> Mapping[str, JsonValue]:
    """
    Return the token of affirmed evidence and the sealed resource that was asked for.

    Raises:
        RequestError: the request is malformed; the nonce counts still.
        UnknownResourceError: so is it then.
        RefusedError: the nonce or the evidence is not accepted.
        UnavailableError, StoreIntegrityError: the store cannot be used.
    """
    request = parse(body, peer)
    asked = party.question(request.nonce, now)
    resource = party.resource(request.resource)
    policy = party.policy_of(resource)
    result = party.judge(request.submission, policy, now)
    if isinstance(result, Refusal):
        party.refuse(asked, request.submission, (result,), now)
    key = base64url.encode(request.public_key)
    session = party.session(asked, request.submission, (policy,), key, now)
    sealed = _seal(resource, request.public_key, Context(asked.nonce, session.evidence_sha256, resource.name))
    signed = party.token(result, asked.nonce, now, _more(key, resource, sealed))
    party.affirm(
        asked,
        request.submission,
        {resource.policy: result},
        session,
        names=(signed,),
        now=now,
        released=resource,
    )
    return {"token": signed, **_released(resource, sealed)}


def fetch(party: RelyingParty, secret: str, name: str, peer: str, now: datetime) -> Mapping[str, JsonValue]:
    """
    Return another sealed resource to a machine that was affirmed.

    Raises:
        SessionError: the token is none of ours, or too old.
        ReleaseError: not by this policy, or released already.
        RequestError, UnknownResourceError, UnavailableError, StoreIntegrityError: as in `attest`.
    """
    session = party.ledger.session(secret, now=int(now.timestamp()))
    if not isinstance(session.key, str):
        raise RequestError("token", "one of the KBS protocol", "one of this protocol")
    public_key = base64url.decode(session.key, "session")
    context = Context(session.nonce, session.evidence_sha256, name)
    return party.redeem(
        session,
        name,
        lambda resource: _released(resource, _seal(resource, public_key, context)),
        peer=peer,
        now=now,
    )


def parse(body: bytes, peer: str) -> Request:
    """
    Return what was sent.

    Raises:
        RequestError: something else than a request.
    """
    try:
        return _parse(_object(body), peer)
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def _object(body: bytes) -> JsonObject:
    try:
        return json_document.read(body, "request")
    except EvidenceFormatError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def _parse(request: JsonObject, peer: str) -> Request:
    names = frozenset(request.members)
    if not _REQUIRED <= names <= _REQUIRED | _OPTIONAL:
        found = ", ".join(sorted(names)[:20]) or "nothing"
        want = f"{', '.join(sorted(_REQUIRED))}, and perhaps {', '.join(sorted(_OPTIONAL))}"
        raise RequestError("request", found[:200], want)
    nonce = base64url.member(request, "nonce", size=NONCE_SIZE)
    public_key = base64url.member(request, "public_key", size=PUBLIC_KEY_SIZE)
    plan = bytes(PLAN_DIGEST_SIZE)
    if "plan_digest" in request:
        plan = base64url.member(request, "plan_digest", size=PLAN_DIGEST_SIZE)
    certificates, event_log = b"", None
    if "certificates" in request:
        certificates = base64url.member(request, "certificates", most=MAXIMUM_SIZE)
    if "event_log" in request:
        event_log = base64url.member(request, "event_log", most=eventlog.MAXIMUM_SIZE)
    return Request(
        nonce,
        check_name(request.text("resource")),
        public_key,
        Submission(
            base64url.member(request, "evidence", most=MAXIMUM_SIZE),
            Shim(nonce, public_key, plan),
            certificates,
            event_log,
            peer,
        ),
    )


def _seal(resource: Resource, public_key: bytes, context: Context) -> bytes:
    try:
        return release.seal(resource.value, public_key, context)
    except NotAuthenticError as error:
        raise RequestError(error.where, error.found, error.want, error.source) from error


def _released(resource: Resource, sealed: bytes) -> Mapping[str, JsonValue]:
    return {"resource": resource.name, "version": resource.version, "sealed": base64url.encode(sealed)}


def _more(key: str, resource: Resource, sealed: bytes) -> Mapping[str, JsonValue]:
    """The key that the evidence vouches for (RFC 7800), and what was released to it."""
    return {
        "cnf": {"jwk": {"kty": "OKP", "crv": "X25519", "x": key}},
        token.CLAIM: {
            "resource": resource.name,
            "version": resource.version,
            "sha256": hashlib.sha256(sealed).hexdigest(),
        },
    }
