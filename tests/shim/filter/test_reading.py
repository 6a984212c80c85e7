"""Rules read back from a filter: never narrower than it, and the same where it asks for equality."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import FilterError
from shim.filter import FilterProgram, SeccompData, compile_filter, simulate
from shim.filter.actions import ALLOW, KILL_PROCESS, LOG, TRACE, USER_NOTIF, errno_action
from shim.filter.reading import MOST_ALTERNATIVES, let_through
from shim.profile.implication import holds
from shim.profile.pins import Pin, Pins
from shim.profile.profile import ArgumentCondition, Site, SyscallRule
from tests.shim.filter.test_properties import X86_64, arguments, near_misses, rules_of

REFUSED = frozenset({USER_NOTIF, TRACE})
ALL_BITS = 2**64 - 1


def allows(rules: tuple[SyscallRule, ...], number: int, words: tuple[int, ...]) -> bool:
    return any(
        not rule.conditions
        or any(all(holds(one, words[one.index]) for one in way) for way in rule.conditions)
        for rule in rules
        if rule.number == number
    )


@settings(max_examples=60, deadline=None)
@given(rules_of(X86_64), st.sampled_from([KILL_PROCESS, USER_NOTIF, TRACE, errno_action(1)]), st.data())
def test_whatever_passes_is_in_the_rules(
    rules: list[SyscallRule], violation: int, data: st.DataObject
) -> None:
    program = compile_filter(rules, X86_64, violation)
    read = let_through(program, X86_64, REFUSED)
    numbers = [rule.number for rule in rules] + [0, 59, 231]
    for _ in range(8):
        number = data.draw(st.sampled_from(numbers))
        words = near_misses(rules, data)
        if simulate(program, SeccompData(number, X86_64.audit_arch, 0, words)).action == ALLOW:
            assert allows(read, number, words)
    assert {rule.number for rule in read} <= {rule.number for rule in rules}


equalities = st.builds(
    ArgumentCondition, st.integers(0, 5), st.just("eq"), st.sampled_from([0, 1, 2**32, 2**32 + 1, ALL_BITS])
)
masked = st.builds(
    lambda index, value, mask: ArgumentCondition(index, "masked_eq", value & mask, mask),
    st.integers(0, 5),
    st.integers(0, ALL_BITS),
    st.sampled_from([1, 4, 0xFFFF_FFFF, 0xFF << 40, 7 << 30]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(equalities | masked, min_size=1, max_size=2).map(tuple), min_size=1, max_size=4),
    arguments,
)
def test_equalities_come_back(ways: list[tuple[ArgumentCondition, ...]], words: tuple[int, ...]) -> None:
    rule = SyscallRule(X86_64.number("socket"), "socket", tuple(ways))
    program = compile_filter([rule], X86_64, KILL_PROCESS)
    read = let_through(program, X86_64)
    for way in ways:
        chosen = list(words)
        for one in way:
            chosen[one.index] = chosen[one.index] & ~one.mask | one.value
        for call in (tuple(chosen), words):
            passes = simulate(program, SeccompData(rule.number, X86_64.audit_arch, 0, call)).action == ALLOW
            assert allows(read, rule.number, call) == passes


def rule(name: str, *conditions: tuple[ArgumentCondition, ...]) -> SyscallRule:
    return SyscallRule(X86_64.number(name), name, conditions)


def test_pins_and_relocations_are_passed_over() -> None:
    only = rule("read", (ArgumentCondition(0, "eq", 0),))
    places = (Site("/program", 0x1000, "f"), Site("/program", 0x2000, "g"))
    pinned = Pins((Pin(0, "read", places, vdso=True),), (), ("/program",))
    program = compile_filter([only], X86_64, KILL_PROCESS, pinned)
    assert program.relocations
    assert let_through(program, X86_64) == (only,)


@pytest.mark.parametrize("action", [ALLOW, LOG, TRACE, USER_NOTIF])
def test_which_actions_let_a_call_through_is_for_the_caller(action: int) -> None:
    program = FilterProgram.decode(bytes.fromhex("0600000000000000")[:4] + action.to_bytes(4, "little"))
    assert len(let_through(program, X86_64)) == len(X86_64.numbers)
    refused = let_through(program, X86_64, REFUSED)
    assert len(refused) == (0 if action in REFUSED else len(X86_64.numbers))


def test_of_too_many_alternatives_less_is_asked() -> None:
    ways = tuple((ArgumentCondition(1, "eq", 3 * value),) for value in range(MOST_ALTERNATIVES + 1))
    (read,) = let_through(compile_filter([rule("ioctl", *ways)], X86_64, KILL_PROCESS), X86_64)
    assert read.conditions == ((ArgumentCondition(1, "masked_eq", 0, ALL_BITS << 32 & ALL_BITS),),)
    (fewer,) = let_through(compile_filter([rule("ioctl", *ways[:-1])], X86_64, KILL_PROCESS), X86_64)
    assert fewer == rule("ioctl", *sorted(ways[:-1]))


def test_a_way_that_no_call_can_take_is_none() -> None:
    words = (
        (0x20, 0, 0, 16),
        (0x15, 0, 3, 1),
        (0x20, 0, 0, 16),
        (0x15, 0, 1, 2),
        (0x06, 0, 0, ALLOW),
        (0x06, 0, 0, 0),
    )
    code = b"".join(
        c.to_bytes(2, "little") + bytes((jt, jf)) + k.to_bytes(4, "little") for c, jt, jf, k in words
    )
    assert let_through(FilterProgram.decode(code), X86_64) == ()


def test_what_the_kernel_would_not_take_is_no_filter() -> None:
    with pytest.raises(FilterError):
        let_through(FilterProgram.decode(bytes.fromhex("0500000005000000")), X86_64)
