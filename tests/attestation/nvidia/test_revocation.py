"""OCSP responses from files: whose word counts, about which certificate, for how long; each thing that is wrong has its error."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp as library
from hypothesis import given, settings, strategies as st

from attestation import endorsements, files, ocsp
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.certificate import read_certificate
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.nvidia import claims, evidence
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.verdict import Verdict
from tests import vectors
from tests.fakes import aws, nvidia
from tests.fakes.aws import MADE, NOW, certificate
from tests.fakes.nvidia import ALL_RESPONSES, CHAIN, Device, Status, key_hash, responder
from tests.fakes.policies import changed, policy

REVOKED, UNKNOWN = library.OCSPCertStatus.REVOKED, library.OCSPCertStatus.UNKNOWN
HELD = Status(state=REVOKED, reason=x509.ReasonFlags.certificate_hold)
DELEGATED = Status(responder=responder(), signer="responder")


def judge(*responses: Status | bytes, lists: tuple[bytes, ...] = (), **options: Any) -> Authenticated:  # noqa: ANN401
    encoded = tuple(one if isinstance(one, bytes) else one.response() for one in responses)
    more = Device().endorsements(*lists, responses=encoded)
    return authenticate(evidence.parse(Device().evidence()), more, nvidia.roots(), **{"now": NOW, **options})


def test_a_state_of_each_certificate_that_nvidia_made_is_enough() -> None:
    proven = judge(*ALL_RESPONSES, crl_required=True)
    assert [one.known for one in proven.states] == [False, True, True, True]
    assert [one["state"] for one in claims.of_authenticated(proven)["states"]] == [
        "unchecked",
        "good",
        "good",
        "good",
    ]


def test_a_list_may_stand_in_for_a_response() -> None:
    judge(*ALL_RESPONSES[:2], lists=(aws.revocation_list("root"),), crl_required=True)


@pytest.mark.parametrize(
    "status",
    [
        DELEGATED,
        Status(responder=responder(), signer="responder", by_name=True),
        Status(by_name=True),
        Status(algorithm=hashes.SHA1()),  # noqa: S303  # NVIDIA's example asks so
        Status(algorithm=hashes.SHA256()),
        Status(nonce=bytes(range(32))),
        Status(next_update=None, this_update=NOW),
    ],
    ids=["delegated", "delegated, by name", "by name", "SHA-1", "SHA-256", "with a nonce", "for this moment"],
)
def test_answers_that_count(status: Status) -> None:
    (answer,) = (one.answer for one in judge(status).states if one.answer is not None)
    assert answer.response.state == "good"
    assert answer.response.nonce == status.nonce


@pytest.mark.parametrize("missing", range(3))
def test_every_state_has_to_be_known_where_that_is_required(missing: int) -> None:
    rest = tuple(one for number, one in enumerate(ALL_RESPONSES) if number != missing)
    judge(*rest)
    with pytest.raises(MissingEndorsementError) as caught:
        judge(*rest, crl_required=True)
    assert caught.value.where == f"state of {('instance', 'zone', 'region')[missing]}"


BROKEN: dict[str, tuple[Status, type[AuthenticationError]]] = {
    "revoked": (Status(state=REVOKED, reason=x509.ReasonFlags.key_compromise), RevokedError),
    "revoked for no reason": (Status(state=REVOKED), RevokedError),
    "revoked in an old answer": (
        Status(state=REVOKED, this_update=MADE - timedelta(days=9), next_update=MADE - timedelta(days=8)),
        RevokedError,
    ),
    "not known": (Status(state=UNKNOWN), MissingEndorsementError),
    "no longer current": (Status(this_update=MADE - timedelta(days=2), next_update=MADE), ValidityError),
    "not yet current": (Status(this_update=NOW + timedelta(days=1), next_update=None), ValidityError),
    "without an end": (Status(next_update=None), ValidityError),
    "signed by another key": (Status(forger="leaf"), SignatureError),
    "signed by the root": (Status(forger="root"), SignatureError),
    "signed by who is not named": (
        Status(forger="zone", renamed=(key_hash("zone"), key_hash("region"))),
        SignatureError,
    ),
    "by a responder that is not there": (
        Status(responder=responder(), signer="responder", with_it=False),
        SignatureError,
    ),
    "by a responder of another issuer": (
        Status(responder=responder("region"), signer="responder"),
        SignatureError,
    ),
    "by a responder that its issuer did not make": (
        Status(responder=responder(signer="leaf"), signer="responder"),
        SignatureError,
    ),
    "by a responder without that purpose": (
        Status(responder=responder(purpose=None), signer="responder"),
        SignatureError,
    ),
    "by a responder with another purpose": (
        Status(responder=responder(purpose=x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")), signer="responder"),
        SignatureError,
    ),
    "by a responder that has expired": (
        Status(responder=responder(start=MADE - timedelta(days=9)), signer="responder"),
        ValidityError,
    ),
    "with something critical": (Status(critical=True), MissingEndorsementError),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    status, error = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(status)
    assert type(caught.value) is error


OTHERS = {
    "another serial number": Status(about=certificate("instance", "zone", serial=6)),
    "another issuer": Status(issuer="region"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_answer_about_another_certificate_says_nothing(name: str) -> None:
    assert not any(one.known for one in judge(OTHERS[name]).states)
    with pytest.raises(MissingEndorsementError):
        judge(OTHERS[name], *ALL_RESPONSES[1:], crl_required=True)


def test_a_hold_can_be_lifted_and_a_revocation_cannot() -> None:
    later = Status(this_update=NOW)
    assert [one.held for one in judge(HELD, later).states] == [False] * 4
    assert judge(HELD).states[1].held
    with pytest.raises(RevokedError):
        judge(Status(state=REVOKED, reason=x509.ReasonFlags.superseded), later)
    with pytest.raises(MissingEndorsementError):
        judge(Status(), Status(state=UNKNOWN, this_update=NOW))


LATER = NOW + timedelta(hours=1)
HELD_LATER = Status(
    state=REVOKED,
    reason=x509.ReasonFlags.certificate_hold,
    this_update=LATER,
    next_update=LATER + timedelta(days=1),
)
GOOD_LATER = Status(this_update=LATER, next_update=LATER + timedelta(days=1))


@pytest.mark.parametrize("later", [GOOD_LATER, HELD_LATER, Status(state=UNKNOWN, this_update=LATER)])
def test_an_answer_that_was_given_later_does_not_hide_the_one_of_then(later: Status) -> None:
    for answers in ((Status(), later), (later, Status())):
        assert [one.held for one in judge(*answers).states] == [False] * 4
    assert judge(HELD, GOOD_LATER).states[1].held
    with pytest.raises((ValidityError, MissingEndorsementError)):
        judge(later)
    with pytest.raises(RevokedError):
        judge(Status(), Status(state=REVOKED, this_update=LATER))


def test_an_answer_within_the_skew_is_the_newest() -> None:
    assert judge(Status(), HELD_LATER, skew=timedelta(hours=1)).states[1].held
    assert not judge(HELD, GOOD_LATER, skew=timedelta(hours=1)).states[1].held


def test_an_answer_that_expired_does_not_hide_a_current_one() -> None:
    early, expired = MADE - timedelta(hours=1), NOW - timedelta(seconds=1)
    lasting, short = Status(this_update=early), Status(this_update=MADE, next_update=expired)
    assert judge(lasting, short).states[1].answer is not None
    with pytest.raises(ValidityError):
        judge(short)
    held_short = Status(
        state=REVOKED, reason=x509.ReasonFlags.certificate_hold, this_update=MADE, next_update=expired
    )
    with pytest.raises(ValidityError):  # nobody has said since that it was lifted
        judge(lasting, held_short)


def test_of_answers_of_the_same_moment_the_worse_counts() -> None:
    for answers in ((HELD, Status()), (Status(), HELD)):
        assert judge(*answers).states[1].held
    for answers in ((Status(state=UNKNOWN), Status()), (Status(), Status(state=UNKNOWN))):
        with pytest.raises(MissingEndorsementError):
            judge(*answers)


def test_who_could_not_answer_has_not_answered() -> None:
    for status in library.OCSPResponseStatus:
        if status is not library.OCSPResponseStatus.SUCCESSFUL:
            made = library.OCSPResponseBuilder.build_unsuccessful(status)
            with pytest.raises(MissingEndorsementError):
                judge(made.public_bytes(serialization.Encoding.DER))


def test_a_forged_answer_beside_a_good_one_changes_nothing() -> None:
    judge(Status(forger="leaf", state=REVOKED), *ALL_RESPONSES, crl_required=True)


STRICT: dict[str, object] = {
    "tee": "nvidia",
    "boot": "device-firmware",
    "binding": "exact",
    "max_clock_skew": 0,
    "crl": "required",
    "device": {
        "driver_version": "unchecked",
        "vbios_version": "unchecked",
        "name": "unchecked",
        "certificate_hold": "refused",
    },
    "manifests": {"driver": "unchecked", "vbios": "unchecked", "certificate_hold": "refused"},
    "measurements": {"1": ["01" * 48]},
}


def verdict(values: dict[str, object], *responses: bytes) -> dict[str, Verdict]:
    more = Device().endorsements(responses=responses)
    try:
        result = appraise(
            Device().evidence(), more, policy(values), binding=Exact(bytes(64)), now=NOW, roots=nvidia.roots()
        )
    except AppraisalError as error:
        return {mismatch.field: mismatch.verdict for mismatch in error.mismatches}
    assert "crl" not in result.unchecked
    return {}


def test_a_policy_may_accept_a_hold_by_name() -> None:
    responses = (HELD.response(), *ALL_RESPONSES[1:])
    assert verdict(STRICT, *responses) == {"device.certificate_hold": Verdict.REVOKED}
    assert verdict(changed("device.certificate_hold", "accepted", STRICT), *responses) == {}
    assert verdict(changed("device.certificate_hold", "accepted", STRICT), *ALL_RESPONSES[1:]) == {
        "state of instance": Verdict.CANNOT_TELL
    }


@pytest.mark.parametrize("case", vectors.cases("nvidia"))
def test_a_hold_of_a_real_certificate_is_seen(case: vectors.Case) -> None:
    """No real response is published: the issuer of these has the name and the key hash of the real one."""
    chain = [read_certificate(one) for one in endorsements.parse(case.read("certs")).certificates]
    leaf = next(one for one in chain if not one.signs_certificates)
    device = next(one for one in chain if one.subject == leaf.issuer)
    issuer = next(one for one in chain if one.subject == device.issuer)
    load = x509.load_der_x509_certificate
    by_digest = {
        hashlib.sha256(one).digest(): load(one) for one in endorsements.parse(case.read("certs")).certificates
    }
    request = (
        library.OCSPRequestBuilder()
        .add_certificate(by_digest[device.sha256], by_digest[issuer.sha256], hashes.SHA384())
        .build()
    )
    said = ocsp.read(HELD.response())
    named = ocsp.StatusResponse(
        "sha384", request.issuer_name_hash, request.issuer_key_hash, request.serial_number,
        said.responder, said.state, said.reason, said.this_update, said.next_update, None, (), said.signed, (),
    )  # fmt: skip
    assert ocsp._is_about(named, device, issuer)
    assert not ocsp._is_about(named, issuer, issuer)


def test_responses_are_found_in_files_by_their_structure(tmp_path: Path) -> None:
    (tmp_path / "a.resp").write_bytes(ALL_RESPONSES[0])
    revoked = aws.revocation_list("root")
    (tmp_path / "b.der").write_bytes(ALL_RESPONSES[1] + CHAIN[0] + revoked)
    (tmp_path / "ignored.bin").write_bytes(ALL_RESPONSES[2])
    found = files.read_endorsements([tmp_path])
    assert found.status_responses == ALL_RESPONSES[:2]
    assert (found.certificates, found.revocation_lists) == ((CHAIN[0],), (revoked,))


def test_what_is_no_response_is_malformed() -> None:
    good = ALL_RESPONSES[0]
    for place in range(len(good)):
        with pytest.raises((EvidenceFormatError, MissingEndorsementError)):
            ocsp.read(good[:place])
    with pytest.raises(EvidenceFormatError):
        ocsp.read(bytes(ocsp.MAXIMUM_SIZE + 1))


ANSWER = DELEGATED.response()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_no_damaged_answer_counts(place: int, change: int) -> None:
    damaged = bytearray(ANSWER)
    damaged[place] ^= change
    try:
        proven = judge(bytes(damaged))
    except AuthenticationError:
        return
    # Who signed it and what was signed are the same, or it is about another certificate.
    answers = [one.answer for one in proven.states if one.answer is not None]
    assert all(one.response.signed == ocsp.read(ANSWER).signed for one in answers)
