"""The protocol of Confidential Containers, asked as its guests ask, and by everybody else."""

from __future__ import annotations

import base64
import json
import os
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings, strategies as st

from attestation import endorsements
from attestation.errors import AttestationError, EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.relying_party import audit, exchange, jwe, kbs, kbs_evidence, token
from attestation.relying_party.database import Database
from attestation.relying_party.errors import RefusedError, ReleaseError, RequestError, SessionError
from attestation.relying_party.kbs_snp import report
from attestation.relying_party.party import RelyingParty
from attestation.verdict import Verdict
from tests import vectors
from tests.fakes import policies, relying_party as fakes
from tests.fakes.kbs import Guest, taken_apart
from tests.fakes.relying_party import NOW, Machine, encoded
from tests.vectors import Case

NAME = "default/key/1"
KEYS = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
}


@pytest.fixture(autouse=True)
def resource(party: RelyingParty) -> None:
    fakes.put(party, NAME, b"what a guest asks for", "kbs")


def begin(party: RelyingParty, guest: Guest) -> tuple[dict[str, Any], str]:
    challenge, cookie = kbs.auth(party, encoded(guest.request()), NOW)
    return dict(challenge), cookie


def attest(party: RelyingParty, guest: Guest) -> tuple[str, str]:
    """Return cookie and token."""
    challenge, cookie = begin(party, guest)
    answer, _ = kbs.attest(party, cookie, encoded(guest.attestation(challenge)), "peer", NOW)
    return cookie, str(answer["token"])


@pytest.mark.parametrize("kind", KEYS)
def test_a_guest_gets_what_it_asks_for(party: RelyingParty, kind: str) -> None:
    guest = Guest(KEYS[kind])
    challenge, cookie = begin(party, guest)
    assert set(challenge) == {"nonce", "extra-params"}
    assert len(base64.b64decode(challenge["nonce"], validate=True)) == 32
    answer, expires = kbs.attest(party, cookie, encoded(guest.attestation(challenge)), "peer", NOW)
    assert expires == int(NOW.timestamp()) + 300
    (key,) = token.key_set(party.signing_key)["keys"]  # type: ignore[misc,union-attr]
    said = jwt.decode(answer["token"], jwt.PyJWK(key), algorithms=["ES256"], options={"verify_exp": False})
    assert said["tee-pubkey"] == guest.jwk
    found = kbs.resource(party, cookie, NAME, "peer", NOW)
    assert set(found) == {"protected", "encrypted_key", "iv", "ciphertext", "tag"}
    assert guest.open(found) == b"what a guest asks for"  # type: ignore[arg-type]


def test_a_token_names_the_session_as_well(party: RelyingParty) -> None:
    guest = Guest()
    _, bearer = attest(party, guest)
    assert guest.open(kbs.resource(party, bearer, NAME, "peer", NOW)) == b"what a guest asks for"  # type: ignore[arg-type]


def test_cookie_and_token_are_one_session_and_a_resource_is_released_once(party: RelyingParty) -> None:
    cookie, bearer = attest(party, Guest())
    kbs.resource(party, cookie, NAME, "peer", NOW)
    for secret in (cookie, bearer):
        with pytest.raises(ReleaseError):
            kbs.resource(party, secret, NAME, "peer", NOW)


def test_resources_of_the_other_protocol_are_not_released(party: RelyingParty) -> None:
    cookie, _ = attest(party, Guest())
    with pytest.raises(ReleaseError):
        kbs.resource(party, cookie, "disk", "peer", NOW)
    machine = Machine()
    request = machine.request(str(exchange.challenge(party, b"", NOW)["nonce"]))
    own = str(exchange.attest(party, encoded(request), "peer", NOW)["token"])
    with pytest.raises(SessionError):
        kbs.resource(party, own, "disk", "peer", NOW)
    with pytest.raises(RequestError):
        exchange.fetch(party, cookie, NAME, "peer", NOW)


