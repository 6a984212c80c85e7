"""A relying party that asks a TPM's guest for a proof: what it takes, what it does not, and when nonces are spent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.binding import report_data
from attestation.channel import messages, release
from attestation.channel.errors import ChannelError, NonceError, ProofError, SilenceError, TurnError
from attestation.channel.frames import Frame, MessageType, encode
from attestation.channel.hpke import Sealing
from attestation.channel.messages import Evidence, Output
from attestation.channel.releases import MemoryReleases
from attestation.channel.session import Session, State, Terms, Turn
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError
from tests.attestation.tpm.test_endorsement import GOOD, MAKER, P256, SOFTWARE, asked, evidence_of
from tests.fakes import tpm
from tests.fakes.aws import NOW
from tests.fakes.channel import PLAN, SECRET, SIGNING_KEY, frame, frames, sealed
from tests.fakes.endorsement import Endorsed
from tests.fakes.policies import changed, policy
from tests.fakes.tpm import Tpm

VALUES = {**changed("binding", "shim", asked()), "max_clock_skew": 0}


class Counting(MemoryReleases):
    """How often somebody got the secret."""

    count = 0

    def release(self, nonce: bytes, result: object) -> bytes:
        secret = super().release(nonce, result)  # type: ignore[arg-type]
        self.count += 1
        return secret


@dataclass
class TpmGuest:
    """A guest with a TPM: `endorsed` is what it shows, `inside` what its TPM really has."""

    endorsed: Endorsed = GOOD
    inside: Endorsed = GOOD
    ak: str = "ak"
    ak_inside: str = "ak"
    private_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    nonce: bytes = b""
    body: bytes = b""

    def evidence(self, challenge: bytes) -> bytes:
        (received,) = frames(challenge)
        self.nonce = received.body
        key = self.private_key.public_key().public_bytes_raw()
        bound = hashlib.sha256(report_data(self.nonce, key, PLAN)).digest()
        said = evidence_of(self.endorsed, Tpm(key=self.ak, signer=self.ak, extra_data=bound))
        self.body = Evidence(key, PLAN, said).to_frame().body
        return encode(Frame(MessageType.EVIDENCE, self.body))

    @property
    def bound(self) -> release.Bound:
        return release.Bound(self.nonce, messages.digest(self.body))

    def secret(self, reply: bytes) -> bytes | None:
        (received,) = frames(reply)
        assert received.type is MessageType.CREDENTIAL
        return self.inside.open(received.body, Tpm(key=self.ak_inside).name())

    def proof(self, reply: bytes) -> bytes:
        return frame(MessageType.PROOF, self.bound.proof(self.secret(reply) or bytes(32)))

    def open(self, reply: bytes) -> tuple[bytes, Sealing]:
        (received,) = frames(reply)
        assert received.type is MessageType.RELEASE
        return release.open_release(received.body, self.bound, self.private_key, SIGNING_KEY.public_key())


def session(values: dict[str, object] = VALUES, releases: MemoryReleases | None = None) -> Session:
    terms = Terms(
        policy(values), Endorsements((MAKER,)), frozenset({PLAN}), SIGNING_KEY, releases or Counting(SECRET)
    )
    return Session(terms, NOW, os.urandom)


def asked_for_proof(guest: TpmGuest, subject: Session) -> Turn:
    challenge = subject.receive(frame(MessageType.REQUEST), NOW).reply
    return subject.receive(guest.evidence(challenge), NOW)


def refused(turn: Turn, error: type[Exception], code: int) -> None:
    assert isinstance(turn.failure, error), turn.failure
    (reply,) = frames(turn.reply)
    assert (reply.type, reply.body) == (MessageType.REFUSAL, code.to_bytes(2))


@pytest.mark.parametrize("endorsed", [GOOD, P256])
def test_a_guest_that_opens_the_credential_gets_the_secret(endorsed: Endorsed) -> None:
    releases = Counting(SECRET)
    subject, guest = session(releases=releases), TpmGuest(endorsed, endorsed)
    turn = asked_for_proof(guest, subject)
    assert (subject.state, releases.count, subject.result) == (State.PROVING, 0, None)
    opened = guest.secret(turn.reply)
    released = subject.receive(guest.proof(turn.reply), NOW)
    assert opened is not None
    assert opened not in guest.proof(turn.reply)
    secret, records = guest.open(released.reply)
    assert (secret, subject.state, releases.count) == (SECRET, State.RELEASED, 1)
    said = subject.receive(sealed(records, MessageType.OUTPUT, b"\1hello"), NOW)
    assert said.records == (Output(1, b"hello"),)


@pytest.mark.parametrize(
    "guest",
    [
        TpmGuest(ak="other"),  # a quote of a key in no TPM, beside somebody's endorsement key
        TpmGuest(inside=Endorsed(key="other")),  # somebody else's endorsement key
    ],
)
def test_who_has_not_both_keys_in_one_tpm_gets_nothing(guest: TpmGuest) -> None:
    releases = Counting(SECRET)
    subject = session(releases=releases)
    reply = asked_for_proof(guest, subject).reply
    assert guest.secret(reply) is None
    refused(subject.receive(guest.proof(reply), NOW), ProofError, 11)
    assert (releases.count, subject.state) == (0, State.FAILED)


def test_a_proof_of_another_session_is_none() -> None:
    """Neither as it was said there, nor made anew from that session's secret."""
    first, second = (session(), TpmGuest()), (session(), TpmGuest())
    replies = [asked_for_proof(guest, subject).reply for subject, guest in (first, second)]
    stolen = first[1].proof(replies[0])
    refused(second[0].receive(stolen, NOW), ProofError, 11)
    third = session(), TpmGuest()
    asked_for_proof(third[1], third[0])
    secret = first[1].secret(replies[0])
    assert secret is not None
    refused(third[0].receive(frame(MessageType.PROOF, third[1].bound.proof(secret)), NOW), ProofError, 11)


