"""
Guests of the channel (docs/protocol.md), served from the store.

`attestation.channel` asks one question: what is the secret for this nonce?  Here the answer is one
transaction: the spent nonce, the release and the audit record, committed before a byte of the secret leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.channel.errors import NonceError, PlanError
from attestation.channel.messages import Exit
from attestation.channel.session import Patience, Session as Conversation, Terms
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, AttestationError
from attestation.relying_party.ledger import Session, Writing
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.requirement import identity
from attestation.relying_party.submission import Refusal
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from shim.canonical import JsonValue

_REASON = 300  # characters of one in the audit log


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What a guest may have here.

    Attributes:
        resource: The name of its secret.
        plan_digests: SHA-256 of each plan that it is for.
        signing_key: Signs releases; those plans have its public half.
        endorsements: What evidence is judged by besides what the guest sends.
        plain_output: Those plans say that output is not sealed.
        request_seconds: For a guest to ask, once it is connected.
    """

    resource: str
    plan_digests: frozenset[bytes]
    signing_key: Ed25519PrivateKey
    endorsements: Endorsements
    plain_output: bool = False
    request_seconds: int = 30


class LedgerReleases:
    """
    `attestation.channel.releases.Releases` as a transaction of the store.

    Args:
        party: The instance.
        resource: The name of the secret.
        policy: Digest of the policy that the guest is appraised by, from `requirement.identity`.
        peer: Who is connected, for the record.
        clock: Returns the time, with its time zone.
    """

    def __init__(
        self, party: RelyingParty, resource: str, policy: str, peer: str, clock: Callable[[], datetime]
    ) -> None:
        self._party, self._resource, self._policy = party, resource, policy
        self._peer, self._clock = peer, clock

    def release(self, nonce: bytes, result: AttestationResult) -> bytes:
        """
        Return the secret, once it is on disk that it was released for this nonce.

        Raises:
            NonceError: the nonce was spent before.
            PlanError: the resource is meanwhile released by another policy.
            UnknownResourceError, StoreIntegrityError, UnavailableError: the store has it no more, or cannot
                be used; nothing was released.
        """
        now = self._clock()
        found = self._party.resource(self._resource)
        if identity(self._party.policy_of(found)) != self._policy:
            raise PlanError(
                f"resource {found.name}", "another policy than before", "the one that was appraised by"
            )
        expires = int(now.timestamp()) + self._party.terms.challenge_lifetime
        session = Session(nonce, bytes.fromhex(result.evidence_sha256), (self._policy,), None, expires)
        event: dict[str, JsonValue] = {
            **_common(nonce, self._peer, now),
            "event": "attested",
            "evidence_sha256": result.evidence_sha256,
            "verdict": Verdict.AFFIRMING.value,
            "tee": ["SIMULATED" if result.simulated else result.tee],
            "policies": {found.policy: result.policy_sha256},
            "released": found.name,
            "version": found.version,
        }

        def work(writing: Writing) -> bool:
            is_first = writing.spend(nonce, expires)
            writing.record(event if is_first else {**event, "event": "replayed"})
            return is_first and writing.release(session, found.name)

        if not self._party.ledger.commit(nonce, work):
            raise NonceError("nonce", f"{nonce.hex()}, spent before", "one that was never answered")
        return found.value


@dataclass(frozen=True, slots=True)
class Guests:
    """
    The relying party of guests that are connected by a stream.

    Attributes:
        party: The instance, whose store has the secret.
        offer: What a guest may have.
        clock: Returns the time, with its time zone.
    """

    party: RelyingParty
    offer: Offer
    clock: Callable[[], datetime]

    def conversation(self, peer: str) -> Conversation:
        """
        Return a new conversation with a guest.

        Raises:
            UnknownResourceError, StoreIntegrityError, UnavailableError: there is no secret to be had.
        """
        policy = self.party.policy_of(self.party.resource(self.offer.resource))
        patience = Patience(
            timedelta(seconds=self.offer.request_seconds),
            timedelta(seconds=self.party.terms.challenge_lifetime),
        )
        terms = Terms(
            policy,
            self.offer.endorsements,
            self.offer.plan_digests,
            self.offer.signing_key,
            LedgerReleases(self.party, self.offer.resource, identity(policy), peer, self.clock),
            self.offer.plain_output,
            patience,
        )
        return Conversation(terms, self.clock(), self.party.random)

    def record_exit(self, conversation: Conversation, peer: str, said: Exit) -> None:
        """Write down a guest's last word; raises UnavailableError."""
        self._record(conversation, peer, {"event": "ended", "status": said.status, "reason": said.reason})

    def record_failure(self, conversation: Conversation, peer: str, error: Exception) -> None:
        """
        Spend the nonce of a conversation that failed, and write down why; nothing where there was no nonce.

        Raises:
            UnavailableError: it cannot be written.
        """
        if conversation.result is not None:
            event: Mapping[str, JsonValue] = {"event": "cut", "reason": str(error)[:_REASON]}
        elif isinstance(error, AppraisalError):
            policy = self.party.policy_of(self.party.resource(self.offer.resource))
            refusal = Refusal(policy, error.result.verdict, tuple(map(str, error.mismatches)))
            event = {
                "event": "refused",
                "verdict": error.result.verdict.value,
                "evidence_sha256": error.result.evidence_sha256,
                "policies": [refusal.to_json()],
            }
        elif isinstance(error, AttestationError):
            event = {"event": "refused", "reason": str(error)[:_REASON]}
        else:
            event = {"event": "cut", "reason": type(error).__name__}
        self._record(conversation, peer, event)

    def _record(self, conversation: Conversation, peer: str, event: Mapping[str, JsonValue]) -> None:
        nonce, now = conversation.nonce, self.clock()
        if not nonce:
            return
        expires = int(now.timestamp()) + self.party.terms.challenge_lifetime

        def work(writing: Writing) -> None:
            writing.spend(nonce, expires)
            writing.record({**_common(nonce, peer, now), **event})

        self.party.ledger.commit(nonce, work)


def _common(nonce: bytes, peer: str, now: datetime) -> dict[str, JsonValue]:
    at = now.astimezone(UTC).isoformat(timespec="milliseconds")
    return {"at": at, "nonce": nonce.hex(), "peer": peer}
