"""What foreign formats are given means what the profile says, test by test."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings, strategies as st

from shim.errors import ProfileError
from shim.profile.export.plain_tests import MOST_ALTERNATIVES, plain_tests
from shim.profile.export.rules import exported_rules, refused_names
from shim.profile.implication import covers, holds
from shim.profile.profile import ArgumentCondition, Profile, SyscallRule
from shim.syscalls import UnknownSyscallError, table

ALL_BITS = 2**64 - 1
NEAR = st.integers(0, 9)
FAR = st.sampled_from([2**32 - 1, 2**32, 2**63, ALL_BITS - 1, ALL_BITS])
VALUES = st.one_of(NEAR, FAR)
CONDITIONS = st.one_of(
    st.builds(
        ArgumentCondition, st.integers(0, 1), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), VALUES
    ),
    st.builds(lambda i, v, m: ArgumentCondition(i, "masked_eq", v & m, m), st.integers(0, 1), VALUES, VALUES),
)
CONJUNCTIONS = st.lists(CONDITIONS, min_size=1, max_size=4).map(tuple)
ALTERNATIVES = st.lists(CONJUNCTIONS, max_size=3).map(tuple)
Conjunctions = tuple[tuple[ArgumentCondition, ...], ...]


def allows(alternatives: Conjunctions, arguments: tuple[int, int]) -> bool:
    return not alternatives or any(
        all(holds(condition, arguments[condition.index]) for condition in conjunction)
        for conjunction in alternatives
    )


def candidates(alternatives: Conjunctions) -> list[tuple[int, int]]:
    """Every value that a condition names, and its neighbours: where anything can change."""
    named = {c.value for conjunction in alternatives for c in conjunction}
    values = sorted({(v + d) % 2**64 for v in named | {0} for d in (-1, 0, 1)})
    return [(first, second) for first in values for second in values]


@settings(max_examples=200, deadline=None)
@given(alternatives=ALTERNATIVES)
def test_rewritten_rules_mean_the_same(alternatives: Conjunctions) -> None:
    rule = SyscallRule(16, "ioctl", alternatives)
    try:
        rewritten = plain_tests([rule])
    except ProfileError as error:
        assert error.where == "conditions of ioctl"  # a mask beside a comparison
        assume(False)
    for simple in rewritten:
        assert len(simple.conditions) <= MOST_ALTERNATIVES
        for conjunction in simple.conditions:
            indices = [condition.index for condition in conjunction]
            assert len(set(indices)) == len(indices)
            if len(simple.conditions) > 1:
                assert {condition.operator for condition in conjunction} <= {"eq", "masked_eq"}
    for arguments in candidates(alternatives):
        want = allows(alternatives, arguments)
        assert any(allows(simple.conditions, arguments) for simple in rewritten) == want, arguments


def test_a_range_of_the_whole_width_is_no_condition_and_too_many_are_refused() -> None:
    everything = (ArgumentCondition(0, "ge", 0), ArgumentCondition(0, "le", ALL_BITS))
    assert plain_tests([SyscallRule(16, "ioctl", (everything,))])[0].conditions == ()
    awkward = (ArgumentCondition(0, "ge", 1), ArgumentCondition(0, "le", ALL_BITS - 1))
    other = (ArgumentCondition(1, "ge", 1), ArgumentCondition(1, "le", ALL_BITS - 1))
    with pytest.raises(ProfileError, match="alternatives, want at most 256"):
        plain_tests([SyscallRule(16, "ioctl", ((*awkward, *other),))])


@settings(max_examples=300, deadline=None)
@given(wider=ALTERNATIVES, narrower=ALTERNATIVES)
def test_a_cover_covers(wider: Conjunctions, narrower: Conjunctions) -> None:
    if covers(wider, narrower):
        for arguments in {*candidates(wider), *candidates(narrower)}:
            assert allows(wider, arguments) or not allows(narrower, arguments), arguments


@settings(max_examples=200, deadline=None)
@given(alternatives=ALTERNATIVES, more=ALTERNATIVES)
def test_what_grew_by_alternatives_covers_what_it_was(alternatives: Conjunctions, more: Conjunctions) -> None:
    assert covers(alternatives, alternatives)
    assert covers((), alternatives)
    if alternatives and more:
        assert covers((*more, *alternatives), alternatives)


@pytest.mark.parametrize(
    ("wider", "narrower", "want"),
    [
        ([("ge", 1, "le", 2)], [("eq", 1)], True),
        ([("eq", 1), ("eq", 2)], [("ge", 1, "le", 2)], True),  # value by value
        ([("eq", 1)], [("ge", 1, "le", 2)], False),
        ([("ne", 5)], [("lt", 5)], True),
        ([("ne", 5)], [("le", 5)], False),
        ([("eq", 1)], [], False),
        ([("lt", 2**63)], [("lt", 2**40)], True),
        ([("gt", 3)], [("ge", 4)], True),
        ([("gt", 3)], [("ge", 3)], False),
        ([("ge", 3)], [("gt", 2)], True),
        ([("ge", 3)], [("ge", 2)], False),
        ([("le", 3000)], [("le", 3000)], True),
        ([("le", 3000)], [("le", 3001)], False),
        ([("lt", 3000)], [("le", 2999)], True),
        ([("lt", 3000)], [("le", 3000)], False),
        ([("ne", 3)], [("ge", 1, "ne", 3)], True),
        ([("ne", 3)], [("ge", 1, "ne", 4)], False),
    ],
)
def test_covers_by_hand(
    wider: list[tuple[object, ...]], narrower: list[tuple[object, ...]], *, want: bool
) -> None:
    def made(rows: list[tuple[object, ...]]) -> Conjunctions:
        return tuple(
            tuple(ArgumentCondition(0, row[i], row[i + 1]) for i in range(0, len(row), 2))  # type: ignore[arg-type]
            for row in rows
        )

    assert covers(made(wider), made(narrower)) is want


def test_masks_cover_masks_of_more_bits() -> None:
    bit, bits = ArgumentCondition(2, "masked_eq", 0, 4), ArgumentCondition(2, "masked_eq", 2, 6)
    assert covers([(bit,)], [(bits,)])
    assert not covers([(bits,)], [(bit,)])


def test_further_calls_lose_their_conditions_and_unknown_ones_are_refused(profile: Profile) -> None:
    rules = {rule.name: rule for rule in exported_rules(profile, ("ioctl", "execve"))}
    assert rules["ioctl"].conditions == ()
    assert rules["execve"].number == 59
    with pytest.raises(UnknownSyscallError):
        exported_rules(profile, ("exeggutor",))


def test_refused_are_all_the_others(profile: Profile) -> None:
    rules = exported_rules(profile)
    refused = refused_names(rules, table("x86_64"))
    assert {*refused, *(rule.name for rule in rules)} == set(table("x86_64").numbers)
    assert len(refused) == len(table("x86_64").numbers) - len(rules)
