"""
How does a rule become one that libseccomp gets right?

libseccomp, and whatever is built on it, takes one test of each argument in a rule: several become equivalent
alternatives with one each.  And of a call with several alternatives it makes a right filter only if all of
them ask for equality, masked or not: with others it was seen (2.5.4, random rules against their plain
meaning) to refuse what was allowed and to allow what was not, `x < 3 or x < 2**32 + 1` for one.  So beside
another alternative a comparison becomes the blocks of numbers that it allows, each one masked test.

Nothing is ever widened: what cannot be said is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from shim.errors import ProfileError
from shim.profile.implication import covers, holds
from shim.profile.profile import ArgumentCondition, SyscallRule

ALL_BITS = 0xFFFF_FFFF_FFFF_FFFF
MOST_ALTERNATIVES = 256
"""Of one call.  libseccomp makes up to ten instructions of each, and a filter has at most 4096."""

Conjunction = tuple[ArgumentCondition, ...]
Choice = ArgumentCondition | None
"""One of several tests of an argument; None allows all its values."""


def plain_tests(rules: Sequence[SyscallRule]) -> tuple[SyscallRule, ...]:
    """
    Return equivalent rules that libseccomp makes a right filter of.

    A rule that no arguments can satisfy is left out.

    Raises:
        ProfileError: a rule for which that takes more than `MOST_ALTERNATIVES`, or cannot be done.
    """
    return tuple(plain for rule in rules for plain in _plain(rule))


def _plain(rule: SyscallRule) -> Iterator[SyscallRule]:
    if not rule.conditions:
        yield rule
        return
    single = _expanded(rule, rule.conditions, lambda tests: _one_test(rule, tests))
    alternatives = _without_covered(single)
    if len(alternatives) > 1:
        alternatives = _expanded(rule, alternatives, _equalities)
    if () in alternatives:
        yield replace(rule, conditions=())
    elif alternatives:
        yield replace(rule, conditions=tuple(sorted(alternatives)))


def _expanded(
    rule: SyscallRule,
    alternatives: Iterable[Conjunction],
    choices: Callable[[list[ArgumentCondition]], list[Choice]],
) -> list[Conjunction]:
    """Return the alternatives with the tests of each argument replaced by each of their `choices`."""
    found: dict[Conjunction, None] = {}
    for conjunction in alternatives:
        by_index: dict[int, list[ArgumentCondition]] = {}
        for condition in conjunction:
            by_index.setdefault(condition.index, []).append(condition)
        for chosen in itertools.product(*(choices(by_index[index]) for index in sorted(by_index))):
            found[tuple(condition for condition in chosen if condition is not None)] = None
            if len(found) > MOST_ALTERNATIVES:
                raise _too_hard(rule, "too many alternatives", f"at most {MOST_ALTERNATIVES}")
    return list(found)


def _without_covered(alternatives: list[Conjunction]) -> list[Conjunction]:
    """Leave out what another alternative allows as well, and what nothing satisfies."""
    kept: list[Conjunction] = []
    for position, conjunction in enumerate(alternatives):
        others = [*kept, *alternatives[position + 1 :]]
        if not any(covers((other,), (conjunction,)) for other in others) and not _impossible(conjunction):
            kept.append(conjunction)
    return kept


def _impossible(conjunction: Conjunction) -> bool:
    return any(condition.operator in _ORDER and not _bounds(condition) for condition in conjunction)


def _one_test(rule: SyscallRule, conditions: list[ArgumentCondition]) -> list[Choice]:
    """Return tests of which one holds exactly when all `conditions` on one argument do."""
    if len(conditions) == 1:
        return list(conditions)
    masked = [condition for condition in conditions if condition.operator in ("eq", "masked_eq")]
    others = [condition for condition in conditions if condition not in masked]
    if not masked:
        return _tests_of(conditions[0].index, _intersection(others))
    merged = masked[0]
    for condition in masked[1:]:
        if (merged.value ^ condition.value) & merged.mask & condition.mask:
            return []
        mask, value = merged.mask | condition.mask, merged.value | condition.value
        merged = ArgumentCondition(merged.index, "masked_eq", value, mask)
    if merged.mask == ALL_BITS:
        pinned = ArgumentCondition(merged.index, "eq", merged.value)
        return [pinned] if all(holds(condition, merged.value) for condition in others) else []
    if others:
        raise _too_hard(rule, "a mask and a comparison of one argument", "either of them")
    return [merged]


def _equalities(conditions: list[ArgumentCondition]) -> list[Choice]:
    """Return masked tests of which one holds exactly when the only one of `conditions` does."""
    (condition,) = conditions
    if condition.operator not in _ORDER:
        return [condition]
    return [block for low, high in _bounds(condition) for block in _blocks(condition.index, low, high)]


_ORDER = frozenset({"ne", "lt", "le", "gt", "ge"})
_Ranges = list[tuple[int, int]]
"""Closed ranges of numbers, ascending and apart."""


def _bounds(condition: ArgumentCondition) -> _Ranges:
    value = condition.value
    ranges = {
        "ne": [(0, value - 1), (value + 1, ALL_BITS)],
        "lt": [(0, value - 1)],
        "le": [(0, value)],
        "gt": [(value + 1, ALL_BITS)],
        "ge": [(value, ALL_BITS)],
    }[condition.operator]
    return [(low, high) for low, high in ranges if low <= high]


def _intersection(conditions: list[ArgumentCondition]) -> _Ranges:
    ranges = [(0, ALL_BITS)]
    for condition in conditions:
        both = itertools.product(ranges, _bounds(condition))
        ranges = sorted((max(a, c), min(b, d)) for (a, b), (c, d) in both if max(a, c) <= min(b, d))
    return ranges


def _tests_of(index: int, ranges: _Ranges) -> list[Choice]:
    """Return one test for each range where there is one, else its blocks."""
    match ranges:
        case [(0, first), (second, last)] if (second - first, last) == (2, ALL_BITS):
            return [ArgumentCondition(index, "ne", first + 1)]
        case [(0, high)]:
            return [None if high == ALL_BITS else ArgumentCondition(index, "le", high)]
        case [(low, high)] if high == ALL_BITS:
            return [ArgumentCondition(index, "ge", low)]
    return [block for low, high in ranges for block in _blocks(index, low, high)]


def _blocks(index: int, low: int, high: int) -> Iterator[Choice]:
    """Cover a range by aligned blocks of a power of two: as networks are covered by prefixes."""
    while low <= high:
        size = low & -low or ALL_BITS + 1
        while low + size - 1 > high:
            size //= 2
        mask = ALL_BITS ^ (size - 1)
        if mask == 0:
            yield None
        else:
            yield ArgumentCondition(index, "eq" if size == 1 else "masked_eq", low, mask)
        low += size


def _too_hard(rule: SyscallRule, found: str, want: str) -> ProfileError:
    source = "libseccomp takes one test of each argument: seccomp_rule_add(3)"
    return ProfileError(f"conditions of {rule.name}", found, f"{want}, for this format", source)
