"""
The relying party's side of one channel, as a state machine without a socket.

    WAITING ── request / challenge ──► CHALLENGED ── evidence / release ──► RELEASED ── exit ──► ENDED
       │                       evidence / credential ──► PROVING ── proof / release ──┘ │
       └──────────────┴────────── anything else / refusal ─────────┴────────────────────┴──► FAILED

A credential asks whether the attestation key of a TPM is in the one whose maker vouches for its endorsement
key: `attestation.tpm.credential`.

Bytes and the time go in; bytes to send, records of the guest and, once, the reason of a failure come out.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation import binding, endorsements
from attestation.appraise import appraise
from attestation.channel import messages, release
from attestation.channel.errors import (
    PlanError,
    ProofError,
    RecordError,
    SilenceError,
    TruncatedError,
    TurnError,
)
from attestation.channel.frames import Frame, FrameReader, MessageType, encode
from attestation.channel.hpke import Sealing
from attestation.channel.messages import Evidence, Exit, Record
from attestation.channel.releases import Releases
from attestation.endorsements import Endorsements
from attestation.errors import ActivationError, AttestationError
from attestation.policy import Policy
from attestation.result import AttestationResult
from attestation.tpm import credential
from attestation.tpm.credential import Target

_SEALED = {
    MessageType.OUTPUT: MessageType.OUTPUT,
    MessageType.EVENT: MessageType.EVENT,
    MessageType.EXIT: MessageType.EXIT,
}
_PLAIN = {
    MessageType.PLAIN_OUTPUT: MessageType.OUTPUT,
    MessageType.PLAIN_EVENT: MessageType.EVENT,
    MessageType.PLAIN_EXIT: MessageType.EXIT,
}


class State(enum.Enum):
    """What has happened on the channel."""

    WAITING = "waiting for a guest"
    CHALLENGED = "waiting for evidence"
    PROVING = "waiting for a proof"
    RELEASED = "the guest has the secret"
    ENDED = "the guest has said its last word"
    FAILED = "over, for a reason"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a guest may take: to boot and ask, to answer each time, and for the bytes of one record."""

    request: timedelta = timedelta(minutes=10)
    evidence: timedelta = timedelta(minutes=2)
    proof: timedelta = timedelta(minutes=2)
    record: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a guest has to be, and what it gets.

    Attributes:
        policy: What its evidence must say.
        endorsements: What its evidence is judged by, besides what it sends itself.
        plan_digests: SHA-256 of each plan that the secret is for.
        signing_key: Signs releases; the plan has its public half.  It must sign nothing else.
        releases: Where the secret is.
        plain_output: The plan says that output, events and exit are not sealed.
        patience: How long is waited.
    """

    policy: Policy
    endorsements: Endorsements
    plan_digests: frozenset[bytes]
    signing_key: Ed25519PrivateKey
    releases: Releases
    plain_output: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Evidence that lacks a proof alone: what was said, what it is bound to, and what the proof has to be."""

    said: Evidence
    bound: release.Bound
    target: Target
    proof: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """
    What follows from some bytes.

    Attributes:
        reply: What to send, or nothing.
        records: What the guest has said, in its order.
        failure: Why the channel is over; what is in `reply` is still sent.
    """

    reply: bytes = b""
    records: tuple[Record, ...] = ()
    failure: AttestationError | None = None


