"""
What has every kind of evidence in common?

The same questions in the same order, each answered by the module of the same name in the kind's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from attestation.endorsements import Endorsements
from attestation.trail import SILENT, Trail

if TYPE_CHECKING:  # only the kinds that have to do with these load them
    from attestation.cache import Cache
    from attestation.eventlog.replay import Registers
    from attestation.policy_file import Section
    from attestation.result import Mismatch
    from attestation.tpm.credential import Target
    from shim.canonical import JsonValue

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Claims: TypeAlias = Mapping[str, "JsonValue"]


class Authenticate(Protocol[E_contra, A_co, T_contra]):
    """Returns what is proven to come from genuine hardware, or raises an AuthenticationError."""

    def __call__(  # noqa: PLR0913  # what evidence is judged by, each apart
        self,
        evidence: E_contra,
        endorsements: Endorsements,
        roots: T_contra,
        *,
        now: datetime,
        skew: timedelta,
        crl_required: bool,
        cache: Cache | None,
        trail: Trail = SILENT,
    ) -> A_co:
        """See the modules `authenticate`."""


def _always(_authenticated: object, _key: str) -> bool:
    return True


def _no(_rules: object) -> bool:
    return False


def _nothing(_authenticated: object, _rules: object) -> tuple[Mismatch, ...]:
    return ()


def _all(_authenticated: object) -> tuple[Mismatch, ...]:
    return ()


def _no_words(_authenticated: object) -> Claims:
    return {}


@dataclass(frozen=True, slots=True)
class Criteria(Generic[A, R, T]):
    """
    How what a kind of evidence says is compared with a policy.

    Attributes:
        read: Reads the part of a policy that is about this kind.
        appraise: Every difference between what was said and the rules.
        reference: The label of the reference value that the measurement is, or None.
        observed: What a policy says that accepts this evidence and as little else as can be, by dotted key.
        sources: The document that defines what the keys of each table of a policy are about.
        uncovered: What shows that nothing of what was booted can have been measured, whatever a policy says.
        concerns: Whether a policy key that is left unchecked is about this evidence at all.
        says: What the evidence says by keys whose values are words for what to do about it.
        volatile: Those of its keys that are another thing at every launch.
        warnings: What will be a difference soon.
        named: The roots that a policy names; None where the pinned ones are all.
        target: For whom a credential has to be that shows in which TPM a key is, where the rules ask for one;
            None for kinds without.
        software: Whether the rules take what any software can say.
    """

    read: Callable[[Section], R]
    appraise: Callable[[A, R], tuple[Mismatch, ...]]
    reference: Callable[[A, R], str | None]
    observed: Callable[[A, str], Mapping[str, JsonValue]]
    sources: Mapping[str, str]
    uncovered: Callable[[A], tuple[Mismatch, ...]] = _all
    concerns: Callable[[A, str], bool] = _always
    says: Callable[[A], Claims] = _no_words
    volatile: frozenset[str] = frozenset()
    warnings: Callable[[A, R], tuple[Mismatch, ...]] = _nothing
    named: Callable[[R], T] | None = None
    target: Callable[[A, R], Target | None] | None = None
    software: Callable[[R], bool] = _no


@dataclass(frozen=True, slots=True)
class Kind(Generic[E, A, R, T]):
    """
    A kind of evidence.

    Attributes:
        roots: The pinned root keys.
        boots: How software can get into this kind's measurement, so that appraisal of this evidence alone
            covers what was booted.
        parse: Reads the bytes.
        authenticate: Did genuine hardware say it?
        criteria: How it is compared with a policy: a function, because who inspects evidence has none.
        claims: What was said, with what the endorsements add.
        unproven: What was said, where nothing proves it.
        report_data: What the guest put into it.
        lists_checked: Whether revocation was looked up.
        registers: The signed registers that an event log may explain; None where there are none.
        bound: What of the 64 bytes that bind evidence goes into it.
        nonce: What stands in the field for a nonce alone; None where there is no such field.
        endorsements: Certificates that are the same for all evidence of the kind, and so stand in the source.
        simulated: True when it proves nothing about any hardware.
    """

    roots: T
    boots: tuple[str, ...]
    parse: Callable[[bytes], E]
    authenticate: Authenticate[E, A, T]
    criteria: Callable[[], Criteria[A, R, T]]
    claims: Callable[[A], Claims]
    unproven: Callable[[E], Claims]
    report_data: Callable[[A], bytes]
    lists_checked: Callable[[A], bool]
    registers: Callable[[A], Registers] | None = None
    bound: Callable[[bytes], bytes] = bytes
    nonce: Callable[[A], bytes | None] | None = None
    endorsements: Endorsements = field(default_factory=Endorsements)
    simulated: bool = False