def test_an_answer_twice_is_a_replay(party: RelyingParty) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    body = encoded(guest.attestation(challenge))
    kbs.attest(party, cookie, body, "peer", NOW)
    with pytest.raises(RefusedError) as caught:
        kbs.attest(party, cookie, body, "peer", NOW)
    assert caught.value.verdict is Verdict.WRONG_BINDING


def test_cookies_of_nobody_and_of_others(party: RelyingParty) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    _, other = begin(party, guest)
    tee, _, mac = cookie.partition(".")
    for bad in ("", ".", other, cookie[:-1], f"snp.{mac}", f"{tee}.", "é.x", f"{tee}.{mac}A"):
        with pytest.raises(SessionError):
            kbs.attest(party, bad, encoded(guest.attestation(challenge)), "peer", NOW)
        with pytest.raises(SessionError):
            kbs.resource(party, bad, NAME, "peer", NOW)
    with pytest.raises(SessionError):  # not attested yet
        kbs.resource(party, cookie, NAME, "peer", NOW)
    kbs.attest(party, cookie, encoded(guest.attestation(challenge)), "peer", NOW)
    with pytest.raises(SessionError):
        kbs.resource(party, cookie, NAME, "peer", NOW + timedelta(seconds=301))


def test_a_challenge_counts_for_its_time(party: RelyingParty) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    with pytest.raises(RefusedError) as caught:
        kbs.attest(party, cookie, encoded(guest.attestation(challenge)), "peer", NOW + timedelta(seconds=121))
    assert caught.value.verdict is Verdict.WRONG_BINDING


@pytest.mark.parametrize("what", ["another key", "another nonce", "more evidence bound", "changed evidence"])
def test_evidence_that_is_bound_to_something_else(party: RelyingParty, what: str) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    sent = guest.attestation(challenge)
    if what == "another key":
        sent["runtime-data"]["tee-pubkey"] = Guest().jwk
    elif what == "another nonce":
        sent["tee-evidence"] = guest.attestation(begin(party, guest)[0])["tee-evidence"]
    elif what == "more evidence bound":
        sent["tee-evidence"]["additional_evidence"] = "{}"
    else:
        raw = bytearray(base64.b64decode(sent["tee-evidence"]["primary_evidence"]["simulated_report"]))
        raw[0x90] ^= 1
        sent["tee-evidence"]["primary_evidence"]["simulated_report"] = base64.b64encode(raw).decode()
    with pytest.raises(RefusedError) as caught:
        kbs.attest(party, cookie, encoded(sent), "peer", NOW)
    want = Verdict.NOT_AUTHENTIC if what == "changed evidence" else Verdict.WRONG_BINDING
    assert caught.value.verdict is want