class Session:
    """
    One channel.

    Args:
        terms: What a guest has to be.
        now: When the channel was opened, with its time zone.
        randomness: Returns as many random bytes as it is asked for.

    Attributes:
        state: How far it has come.
        said: What the guest has shown, once it has.
        result: The affirming result, once there is one.
        exit: The guest's last word, once it is said.
        nonce: The challenge, once there is one.
    """

    def __init__(self, terms: Terms, now: datetime, randomness: Callable[[int], bytes]) -> None:
        self.state = State.WAITING
        self.said: Evidence | None = None
        self.result: AttestationResult | None = None
        self.exit: Exit | None = None
        self.deadline: datetime | None = now + terms.patience.request
        self._terms = terms
        self._randomness = randomness
        self._reader = FrameReader()
        self.nonce = b""
        self._owes_answer = False
        self._asked: _Asked | None = None
        self._records: Sealing | None = None

    def receive(self, data: bytes, now: datetime) -> Turn:
        """
        Return what follows from `data`, which may be any piece of what the host relays.

        Not checked:
            What failed in `terms.releases` other than by an `AttestationError`: that passes through, and the
            channel is over.
        """
        if self.state is State.FAILED:
            return Turn(failure=TurnError("channel", f"{len(data)} bytes", "nothing: it is over"))
        late = self.expire(now)
        if late.failure is not None:
            return late
        reply = b""
        records: list[Record] = []
        try:
            for frame in self._reader.feed(data):
                reply += self._answer(frame, now, records)
        except AttestationError as error:
            return self._fail(error, reply, tuple(records))
        if self.state is State.RELEASED:
            self._wait_for_rest(now, has_moved=bool(records))
        return Turn(reply, tuple(records))

    def expire(self, now: datetime) -> Turn:
        """Return the failure that the time has brought, or an empty turn."""
        if self.deadline is None or now < self.deadline:
            return Turn()
        return self._fail(
            SilenceError("channel", f"silence while {self.state.value}", "a message in its time")
        )

    def close(self) -> Turn:
        """Return what it means that the channel has ended here: nothing after the guest's exit."""
        if self.state in {State.ENDED, State.FAILED}:
            return Turn()
        return self._fail(TruncatedError("channel", f"its end while {self.state.value}", "the guest's exit"))

    def _answer(self, frame: Frame, now: datetime, records: list[Record]) -> bytes:
        if self.state is State.WAITING and frame.type is MessageType.REQUEST:
            return self._challenge(now)
        if self.state is State.CHALLENGED and frame.type is MessageType.EVIDENCE:
            return self._weigh(frame.body, now)
        if self.state is State.PROVING and frame.type is MessageType.PROOF and self._asked is not None:
            return self._check_proof(self._asked, frame.body, now)
        if self.state is State.RELEASED and frame.type in (_PLAIN if self._terms.plain_output else _SEALED):
            records.append(self._record(frame))
            return b""
        raise TurnError("channel", frame.type.name, f"what comes next ({self.state.value})")

    def _challenge(self, now: datetime) -> bytes:
        self.nonce = self._randomness(binding.NONCE_SIZE)
        self.state = State.CHALLENGED
        self._owes_answer = True
        self.deadline = now + self._terms.patience.evidence
        return encode(Frame(MessageType.CHALLENGE, self.nonce))

    def _weigh(self, body: bytes, now: datetime) -> bytes:
        self.state = State.FAILED  # a challenge is answered once, however this ends
        self.said = said = messages.read_evidence(body)
        if said.plan_digest not in self._terms.plan_digests:
            wanted = " or ".join(sorted(digest.hex() for digest in self._terms.plan_digests))
            raise PlanError("evidence.plan_digest", said.plan_digest.hex(), wanted)
        bound = release.Bound(self.nonce, messages.digest(body))
        try:
            result = self._appraise(said, now)
        except ActivationError as error:
            return self._ask(said, bound, error.target, now)
        return self._release(said, bound, result)

    def _appraise(self, said: Evidence, now: datetime, activated: Target | None = None) -> AttestationResult:
        return appraise(
            said.evidence,
            self._terms.endorsements | _endorsements(said.endorsements),
            self._terms.policy,
            binding=binding.Shim(self.nonce, said.public_key, said.plan_digest),
            now=now,
            event_log=said.event_log or None,
            activated=activated,
            asks=activated is None,
        )

    def _ask(self, said: Evidence, bound: release.Bound, target: Target, now: datetime) -> bytes:
        """Nothing but the proof is missing: send what only the TPM in question can open."""
        secret = self._randomness(credential.SECRET_SIZE)
        self._asked = _Asked(said, bound, target, bound.proof(secret))
        self.state = State.PROVING
        self.deadline = now + self._terms.patience.proof
        return encode(Frame(MessageType.CREDENTIAL, credential.make(target, secret, self._randomness)))

    def _check_proof(self, asked: _Asked, proof: bytes, now: datetime) -> bytes:
        self.state = State.FAILED
        if not hmac.compare_digest(proof, asked.proof):
            found, want = "of another secret", "that of the credential for this TPM's keys"
            raise ProofError("proof", found, want)
        # Again and in full: time has passed, and nothing is affirmed by halves.
        result = self._appraise(asked.said, now, asked.target)
        return self._release(asked.said, asked.bound, result)

    def _release(self, said: Evidence, bound: release.Bound, result: AttestationResult) -> bytes:
        secret = self._terms.releases.release(self.nonce, result)
        ephemeral = X25519PrivateKey.from_private_bytes(self._randomness(32))
        frame, self._records = release.seal(
            secret, bound, said.public_key, self._terms.signing_key, ephemeral
        )
        self.result = result
        self.state = State.RELEASED
        self._owes_answer = False
        return encode(frame)

    def _record(self, frame: Frame) -> Record:
        kind, body = frame.type, frame.body
        if self._terms.plain_output:
            kind = _PLAIN[kind]
        elif self._records is not None:
            opened = self._records.open(body, frame.header)
            if opened is None:
                found = f"{kind.name} that does not open as number {self._records.sequence}"
                raise RecordError("record", found, "the guest's next one, unchanged")
            body = opened
        record = messages.read_record(kind, body)
        if isinstance(record, Exit):
            self.exit = record
            self.state = State.ENDED
            self.deadline = None
        return record

    def _wait_for_rest(self, now: datetime, *, has_moved: bool) -> None:
        """A record that has begun has to end; between records a program may be silent for days."""
        if self._reader.is_between_frames:
            self.deadline = None
        elif has_moved or self.deadline is None:
            self.deadline = now + self._terms.patience.record

    def _fail(self, error: AttestationError, reply: bytes = b"", records: tuple[Record, ...] = ()) -> Turn:
        """A guest that waits for a release is told that there is none, and never why."""
        if self._owes_answer:
            reply += encode(messages.refusal(error.exit_code))
        self.state = State.FAILED
        self.deadline = None
        return Turn(reply, records, error)


def _endorsements(data: bytes) -> Endorsements:
    return endorsements.parse(data, "evidence.endorsements") if data else Endorsements()
