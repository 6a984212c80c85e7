"""
Do we accept this evidence?

The recipe of the whole package: read, authenticate, compare with the policy, conclude.  Only an affirming
result is ever returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from attestation import binding as bindings, explain, kinds, validity
from attestation.binding import Binding, Exact, Field, Nonce, Shim
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import ActivationError, AppraisalError, AuthenticationError, EvidenceFormatError
from attestation.eventlog.claims import of_log
from attestation.eventlog.formats import parse as parse_log
from attestation.eventlog.replay import check as check_log
from attestation.kind import Criteria, Kind
from attestation.path import Roots
from attestation.policy import Policy
from attestation.policy_file import UNCHECKED
from attestation.result import AttestationResult, Mismatch
from attestation.snp.roots import Roots as SnpRoots
from attestation.tpm.credential import SOURCE as CREDENTIAL_SOURCE, Target
from attestation.trail import SILENT, Trail
from attestation.verdict import Verdict, most_fundamental
from shim.canonical import JsonValue

_BINDING_SOURCE = "attestation.binding.report_data"
_LOG_SOURCE = "TCG PC Client Platform Firmware Profile, 1.06, section 10"


def appraise(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: bytes,
    endorsements: Endorsements,
    policy: Policy,
    *,
    binding: Binding | None,
    now: datetime,
    roots: SnpRoots | Roots | None = None,
    cache: Cache | None = None,
    event_log: bytes | None = None,
    activated: Target | None = None,
    asks: bool = False,
    trail: Trail = SILENT,
) -> AttestationResult:
    """
    Return an affirming result, or raise one that is not.

    Args:
        evidence: As it was collected.
        endorsements: Certificates and revocation lists, besides those inside the evidence.
        policy: Decides the kind of evidence, the roots, and everything that is accepted.
        binding: What report_data must be; None only if the policy leaves that unchecked.
        now: The time to judge at, with its time zone.
        roots: Instead of the pinned roots of the policy's kind; for tests and private hierarchies.
        cache: Remembers what certificates say between calls.
        event_log: What explains the registers; if given, it has to.
        activated: For whom the caller has made a credential that was opened since the evidence was asked for.
        asks: Whether the caller will have one opened if nothing else is wrong: then its lack alone is told,
            and never beside other differences.
        trail: Gets a line for each check in its order, held or not.

    Raises:
        ActivationError: nothing is wrong but that the policy wants such a credential.
        AppraisalError: with the full result: the verdict and every mismatch.
        ValueError: a part of `binding` has a wrong length; the caller's bug.

    Not checked:
        That the nonce is fresh: only who chose it can know.  What the policy leaves unchecked stands in the
        result.
    """
    kind = kinds.KINDS[policy.tee]
    criteria = kind.criteria()
    result = AttestationResult(
        tee=policy.tee,
        simulated=kind.simulated,
        verdict=Verdict.AFFIRMING,
        evaluated_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        evidence_sha256=hashlib.sha256(evidence).hexdigest(),
        policy_sha256=policy.sha256.hex(),
        claims=None,
        mismatches=(),
        unchecked=policy.unchecked,
        reference_values={used.file: used.sha256 for used in policy.reference_values},
        software=criteria.software(policy.rules),
    )
    try:
        parsed = kind.parse(evidence)
        trail.held("format", f"{len(evidence)} bytes", f"evidence of {policy.tee}, whole and well-formed", "")
        _count(policy, now)
        authenticated = kind.authenticate(
            parsed,
            endorsements | kind.endorsements,
            _trusted(kind, criteria, policy) if roots is None else roots,
            now=now,
            skew=policy.max_clock_skew,
            crl_required=policy.crl == "required",
            cache=cache,
            trail=trail,
        )
        explained = {} if event_log is None else of_event_log(kind, authenticated, event_log)
        if event_log is not None:
            trail.held("event log", "its digests, extended", "the registers that are signed", _LOG_SOURCE)
    except AuthenticationError as error:
        trail.failed(error)
        reason = Mismatch(error.where, error.found, error.want, error.source, error.verdict)
        raise AppraisalError(replace(result, verdict=error.verdict, mismatches=(reason,))) from error

    bound = tuple(_binding(kind, authenticated, policy, binding))
    differences = (*criteria.appraise(authenticated, policy.rules), *criteria.uncovered(authenticated))
    target = None if criteria.target is None else criteria.target(authenticated, policy.rules)
    missing = tuple(_activation(target, activated))
    if asks and (bound or differences):
        missing = ()
    mismatches = (*bound, *differences, *missing)
    reference = criteria.reference(authenticated, policy.rules)
    if trail is not SILENT:
        trail.add(
            explain.binding(policy, kind.report_data(authenticated), bound, is_given=binding is not None)
        )
        observed = {
            **criteria.observed(authenticated, reference or "no reference value"),
            **criteria.says(authenticated),
        }
        if target is not None and target == activated:
            observed["ek.activation"] = "required"  # which no evidence says by itself
        trail.add(explain.rules(policy, observed, (*differences, *missing), criteria.sources))
    result = replace(
        result,
        verdict=most_fundamental(mismatch.verdict for mismatch in mismatches),
        claims={**kind.claims(authenticated), **explained, "boot": policy.boot, "reference": reference},
        mismatches=mismatches,
        warnings=criteria.warnings(authenticated, policy.rules),
        unchecked=tuple(
            key
            for key in policy.unchecked
            if criteria.concerns(authenticated, key)
            and not (key == "crl" and kind.lists_checked(authenticated))
            and not (key == "binding" and binding is not None)
        ),
    )
    if target is not None and mismatches and mismatches == missing:
        raise ActivationError(result, target)
    if result.verdict is not Verdict.AFFIRMING:
        raise AppraisalError(result)
    return result


def _trusted(
    kind: Kind[Any, Any, Any, Any], criteria: Criteria[Any, Any, Any], policy: Policy
) -> SnpRoots | Roots:
    roots: SnpRoots | Roots = kind.roots if criteria.named is None else criteria.named(policy.rules)
    return roots


def _count(policy: Policy, now: datetime) -> None:
    """Reference values may say from when on and until when somebody vouches for them."""
    for used in policy.reference_values:
        start = used.not_before or datetime.min.replace(tzinfo=UTC)
        end = used.not_after or datetime.max.replace(tzinfo=UTC)
        validity.check(start, end, now, policy.max_clock_skew, f"reference values {used.file}")


def of_event_log(
    kind: Kind[Any, Any, Any, Any], authenticated: object, event_log: bytes
) -> dict[str, JsonValue]:
    """
    Return what a log says that explains the registers of authentic evidence.

    Raises:
        EvidenceFormatError: it is none, or the evidence has no registers.
        NotAuthenticError: it leads to other values than those that were signed.
    """
    if kind.registers is None:
        raise EvidenceFormatError("event log", "", "one", "none: this kind of evidence has no registers")
    log, registers = parse_log(event_log), kind.registers(authenticated)
    check_log(log, registers)
    return {"event_log": of_log(log, registers)}


def _activation(target: Target | None, activated: Target | None) -> Iterator[Mismatch]:
    """What somebody activated for another TPM, or another key, shows nothing of this one."""
    if target is not None and target != activated:
        found = "no credential was opened" if activated is None else "a credential of other keys was opened"
        want = "one for this endorsement key that names this attestation key"
        yield Mismatch("ek.activation", found, want, CREDENTIAL_SOURCE, Verdict.CANNOT_TELL)


def _binding(
    kind: Kind[Any, Any, Any, Any], authenticated: object, policy: Policy, binding: Binding | None
) -> Iterator[Mismatch]:
    """The policy chooses the formula; a binding that the caller gives is held against it all the same."""
    if binding is None and policy.binding == UNCHECKED.value:
        return
    formula = {Shim: "shim", Exact: "exact", Field: "exact", Nonce: "nonce", type(None): "none"}[
        type(binding)
    ]
    if policy.binding not in {formula, UNCHECKED.value}:
        given = "nothing to hold it against" if binding is None else f'what "{formula}" stands for'
        yield Mismatch("binding", given, f'"{policy.binding}", as the policy says', "", Verdict.WRONG_BINDING)
    elif isinstance(binding, Nonce):
        found = None if kind.nonce is None else kind.nonce(authenticated)
        want = bindings.expected(binding)
        if found != want:
            shown = "none" if found is None else found.hex()
            yield Mismatch("report.nonce", shown, want.hex(), _BINDING_SOURCE, Verdict.WRONG_BINDING)
    elif binding is not None:
        want = bindings.expected(binding)
        said, want = kind.report_data(authenticated), want if isinstance(binding, Field) else kind.bound(want)
        if said != want:
            yield Mismatch(
                "report.report_data", said.hex(), want.hex(), _BINDING_SOURCE, Verdict.WRONG_BINDING
            )
