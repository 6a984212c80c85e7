"""Challenge, attest, fetch: what is released to whom, and everything that is not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from attestation import ear_token
from attestation.binding import report_data
from attestation.ear_token import SigningKeyError
from attestation.errors import NotAuthenticError
from attestation.relying_party import audit, base64url, exchange, token
from attestation.relying_party.database import Database
from attestation.relying_party.errors import (
    RefusedError,
    ReleaseError,
    RelyingPartyError,
    RequestError,
    SessionError,
    UnavailableError,
    UnknownResourceError,
)
from attestation.relying_party.party import RelyingParty
from attestation.simulated.collect import collect
from attestation.verdict import Verdict
from tests.fakes import relying_party as fakes
from tests.fakes.relying_party import NOW, SECRET, Machine, encoded


def challenge(party: RelyingParty) -> str:
    return str(exchange.challenge(party, b"", NOW)["nonce"])


def attest(party: RelyingParty, machine: Machine, resource: str = "disk", **others: Any) -> dict[str, Any]:  # noqa: ANN401
    request = machine.request(challenge(party), resource, **others)
    return dict(exchange.attest(party, encoded(request), "peer", NOW))


def log(party: RelyingParty) -> list[dict[str, Any]]:
    audit.verify(party.ledger.database, party.ledger.keys)
    return [json.loads(entry) for _, _, entry, _ in audit.entries(party.ledger.database, "one")]


def test_affirmed_evidence_gets_the_resource_and_a_token(party: RelyingParty) -> None:
    machine = Machine()
    answer = attest(party, machine)
    assert (machine.open(answer), answer["resource"], answer["version"]) == (SECRET, "disk", 1)
    (key,) = token.key_set(party.signing_key)["keys"]  # type: ignore[misc,union-attr]
    claims = jwt.decode(answer["token"], jwt.PyJWK(key), algorithms=["ES256"], options={"verify_exp": False})
    assert claims["eat_nonce"] == base64url.encode(machine.nonce)
    assert claims["cnf"] == {"jwk": {"kty": "OKP", "crv": "X25519", "x": base64url.encode(machine.public)}}
    sealed = base64url.decode(answer["sealed"], "sealed")
    assert claims["shim_release"] == {
        "resource": "disk",
        "version": 1,
        "sha256": hashlib.sha256(sealed).hexdigest(),
    }
    assert claims["submods"]["SIMULATED"]["ear.status"] == "contraindicated"
    entry = log(party)[-1]
    assert (entry["event"], entry["released"], entry["tee"]) == ("attested", "disk", ["SIMULATED"])
    assert entry["nonce"] == machine.nonce.hex()
    assert entry["evidence_sha256"] == hashlib.sha256(machine.evidence).hexdigest()


def test_the_same_answer_twice_is_a_replay(party: RelyingParty) -> None:
    request = encoded(Machine().request(challenge(party)))
    exchange.attest(party, request, "peer", NOW)
    with pytest.raises(RefusedError) as caught:
        exchange.attest(party, request, "thief", NOW)
    assert caught.value.verdict is Verdict.WRONG_BINDING
    assert [(one["event"], one.get("peer")) for one in log(party)][-1] == ("replayed", "thief")


def test_of_many_replays_at_once_one_is_answered(database: Database) -> None:
    party = fakes.party(database)
    request = encoded(Machine().request(challenge(party)))

    def one(_: int) -> str:
        try:
            exchange.attest(party, request, "peer", NOW)
        except RefusedError as error:
            return error.verdict.value
        return "released"

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(one, range(24)))
    assert sorted(outcomes) == ["released"] + ["stale nonce or wrong binding"] * 23
    assert [one["event"] for one in log(party)].count("attested") == 1


Change = Callable[[dict[str, Any]], dict[str, Any]]


def other_key(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "public_key": base64url.encode(Machine().public)}


def other_plan(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "plan_digest": base64url.encode(b"p" * 32)}


def old_evidence(request: dict[str, Any]) -> dict[str, Any]:
    public = base64url.decode(request["public_key"], "")
    old = collect(report_data(b"o" * 32, public, bytes(32)))[0]
    return {**request, "evidence": base64url.encode(old)}


def changed_measurement(request: dict[str, Any]) -> dict[str, Any]:
    raw = bytearray(base64url.decode(request["evidence"], ""))
    raw[0x90] ^= 1
    return {**request, "evidence": base64url.encode(bytes(raw))}


def cut(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "evidence": request["evidence"][:100]}


def log_of_no_registers(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "event_log": base64url.encode(b"log")}


def no_certificates(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "certificates": base64url.encode(b"none")}


REFUSALS: dict[Change, Verdict] = {
    other_key: Verdict.WRONG_BINDING,
    other_plan: Verdict.WRONG_BINDING,
    old_evidence: Verdict.WRONG_BINDING,
    changed_measurement: Verdict.NOT_AUTHENTIC,
    cut: Verdict.MALFORMED,
    log_of_no_registers: Verdict.MALFORMED,
    no_certificates: Verdict.MALFORMED,
}


@pytest.mark.parametrize("change", REFUSALS, ids=lambda one: one.__name__)
def test_a_refusal_tells_the_verdict_and_spends_the_nonce(party: RelyingParty, change: Change) -> None:
    machine = Machine()
    right = machine.request(challenge(party))
    with pytest.raises(RefusedError) as caught:
        exchange.attest(party, encoded(change(right)), "peer", NOW)
    assert caught.value.verdict is REFUSALS[change]
    assert str(caught.value) == REFUSALS[change].value
    entry = log(party)[-1]
    assert (entry["event"], entry["verdict"]) == ("refused", REFUSALS[change].value)
    assert entry["policies"][0]["reasons"]
    with pytest.raises(RefusedError) as again:  # the right answer comes too late
        exchange.attest(party, encoded(right), "peer", NOW)
    assert again.value.verdict is Verdict.WRONG_BINDING


def test_the_log_has_a_bounded_reason(party: RelyingParty) -> None:
    strict = fakes.policy(fakes.POLICY.read_text().replace("65468baf", "00000000"), "strict")
    other = fakes.party(party.ledger.database, {"sim": strict})
    with pytest.raises(RefusedError) as caught:
        attest(other, Machine())
    assert caught.value.verdict is Verdict.POLICY_MISMATCH
    (reason,) = log(other)[-1]["policies"][0]["reasons"]
    assert reason.startswith("report.measurement: found 65468baf")
    assert len(reason) <= 300


def test_nonces_of_nobody_and_of_long_ago(party: RelyingParty) -> None:
    before = len(log(party))
    for nonce, now in (
        (base64url.encode(os.urandom(32)), NOW),
        (challenge(party), NOW + timedelta(seconds=121)),
    ):
        with pytest.raises(RefusedError) as caught:
            exchange.attest(party, encoded(Machine().request(nonce)), "peer", now)
        assert caught.value.verdict is Verdict.WRONG_BINDING
    assert len(log(party)) == before  # what anybody can make up fills no log


def test_a_resource_that_is_not_there_spends_nothing(party: RelyingParty) -> None:
    machine = Machine()
    nonce = challenge(party)
    with pytest.raises(UnknownResourceError):
        exchange.attest(party, encoded(machine.request(nonce, "nothing")), "peer", NOW)
    exchange.attest(party, encoded(machine.request(nonce)), "peer", NOW)


def test_a_policy_that_this_instance_has_not_releases_nothing(party: RelyingParty) -> None:
    fakes.put(party, "far", b"1", "unknown")
    with pytest.raises(UnavailableError, match="unknown"):
        attest(party, Machine(), "far")


def test_a_policy_of_the_other_protocol_releases_nothing_here(party: RelyingParty) -> None:
    fakes.put(party, "kbs/only/this", b"1", "kbs")
    with pytest.raises(RefusedError) as caught:
        attest(party, Machine(), "kbs/only/this")
    assert caught.value.verdict is Verdict.WRONG_BINDING


# --- fetching more


def test_another_resource_of_the_same_policy_once(party: RelyingParty) -> None:
    fakes.put(party, "more", b"more")
    fakes.put(party, "strict", b"strict", "other")
    machine = Machine()
    secret = attest(party, machine)["token"]
    answer = exchange.fetch(party, secret, "more", "peer", NOW)
    assert machine.open(answer, "more") == b"more"
    for name in ("more", "disk", "strict"):
        with pytest.raises(ReleaseError):
            exchange.fetch(party, secret, name, "peer", NOW)
    reasons = [(one["event"], one["resource"], one.get("reason")) for one in log(party)[-4:]]
    assert reasons == [
        ("released", "more", None),
        ("withheld", "more", "released before"),
        ("withheld", "disk", "released before"),
        ("withheld", "strict", "another policy"),
    ]


def test_of_many_that_fetch_at_once_one_gets_it(party: RelyingParty) -> None:
    fakes.put(party, "more", b"more")
    secret = attest(party, Machine())["token"]

    def one(_: int) -> bool:
        try:
            return bool(exchange.fetch(party, secret, "more", "peer", NOW))
        except ReleaseError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(16))) == 1


def test_a_policy_that_was_changed_since_releases_nothing_more(party: RelyingParty) -> None:
    secret = attest(party, Machine())["token"]
    fakes.put(party, "more", b"more")
    changed = fakes.policy(fakes.POLICY.read_text() + "# stricter since\n")
    later = fakes.party(party.ledger.database, {"sim": changed})
    with pytest.raises(ReleaseError):
        exchange.fetch(later, secret, "more", "peer", NOW)


def test_tokens_of_nobody_of_long_ago_and_changed_ones(party: RelyingParty) -> None:
    fakes.put(party, "more", b"more")
    secret = attest(party, Machine())["token"]
    for bad in ("", "x", secret[:-1], secret + "A", secret.upper()):
        with pytest.raises(SessionError):
            exchange.fetch(party, bad, "more", "peer", NOW)
    with pytest.raises(SessionError):
        exchange.fetch(party, secret, "more", "peer", NOW + timedelta(seconds=301))


def test_a_token_signed_by_the_same_key_but_given_to_nobody(party: RelyingParty) -> None:
    """A signature makes no session: only what was written into the store does."""
    made = ear_token.sign({"eat_nonce": "x"}, party.signing_key)
    with pytest.raises(SessionError):
        exchange.fetch(party, made, "disk", "peer", NOW)


# --- requests that are none


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nonce": None}, "request: found evidence, public_key, resource, want"),
        ({"evidence": None}, "request: found"),
        ({"public_key": None}, "request: found"),
        ({"resource": None}, "request: found"),
        ({"more": "1"}, "request: found"),
        ({"nonce": "AA"}, "request.nonce: found 1 bytes, want 32 bytes"),
        ({"nonce": 5}, "request.nonce: found 5, want a string"),
        ({"nonce": ["a"]}, "request.nonce"),
        ({"public_key": base64url.encode(bytes(31))}, "31 bytes"),
        ({"public_key": base64url.encode(bytes(32))}, "public_key: found a point of small order"),
        ({"plan_digest": base64url.encode(bytes(33))}, "33 bytes"),
        ({"evidence": ""}, "request.evidence: found 0 bytes"),
        ({"evidence": "AA=="}, "base64url without padding"),
        ({"evidence": "A"}, "base64url without padding"),
        ({"evidence": "AB"}, "base64url without padding"),  # bits that are left over and not zero
        ({"evidence": "+/+/"}, "base64url without padding"),
        ({"evidence": "AA AA"}, "base64url without padding"),
        ({"evidence": base64url.encode(bytes((1 << 20) + 1))}, "1048577 bytes, want 1 to 1048576"),
        ({"certificates": ""}, "request.certificates: found 0 bytes"),
        ({"event_log": ""}, "request.event_log: found 0 bytes"),
        ({"resource": "../etc"}, "resource: found '../etc'"),
        ({"resource": ""}, "resource: found ''"),
        ({"resource": "a" * 1000}, "resource: found"),
    ],
)
def test_a_malformed_request_says_what_is_wrong_and_spends_nothing(
    party: RelyingParty, change: dict[str, Any], said: str
) -> None:
    machine = Machine()
    nonce = challenge(party)
    if change.get("public_key") == base64url.encode(bytes(32)):
        machine = SmallOrder()
    with pytest.raises(RequestError) as caught:
        exchange.attest(party, encoded(changed(machine.request(nonce), change)), "peer", NOW)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
    exchange.attest(party, encoded(Machine().request(nonce)), "peer", NOW)


def changed(request: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**request, **change}.items() if value is not None}


class SmallOrder(Machine):
    """Evidence that vouches for a key which everybody has."""

    @property
    def public(self) -> bytes:
        return bytes(32)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1}', b"null"])
def test_a_question_is_asked_with_nothing(party: RelyingParty, body: bytes) -> None:
    with pytest.raises(RequestError):
        exchange.challenge(party, body, NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"nonce":1,"nonce":2}',
        b"NaN",
        b"[" * 100_000,
        b'"\\ud800"',
        b"1e999",
    ],
)
def test_bodies_that_are_no_json_object(party: RelyingParty, body: bytes) -> None:
    with pytest.raises(RequestError):
        exchange.attest(party, body, "peer", NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(
        ["nonce", "resource", "evidence", "public_key", "plan_digest", "certificates", "event_log"]
    ),
    JSON,
)
def test_whatever_stands_in_a_request_only_our_own_errors_answer(
    party: RelyingParty,
    name: str,
    value: Any,  # noqa: ANN401
) -> None:
    request = {**Machine().request(challenge(party)), name: value}
    try:
        exchange.attest(party, encoded(request), "peer", NOW)
    except RelyingPartyError:
        return
    assert name == "plan_digest" or value == request["resource"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=2000))
def test_whatever_is_sent_as_evidence_is_refused(party: RelyingParty, evidence: bytes) -> None:
    request = Machine().request(challenge(party), evidence=base64url.encode(evidence))
    with pytest.raises((RefusedError, RequestError)):
        exchange.attest(party, encoded(request), "peer", NOW)


# --- the token in the eyes of a client


def test_a_client_takes_the_token_of_its_own_question_and_release_alone(party: RelyingParty) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    def public(pem: bytes) -> bytes:
        key = serialization.load_pem_private_key(pem, None).public_key()
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    machine = Machine()
    answer = attest(party, machine)
    own = public(party.signing_key.pem)
    digest = hashlib.sha256(base64url.decode(answer["sealed"], "sealed")).hexdigest()
    right: dict[str, Any] = {"nonce": machine.nonce, "resource": "disk", "sealed_sha256": digest}
    token.check(answer["token"], own, **right)
    for name, value in (("nonce", bytes(32)), ("resource", "other"), ("sealed_sha256", "00" * 32)):
        with pytest.raises(NotAuthenticError):
            token.check(answer["token"], own, **{**right, name: value})
    with pytest.raises(NotAuthenticError):
        token.check(answer["token"], public(token.fresh_key().pem), **right)
    for bad in ("", "a.b", "a.b.c", answer["token"][:-2], "é"):
        with pytest.raises(NotAuthenticError):
            token.check(bad, own, **right)
    header = base64url.encode(b'{"alg":"none"}')
    with pytest.raises(NotAuthenticError):
        token.check(f"{header}.{answer['token'].split('.')[1]}.", own, **right)
    for bad_key in (b"", b"no key", party.signing_key.pem):
        with pytest.raises(SigningKeyError):
            token.check(answer["token"], bad_key, **right)