@pytest.mark.parametrize(
    "change",
    [
        {"version": "0.1.1"},
        {"version": "0.4"},
        {"version": "0.4.0-rc1"},
        {"version": "1.4.0"},
        {"version": 4},
        {"tee": "se"},
        {"tee": "snp"},  # no policy accepts it
        {"tee": "SAMPLE"},
        {"tee": None},
        {"tee": ["sample"]},
    ],
)
def test_requests_that_get_no_challenge(party: RelyingParty, change: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        kbs.auth(party, encoded({**Guest().request(), **change}), NOW)


def without(sent: dict[str, Any], path: str) -> dict[str, Any]:
    *tables, last = path.split(".")
    place = sent
    for name in tables:
        place = place[name]
    del place[last]
    return sent


@pytest.mark.parametrize(
    "path",
    [
        "runtime-data",
        "runtime-data.nonce",
        "runtime-data.tee-pubkey",
        "runtime-data.tee-pubkey.alg",
        "tee-evidence",
        "tee-evidence.primary_evidence",
        "tee-evidence.additional_evidence",
        "tee-evidence.primary_evidence.simulated_report",
    ],
)
def test_attestations_that_lack_something(party: RelyingParty, path: str) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    with pytest.raises(RequestError):
        kbs.attest(party, cookie, encoded(without(guest.attestation(challenge), path)), "peer", NOW)
    kbs.attest(party, cookie, encoded(guest.attestation(challenge)), "peer", NOW)  # it counts still


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("tee-evidence.additional_evidence", '{"nvidia":{}}'),
        ("tee-evidence.additional_evidence", {}),
        ("tee-evidence.primary_evidence", "text"),
        ("runtime-data.more", "1"),
        ("runtime-data.nonce", "AAAA"),
        ("runtime-data.nonce", "not base64"),
        ("runtime-data.tee-pubkey.d", "AAAA"),
        ("runtime-data.tee-pubkey.kty", "OKP"),
        ("runtime-data.tee-pubkey.crv", "P-384"),
        ("runtime-data.tee-pubkey.alg", "RSA1_5"),
        ("runtime-data.tee-pubkey.alg", "none"),
        ("runtime-data.tee-pubkey.x", "AAAA"),
        ("runtime-data.tee-pubkey.x", 5),
    ],
)
def test_attestations_with_something_else(party: RelyingParty, place: str, value: object) -> None:
    guest = Guest()
    challenge, cookie = begin(party, guest)
    sent = guest.attestation(challenge)
    inner: Any = sent
    *tables, last = place.split(".")
    for name in tables:
        inner = inner[name]
    inner[last] = value
    with pytest.raises((RequestError, SessionError)):
        kbs.attest(party, cookie, encoded(sent), "peer", NOW)


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "alg": "RSA1_5", **{k: Guest(KEYS["RSA"]).jwk[k] for k in ("n", "e")}},
        {"kty": "RSA", "alg": "RSA-OAEP-256", "n": Guest(KEYS["RSA"]).jwk["n"], "e": "AA"},
        {"kty": "RSA", "alg": "RSA-OAEP-256", "n": "_" * 2000, "e": "AQAB"},
        Guest(ec.generate_private_key(ec.SECP384R1())).jwk,
        {"kty": "oct", "k": "AAAA"},
        {},
    ],
    ids=["small", "PKCS 1", "exponent 0", "large", "P-384", "symmetric", "empty"],
)
def test_keys_that_nothing_is_encrypted_to(key: dict[str, str]) -> None:
    with pytest.raises(EvidenceFormatError):
        jwe.encrypt(b"value", JsonObject(key, "key"), os.urandom)


# --- evidence as guests wrap it


@pytest.mark.parametrize("flat", [True, False], ids=["until release 4", "since"])
@pytest.mark.parametrize("case", vectors.load("snp"), ids=lambda case: case.id)
def test_a_real_report_that_was_taken_apart_is_the_same_again(case: Case, flat: bool) -> None:  # noqa: FBT001
    raw = case.read("report")
    if flat and raw[0] != 2:
        return  # those releases knew no other version
    said = json.loads(json.dumps(taken_apart(raw, flat=flat)))
    assert report(JsonObject(said, "report")) == raw


