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

from attestation import binding as bindings, kinds
from attestation.binding import Exact, Shim
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, AuthenticationError
from attestation.policy import Policy
from attestation.policy_file import UNCHECKED
from attestation.result import AttestationResult, Mismatch
from attestation.snp import appraise as snp, claims, evidence as snp_evidence
from attestation.snp.authenticate import Authenticated, authenticate
from attestation.snp.roots import Roots
from attestation.verdict import Verdict, most_fundamental
from shim.canonical import JsonValue

_BINDING_SOURCE = "attestation.binding.report_data"


def appraise(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: bytes,
    endorsements: Endorsements,
    policy: Policy,
    *,
    binding: Shim | Exact | None,
    now: datetime,
    roots: Roots | None = None,
    cache: Cache | None = None,
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

    Raises:
        AppraisalError: with the full result: the verdict and every mismatch.
        ValueError: a part of `binding` has a wrong length; the caller's bug.

    Not checked:
        That the nonce is fresh: only who chose it can know.  What the policy leaves unchecked stands in the
        result.
    """
    result = AttestationResult(
        tee=policy.tee,
        simulated=kinds.KINDS[policy.tee].simulated,
        verdict=Verdict.AFFIRMING,
        evaluated_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        evidence_sha256=hashlib.sha256(evidence).hexdigest(),
        policy_sha256=policy.sha256.hex(),
        claims=None,
        mismatches=(),
        unchecked=policy.unchecked,
    )
    try:
        authenticated = _authenticate(evidence, endorsements, policy, now=now, roots=roots, cache=cache)
    except AuthenticationError as error:
        reason = Mismatch(error.where, error.found, error.want, error.source, error.verdict)
        raise AppraisalError(replace(result, verdict=error.verdict, mismatches=(reason,))) from error

    mismatches = (
        *_binding(authenticated.report.report_data, policy, binding),
        *snp.appraise(authenticated, policy.snp),
    )
    result = replace(
        result,
        verdict=most_fundamental(mismatch.verdict for mismatch in mismatches),
        claims=_claims(authenticated, policy),
        mismatches=mismatches,
        unchecked=tuple(_unchecked(policy, authenticated, binding)),
    )
    if result.verdict is not Verdict.AFFIRMING:
        raise AppraisalError(result)
    return result


def _authenticate(  # see appraise
    evidence: bytes,
    endorsements: Endorsements,
    policy: Policy,
    *,
    now: datetime,
    roots: Roots | None,
    cache: Cache | None,
) -> Authenticated:
    return authenticate(
        snp_evidence.parse(evidence),
        endorsements | kinds.KINDS[policy.tee].endorsements,
        roots if roots is not None else kinds.KINDS[policy.tee].roots,
        now=now,
        skew=policy.max_clock_skew,
        crl_required=policy.crl == "required",
        cache=cache,
    )


def _binding(found: bytes, policy: Policy, binding: Shim | Exact | None) -> Iterator[Mismatch]:
    """The policy chooses the formula; a binding that the caller gives is held against it all the same."""
    if binding is None and policy.binding == UNCHECKED.value:
        return
    formula = {Shim: "shim", Exact: "exact", type(None): "none"}[type(binding)]
    if policy.binding not in {formula, UNCHECKED.value}:
        given = f"the binding given is {formula}"
        yield Mismatch("binding", given, f'"{policy.binding}", as the policy says', "", Verdict.WRONG_BINDING)
    elif binding is not None and bindings.expected(binding) != found:
        want = bindings.expected(binding).hex()
        yield Mismatch("report.report_data", found.hex(), want, _BINDING_SOURCE, Verdict.WRONG_BINDING)


def _claims(authenticated: Authenticated, policy: Policy) -> dict[str, JsonValue]:
    reference = snp.matching_reference(authenticated.report, policy.snp)
    label = None if reference is None else reference.label
    return {**claims.of_authenticated(authenticated), "boot": policy.boot, "reference": label}


def _unchecked(policy: Policy, authenticated: Authenticated, binding: Shim | Exact | None) -> Iterator[str]:
    """What the policy leaves unchecked, without what was checked because it could be, or is of others."""
    done = {"crl": authenticated.revocation_list is not None, "binding": binding is not None}
    ours = f"tcb.{authenticated.chain.product.name}."
    for key in policy.unchecked:
        if not done.get(key, False) and (key.startswith(ours) or not key.startswith("tcb.")):
            yield key
