"""
What does a profile decide about each number?  The tree between a profile and its instructions.

    Split     numbers below the pivot go one way, the others the other
    Verdict   an action, whatever the arguments
    Guarded   one action where the tests hold, another where they do not

Nothing here knows jumps or registers.  Two kinds of test are enough for every operator, because a comparison
of unsigned numbers is membership in a set or "at least".  Two more pin a call to code: to places in what the
kernel moves, and to all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, get_args

from shim.errors import FilterError
from shim.filter.actions import ALLOW, ENOSYS_ACTION
from shim.filter.data import argument_offset
from shim.filter.program import Moved
from shim.profile.pins import Pins
from shim.profile.profile import ArgumentCondition, Operator, SyscallRule
from shim.syscalls.table import NUMBER_SPACE, SyscallTable

ALL_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """Whether `field & mask` is one of `values`; `field` is a 64-bit field's offset in `seccomp_data`."""

    field: int
    mask: int
    values: tuple[int, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True, order=True)
class AtLeast:
    """Whether the 64-bit field is at least `bound`, unsigned."""

    field: int
    bound: int
    negated: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Behind:
    """Whether the call's instruction is in `moved` and ends at one of `addresses`, in terms of `moved`."""

    moved: int
    addresses: tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Inside:
    """Whether the call comes from anywhere in `moved`."""

    moved: int


