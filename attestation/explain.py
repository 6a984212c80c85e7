"""
What did each rule of a policy compare with what?

One line per key of the policy, in the order of its file: what the evidence says by that key, what the policy
accepts, and whether a mismatch names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attestation.policy import Policy, leaves
from attestation.policy_file import UNCHECKED
from attestation.result import Mismatch
from attestation.trail import Check, Outcome

_GENERAL = frozenset({"tee", "boot", "binding", "max_clock_skew", "crl"})
_LONGEST = 4  # values of a list are named one by one up to so many


def binding(
    policy: Policy, found: bytes, mismatches: Sequence[Mismatch], *, is_given: bool
) -> Iterator[Check]:
    """Yield what came of the binding, and of what only the author of the policy can say."""
    want = "the author's statement: what was measured covers what was booted"
    yield Check("boot", policy.boot, want, policy.where, Outcome.STATED)
    yield from (_failed(one) for one in mismatches)
    if not mismatches:
        want, outcome = ("what was asked for", Outcome.HELD) if is_given else ("", Outcome.UNCHECKED)
        yield Check("binding", found.hex(), want, "attestation.binding.report_data", outcome)


def rules(
    policy: Policy,
    observed: Mapping[str, object],
    mismatches: Sequence[Mismatch],
    sources: Mapping[str, str],
) -> Iterator[Check]:
    """
    Yield what came of each rule, and of what is checked whatever a policy says if it failed.

    Args:
        policy: Whose keys are gone through.
        observed: What the evidence says by the same keys, as `Kind.observed` returns it.
        mismatches: What the appraisal found.
        sources: The document behind each table of the policy.
    """
    said, left = dict(leaves(observed)), list(mismatches)
    for key, accepted in policy.values.items():
        if key in _GENERAL:
            continue
        own = [one for one in left if _is_about(one.field, key)]
        left = [one for one in left if one not in own]
        yield from (_failed(one) for one in own)
        if not own:
            # Also what is about other evidence than this: other products, certificates that nobody spoke of.
            is_open = accepted == UNCHECKED.value or key not in said
            want, outcome = ("", Outcome.UNCHECKED) if is_open else (_shown(accepted), Outcome.HELD)
            source = sources.get(key.split(".", maxsplit=1)[0], "")
            yield Check(key, _found(said, key), want, source, outcome)
    yield from (_failed(one) for one in left)


def _found(said: Mapping[str, object], key: str) -> str:
    """Return what is said by a key, or by those of the table that it stands for."""
    if key in said:
        return _shown(said[key])
    inner = [(name, value) for name, value in said.items() if name.startswith(f"{key}.")]
    values = [f"{name.removeprefix(key + '.')} {_shown(value)}" for name, value in inner[:_LONGEST]]
    more = f" and {len(inner) - _LONGEST} more" if len(inner) > _LONGEST else ""
    return ", ".join(values) + more or "nothing"


def _failed(mismatch: Mismatch) -> Check:
    return Check(mismatch.field, mismatch.found, mismatch.want, mismatch.source, Outcome.FAILED)


def _is_about(field: str, key: str) -> bool:
    """Whether a mismatch is of this key: the field itself, or a part of what it is about."""
    return field == key or field.startswith((f"{key}.", f"{key}["))


def _shown(value: object) -> str:
    match value:
        case UNCHECKED.value:
            return "nothing"
        case {"digest": digest, "label": label}:
            return f"{digest} ({label})"
        case list():
            shown = [_shown(one) for one in value[:_LONGEST]]
            more = f" or {len(value) - _LONGEST} more" if len(value) > _LONGEST else ""
            return (" or ".join(shown) or "none") + more
        case _:
            return str(value)