@pytest.mark.parametrize(
    "case", [case for case in vectors.load("snp") if case.id == "snp/siena-v5-live"], ids=lambda case: case.id
)
def test_a_real_report_is_authentic_and_no_answer_to_this_question(database: Database, case: Case) -> None:
    raw, at = case.read("report"), case.time or NOW
    exact = {**policies.lax(raw[0x90:0xC0], "unchecked"), "binding": "exact"}
    party = fakes.party(database, {"snp": policies.policy(exact)})
    guest = Guest(tee="snp")
    challenge, cookie = kbs.auth(party, encoded(guest.request()), at)
    certificates = [
        *endorsements.parse(case.read("vek")).certificates,
        *endorsements.parse(case.read("chain")).certificates,
    ]
    sent = guest.attestation(challenge)
    sent["tee-evidence"]["primary_evidence"] = {
        "attestation_report": taken_apart(raw),
        "cert_chain": [{"cert_type": "VCEK", "data": list(one)} for one in certificates],
    }
    with pytest.raises(RefusedError) as caught:
        kbs.attest(party, cookie, encoded(sent), "peer", at)
    assert caught.value.verdict is Verdict.WRONG_BINDING
    entry = [json.loads(entry) for _, _, entry, _ in audit.entries(database, "one")][-1]
    (reason,) = entry["policies"][0]["reasons"]
    assert reason.startswith("report.report_data: found")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", -1),
        ("version", 1 << 32),
        ("policy", 1 << 64),
        ("policy", "0x30000"),
        ("policy", True),
        ("measurement", [0] * 47),
        ("measurement", [0] * 49),
        ("measurement", [256] + [0] * 47),
        ("measurement", [-1] + [0] * 47),
        ("measurement", [0.5] + [0] * 47),
        ("measurement", [True] + [0] * 47),
        ("measurement", "00" * 48),
        ("current_tcb", {"bootloader": 1}),
        ("current_tcb", None),
        ("current", {"major": 256, "minor": 0, "build": 0}),
        ("signature", {"r": [0] * 72}),
        ("cpuid_fam_id", 256),
    ],
)
def test_reports_with_something_else(name: str, value: object) -> None:
    said = {**taken_apart(bytes(1184)), name: value}
    with pytest.raises(EvidenceFormatError):
        report(JsonObject(said, "report"))


@pytest.mark.parametrize("name", sorted(set(taken_apart(bytes(1184))) - {"cpuid_fam_id", "cpuid_mod_id", "cpuid_step", "launch_mit_vector", "current_mit_vector"}))  # fmt: skip
def test_reports_that_lack_something(name: str) -> None:
    said = taken_apart(bytes(1184))
    del said[name]
    with pytest.raises(EvidenceFormatError):
        report(JsonObject(said, "report"))


def test_quotes_and_logs_come_as_base64_and_certificates_as_arrays() -> None:
    said = {"quote": base64.b64encode(b"quote").decode(), "cc_eventlog": base64.b64encode(b"log").decode()}
    found = kbs_evidence.unwrap("tdx", JsonObject(said, "evidence"))
    assert (found.evidence, found.event_log) == (b"quote", b"log")
    assert kbs_evidence.unwrap("tdx", JsonObject({**said, "cc_eventlog": None}, "evidence")).event_log is None
    chain = [{"cert_type": "VCEK", "data": list(b"der")}]
    wrapped = {"attestation_report": taken_apart(bytes(1184)), "cert_chain": chain}
    found = kbs_evidence.unwrap("snp", JsonObject(wrapped, "evidence"))
    assert (found.evidence, found.certificates.splitlines()[1]) == (bytes(1184), base64.b64encode(b"der"))
    for bad in ({"cert_chain": [{"data": [256]}]}, {"cert_chain": chain * 17}, {"cert_chain": "x"}):
        with pytest.raises((EvidenceFormatError, RequestError)):
            kbs_evidence.unwrap("snp", JsonObject({**wrapped, **bad}, "evidence"))
    for quote in (5, "A", "AA_-"):
        with pytest.raises((EvidenceFormatError, RequestError)):
            kbs_evidence.unwrap("sgx", JsonObject({"quote": quote}, "evidence"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["init-data", "runtime-data", "tee-evidence", "primary_evidence", "tee-pubkey"]), JSON)
def test_whatever_stands_in_an_attestation_only_our_own_errors_answer(
    party: RelyingParty,
    name: str,
    value: Any,  # noqa: ANN401
) -> None:
    guest = Guest(KEYS["P-256"])
    challenge, cookie = begin(party, guest)
    sent = guest.attestation(challenge)
    place = {"primary_evidence": sent["tee-evidence"], "tee-pubkey": sent["runtime-data"]}.get(name, sent)
    place[name] = value
    try:
        kbs.attest(party, cookie, encoded(sent), "peer", NOW)
    except AttestationError:
        return
    assert name == "init-data"