Test: TypeAlias = Member | AtLeast | Behind | Inside
Conjunction: TypeAlias = tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action that depends on the number alone."""

    action: int


@dataclass(frozen=True, slots=True)
class Guarded:
    """`matched` where all tests of at least one conjunction hold, else `otherwise`."""

    alternatives: tuple[Conjunction, ...]
    matched: int
    otherwise: int


@dataclass(frozen=True, slots=True)
class Split:
    """`below` for numbers less than `pivot`, `above` for the others; compared as unsigned 32-bit numbers."""

    pivot: int
    below: Decision
    above: Decision


Leaf: TypeAlias = Verdict | Guarded
Decision: TypeAlias = Verdict | Guarded | Split


def decision_tree(
    rules: Mapping[int, SyscallRule], table: SyscallTable, violation: int, pins: Pins | None = None
) -> Decision:
    """
    Return the decision about every 32-bit number; with `pins`, also about where each call comes from.

    A number of the table is allowed by its rule or answered with `violation`.  Below `table.foreign_from`
    every other number is answered with ENOSYS, as an older kernel would: newer libcs then fall back
    (moby#42680). From `foreign_from` on every number is a violation: no libc of this architecture ever issues
    one, so a call there is an attempt to pass by the filter and not a libc looking for a newer call.
    """
    places = None if pins is None else _places(pins)
    starts: dict[int, Leaf] = {0: Verdict(ENOSYS_ACTION), table.foreign_from: Verdict(violation)}
    for number in table:
        starts[number] = _leaf(rules.get(number), violation, places)
        if number + 1 not in table and number + 1 < table.foreign_from:
            starts[number + 1] = Verdict(ENOSYS_ACTION)
    starts.pop(NUMBER_SPACE, None)
    return _balanced(_merged(sorted(starts.items(), key=lambda start: start[0])))


def _leaf(
    rule: SyscallRule | None, violation: int, places: Mapping[int, tuple[Conjunction, ...]] | None
) -> Leaf:
    if rule is None:
        return Verdict(violation)
    alternatives = _alternatives(rule.conditions) if rule.conditions else ((),)
    if () in alternatives:
        alternatives = ((),)
    if places is not None:
        alternatives = tuple((*place, *tests) for place in places[rule.number] for tests in alternatives)
    if not alternatives:
        return Verdict(violation)
    return Verdict(ALLOW) if () in alternatives else Guarded(alternatives, ALLOW, violation)


def _places(pins: Pins) -> dict[int, tuple[Conjunction, ...]]:
    """
    Return for each number the places that it may come from, each as a test.

    Raises:
        FilterError: an address too far from the file's first to be compared in 32 bits.
    """
    moved = {path: _moved(number) for number, path in enumerate(pins.objects)}
    found: dict[int, tuple[Conjunction, ...]] = {}
    for pin in pins.pins:
        behind: dict[int, list[int]] = {}
        for site in pin.sites:
            address = site.address + pins.instruction_size
            if not 0 < address < 1 << 32:
                raise FilterError(
                    f"pin of {pin.name}", f"{address:#x}", "an address in the first 4 GiB of its file"
                )
            behind.setdefault(moved[site.object], []).append(address)
        own: tuple[Conjunction, ...] = tuple(
            (Behind(number, tuple(sorted(addresses))),) for number, addresses in sorted(behind.items())
        )
        found[pin.number] = (*own, (Inside(Moved.VDSO),)) if pin.vdso else own
    return found


def _moved(place: int) -> int:
    """Return what the launcher calls the object at a place among those with pins; the program is first."""
    return Moved.PROGRAM if place == 0 else len(Moved) + place - 1


def _merged(starts: Iterable[tuple[int, Leaf]]) -> list[tuple[int, Leaf]]:
    """Return the starts without those that continue the range before them."""
    merged: list[tuple[int, Leaf]] = []
    for number, leaf in starts:
        if not merged or merged[-1][1] != leaf:
            merged.append((number, leaf))
    return merged


def _balanced(ranges: list[tuple[int, Leaf]]) -> Decision:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    return Split(ranges[middle][0], _balanced(ranges[:middle]), _balanced(ranges[middle:]))


def _alternatives(conditions: Iterable[Iterable[ArgumentCondition]]) -> tuple[Conjunction, ...]:
    """
    Return the conjunctions that can hold, sets of single values joined, in a fixed order.

    The empty tuple holds always; no conjunction at all means that none ever holds.
    """
    sets: dict[tuple[int, int], set[int]] = {}
    others: set[Conjunction] = set()
    for conditions_of_one in conditions:
        tests = _conjunction(conditions_of_one)
        if tests is None:
            continue
        match tests:
            case (Member(negated=False) as single,):
                sets.setdefault((single.field, single.mask), set()).update(single.values)
            case _:
                others.add(tests)
    joined = [(Member(field, mask, tuple(sorted(values))),) for (field, mask), values in sorted(sets.items())]
    return (*joined, *sorted(others, key=repr))


def _conjunction(conditions: Iterable[ArgumentCondition]) -> Conjunction | None:
    """Return the tests that are neither always true nor repeated; None if one of them can never hold."""
    tests: list[Test] = []
    for condition in conditions:
        test = _test(condition)
        if test is False:
            return None
        if test is not True and test not in tests:
            tests.append(test)
    return tuple(tests)


def _test(condition: ArgumentCondition) -> Test | bool:  # one for each operator
    """
    Return the test of one condition, or what it always is.

    Raises:
        FilterError: an operator that profiles do not have, or a number that is not of 64 bits.
    """
    numbers_fit = 0 <= condition.value <= ALL_BITS and 0 <= condition.mask <= ALL_BITS
    mask_fits = condition.mask == ALL_BITS or condition.operator == "masked_eq"
    if condition.operator not in get_args(Operator) or not numbers_fit or not mask_fits:
        raise FilterError("condition", str(condition), "an operator of profiles and numbers of 64 bits")
    field, value = argument_offset(condition.index), condition.value
    match condition.operator:
        case "eq":
            return Member(field, ALL_BITS, (value,))
        case "ne":
            return Member(field, ALL_BITS, (value,), negated=True)
        case "masked_eq":
            if value & ~condition.mask:
                return False
            return Member(field, condition.mask, (value,)) if condition.mask else True
        case "ge":
            return _at_least(field, value)
        case "gt":
            return _at_least(field, value + 1)
        case "lt":
            return _not(_at_least(field, value))
        case "le":
            return _not(_at_least(field, value + 1))


def _at_least(field: int, bound: int) -> AtLeast | bool:
    if bound == 0:
        return True
    return AtLeast(field, bound) if bound <= ALL_BITS else False


def _not(test: AtLeast | bool) -> AtLeast | bool:  # noqa: FBT001  # may be constant
    return replace(test, negated=True) if isinstance(test, AtLeast) else not test