def test_one_wrong_bit_is_the_end() -> None:
    subject, guest = session(), TpmGuest()
    good = bytearray(guest.proof(asked_for_proof(guest, subject).reply))
    good[-1] ^= 1
    refused(subject.receive(bytes(good), NOW), ProofError, 11)
    good[-1] ^= 1
    assert isinstance(subject.receive(bytes(good), NOW).failure, TurnError)


@pytest.mark.parametrize(
    "before", [MessageType.REQUEST, MessageType.EVIDENCE, MessageType.OUTPUT, MessageType.CREDENTIAL]
)
def test_nothing_but_the_proof_is_due(before: MessageType) -> None:
    subject, guest = session(), TpmGuest()
    reply = asked_for_proof(guest, subject).reply
    body = {
        MessageType.REQUEST: b"",
        MessageType.EVIDENCE: guest.body,
        MessageType.OUTPUT: bytes(18),
        MessageType.CREDENTIAL: frames(reply)[0].body,
    }[before]
    refused(subject.receive(frame(before, body), NOW), TurnError, 10)


def test_a_proof_that_nobody_asked_for_is_refused() -> None:
    subject, guest = session(), TpmGuest()
    challenge = subject.receive(frame(MessageType.REQUEST), NOW).reply
    refused(subject.receive(frame(MessageType.PROOF, bytes(32)), NOW), TurnError, 10)
    values = {**VALUES, "ak": {"key": [Tpm().name().hex()], "root": "unchecked"}}
    values["ek"] = dict.fromkeys(("root", "software_root", "activation"), "unchecked")
    named = session(values)
    challenge = named.receive(frame(MessageType.REQUEST), NOW).reply
    assert guest.open(named.receive(guest.evidence(challenge), NOW).reply)[0] == SECRET
    assert isinstance(named.receive(frame(MessageType.PROOF, bytes(32)), NOW).failure, ChannelError)


def test_a_proof_has_its_time() -> None:
    subject, guest = session(), TpmGuest()
    proof = guest.proof(asked_for_proof(guest, subject).reply)
    assert subject.deadline == NOW + timedelta(minutes=2)
    refused(subject.receive(proof, NOW + timedelta(minutes=2)), SilenceError, 15)


def test_what_expired_meanwhile_is_refused() -> None:
    """The certificate is good when the evidence comes, and no more when the proof does."""
    until = tpm.MADE + timedelta(days=1)
    subject = session()
    subject._terms = replace(subject._terms, patience=replace(subject._terms.patience))
    guest = TpmGuest()
    soon = until - timedelta(seconds=1)
    subject.deadline = until + timedelta(hours=1)
    challenge = subject.receive(frame(MessageType.REQUEST), soon).reply
    reply = subject.receive(guest.evidence(challenge), soon).reply
    refused(subject.receive(guest.proof(reply), until + timedelta(seconds=1)), AppraisalError, 12)


def test_a_nonce_is_spent_by_the_proof_alone() -> None:
    releases = Counting(SECRET)
    first, second = session(releases=releases), session(releases=releases)
    first._randomness = second._randomness = bytes  # the same nonce, and secret
    guests = TpmGuest(), TpmGuest()
    replies = [asked_for_proof(guest, one).reply for guest, one in zip(guests, (first, second), strict=True)]
    assert guests[1].open(second.receive(guests[1].proof(replies[1]), NOW).reply)[0] == SECRET
    refused(first.receive(guests[0].proof(replies[0]), NOW), NonceError, 15)
    assert releases.count == 1


@pytest.mark.parametrize(
    ("guest", "change", "code"),
    [
        (TpmGuest(), ("pcrs.pcr4", ["00" * 32]), 17),
        (TpmGuest(), ("ek.root", ["00" * 32]), 11),
        (TpmGuest(SOFTWARE, SOFTWARE), ("tpm.resets", "unchecked"), 11),
    ],
)
def test_evidence_that_lacks_more_is_not_asked(
    guest: TpmGuest, change: tuple[str, object], code: int
) -> None:
    refused(asked_for_proof(guest, session(changed(*change, VALUES))), AppraisalError, code)
