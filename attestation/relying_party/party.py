"""
May this machine have that resource?

The recipe of the relying party, without a network: ask, appraise, spend, release.  The clock, randomness and
where endorsements come from are arguments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

from attestation import ear, ear_token, endorsements
from attestation.appraise import appraise
from attestation.cache import Cache
from attestation.ear import Profile, VerifierId
from attestation.ear_token import SigningKey
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, EvidenceFormatError
from attestation.policy import Policy
from attestation.relying_party import challenge, requirement, resources
from attestation.relying_party.challenge import Challenge
from attestation.relying_party.errors import RefusedError, ReleaseError, RequestError
from attestation.relying_party.ledger import Ledger, Session, Writing
from attestation.relying_party.resources import Resource
from attestation.relying_party.submission import Refusal, Submission
from attestation.result import AttestationResult
from attestation.verdict import Verdict, most_fundamental
from shim.canonical import JsonValue

Supply = Callable[[Policy, bytes, datetime], Endorsements]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """
    How long things count, in seconds, and who says what tokens say.

    Attributes:
        challenge_lifetime: From question to answer.
        session_lifetime: How long an affirmed machine may fetch, and its token counts.
        verifier: Who appraises, for tokens.
        profile: How the claims of tokens are spelled.
    """

    verifier: VerifierId
    challenge_lifetime: int = 120
    session_lifetime: int = 300
    profile: Profile = ear.VERAISON


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """
    One instance; for use by several threads.

    Attributes:
        ledger: The store.
        policies: By the names that resources give.
        signing_key: Signs tokens.
        supply: Returns the endorsements for evidence that is judged by a policy at a time.
        random: Returns as many random bytes as it is asked for.
        terms: How long things count.
        roots: By kind of evidence, what is trusted instead of what is pinned.
    """

    ledger: Ledger
    policies: Mapping[str, Policy]
    signing_key: SigningKey
    supply: Supply
    random: Callable[[int], bytes]
    terms: Terms
    roots: Mapping[str, Any] = field(default_factory=dict)
    _caches: threading.local = field(default_factory=threading.local)

    def challenge(self, now: datetime) -> Challenge:
        """Return a new question; nothing is remembered of it."""
        return challenge.make(
            self.ledger.keys, self.random, now=_second(now), lifetime=self.terms.challenge_lifetime
        )

    def question(self, nonce: bytes, now: datetime) -> Challenge:
        """
        Return the question that a nonce is.

        Raises:
            RefusedError: none of ours, or too old.
        """
        return challenge.check(self.ledger.keys, nonce, now=_second(now))

    def policies_of(self, resource: Resource) -> tuple[Policy, ...]:
        """
        Return the policies that a resource is released by: that of the machine, then those of its devices.

        Raises:
            UnavailableError: this instance was started without one of them.
        """
        return requirement.policies(self.policies, resource)

    def policy_of(self, resource: Resource) -> Policy:
        """
        Return the one policy that a resource is released by.

        Raises:
            RequestError: it takes evidence of devices as well.
            UnavailableError: see `policies_of`.
        """
        policy, *more = self.policies_of(resource)
        if more:
            raise RequestError("resource", "one for machines with devices", "another, or the KBS protocol")
        return policy

    def resource(self, name: str) -> Resource:
        """
        Return a resource, to be released or not.

        Raises:
            RequestError, UnknownResourceError, StoreIntegrityError, UnavailableError: see `resources.find`.
        """
        return resources.find(self.ledger.database, self.ledger.keys, resources.check_name(name))

    def appraise(self, submission: Submission, policy: Policy, now: datetime) -> AttestationResult:
        """
        Return an affirming result.

        Raises:
            AppraisalError: evidence that is not accepted.
            EvidenceFormatError: certificates that cannot be read.
        """
        supplied = self.supply(policy, submission.evidence, now)
        if submission.certificates:
            supplied = endorsements.parse(submission.certificates, "certificates") | supplied
        if not hasattr(self._caches, "cache"):
            self._caches.cache = Cache()
        return appraise(
            submission.evidence,
            supplied,
            policy,
            binding=submission.binding,
            now=now,
            roots=self.roots.get(policy.tee),
            cache=self._caches.cache,
            event_log=submission.event_log,
        )

    def judge(self, submission: Submission, policy: Policy, now: datetime) -> AttestationResult | Refusal:
        """Return an affirming result, or why there is none; nothing is spent and nothing recorded."""
        try:
            return self.appraise(submission, policy, now)
        except AppraisalError as error:
            return Refusal(policy, error.result.verdict, tuple(map(str, error.mismatches)))
        except EvidenceFormatError as error:
            return Refusal(policy, error.verdict, (str(error),))

    def refuse(
        self, asked: Challenge, submission: Submission, refusals: Sequence[Refusal], now: datetime
    ) -> NoReturn:
        """
        Spend the nonce, and record everything that was wrong.

        Raises:
            RefusedError: always, with the verdict alone.
            UnavailableError: the refusal could not be recorded.
        """
        verdict = most_fundamental(one.verdict for one in refusals)
        event: dict[str, JsonValue] = {
            "event": "refused",
            "verdict": verdict.value,
            "policies": [one.to_json() for one in refusals],
        }
        self._spend(asked, submission, event, now, lambda _: None)
        raise RefusedError(verdict)

    def affirm(  # noqa: PLR0913  # what is settled at once
        self,
        asked: Challenge,
        submission: Submission,
        results: Mapping[str, AttestationResult],
        session: Session,
        *,
        names: tuple[str, ...],
        now: datetime,
        released: Resource | None = None,
    ) -> None:
        """
        Spend the nonce, open the session, release a resource and record it all, at once.

        Args:
            asked: The question that was answered.
            submission: The answer.
            results: By the names of the policies that affirmed it.
            session: What is remembered of the machine.
            names: The secrets by which the machine will name the session: its token, its cookie.
            now: The time, for the record.
            released: What is part of the reply.

        Raises:
            RefusedError: the nonce was spent before.
            UnavailableError: nothing was written; nothing may leave.
        """
        event: dict[str, JsonValue] = {
            "event": "attested",
            "verdict": Verdict.AFFIRMING.value,
            "tee": sorted({one.label for one in results.values()}),
            "policies": {name: one.policy_sha256 for name, one in results.items()},
        }
        if released is not None:
            event |= {"released": released.name, "version": released.version}

        def also(writing: Writing) -> None:
            for name in names:
                writing.open_session(name, session)
            if released is not None:
                writing.release(session, released.name)

        self._spend(asked, submission, event, now, also)

    def redeem(
        self, session: Session, name: str, seal: Callable[[Resource], T], *, peer: str, now: datetime
    ) -> T:
        """
        Return what `seal` makes of a resource, once it is recorded that it was released for this session.

        Raises:
            ReleaseError: a policy of the resource is none of those that affirmed the machine, or it was
                released for this nonce already.
            RequestError, UnknownResourceError, StoreIntegrityError, UnavailableError: see `resource`.
        """
        found = self.resource(name)
        machine, *devices = self.policies_of(found)
        is_affirmed = requirement.named((machine,), devices) <= set(session.policies)
        sealed = seal(found) if is_affirmed else None

        def work(writing: Writing) -> bool:
            is_first = is_affirmed and writing.release(session, found.name)
            event: dict[str, JsonValue] = {
                "event": "released" if is_first else "withheld",
                "at": _stamp(now),
                "nonce": session.nonce.hex(),
                "evidence_sha256": session.evidence_sha256.hex(),
                "resource": found.name,
                "version": found.version,
                "peer": peer,
            }
            if not is_first:
                event["reason"] = "released before" if is_affirmed else "another policy"
            writing.record(event)
            return is_first

        if not self.ledger.commit(session.nonce, work) or sealed is None:
            raise ReleaseError(found.name)
        return sealed

    def session(
        self,
        asked: Challenge,
        submission: Submission,
        policies: tuple[Policy, ...],
        key: JsonValue,
        now: datetime,
        *,
        devices: tuple[Policy, ...] = (),
    ) -> Session:
        """Return what is to be remembered of a machine that `policies` affirmed; `devices` its devices."""
        named = tuple(sorted(requirement.named(policies, devices)))
        return Session(asked.nonce, submission.digest, named, key, _second(now) + self.terms.session_lifetime)

    def token(
        self, result: AttestationResult, nonce: bytes, now: datetime, more: Mapping[str, JsonValue]
    ) -> str:
        """
        Return the signed token of a result, with more claims.

        Raises:
            SigningKeyError: joserfc is not installed.
        """
        said = ear.claims(
            result,
            verifier=self.terms.verifier,
            issued_at=now,
            lifetime=timedelta(seconds=self.terms.session_lifetime),
            nonce=nonce,
            profile=self.terms.profile,
        )
        return ear_token.sign({**said, **more}, self.signing_key)

    def _spend(
        self,
        asked: Challenge,
        submission: Submission,
        event: Mapping[str, JsonValue],
        now: datetime,
        also: Callable[[Writing], None],
    ) -> None:
        common: dict[str, JsonValue] = {
            "at": _stamp(now),
            "nonce": asked.nonce.hex(),
            "evidence_sha256": submission.digest.hex(),
            "peer": submission.peer,
        }

        def work(writing: Writing) -> bool:
            is_first = writing.spend(asked.nonce, asked.expires)
            writing.record({**common, **event} if is_first else {**common, "event": "replayed"})
            if is_first:
                also(writing)
            return is_first

        if not self.ledger.commit(asked.nonce, work):
            raise RefusedError(Verdict.WRONG_BINDING)


def _second(now: datetime) -> int:
    return int(now.timestamp())


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds")
