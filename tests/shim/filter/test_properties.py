"""For every profile and every call: the filter means what the profile says, and the kernel takes it."""

from __future__ import annotations

import errno
import platform
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from shim.filter import FilterProgram, SeccompData, check, compile_filter, is_constant_allow, simulate
from shim.filter.actions import ALLOW, ENOSYS_ACTION, KILL_PROCESS, errno_action
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import SyscallTable, table

if TYPE_CHECKING:
    from tests.shim.filter.conftest import Interpret, Kernel

X86_64 = table("x86_64")
ALL_BITS = 2**64 - 1
REFUSED, ALLOWED = 1234, 2345
VIOLATION = errno_action(REFUSED)
Arguments: TypeAlias = tuple[int, int, int, int, int, int]
UNFILTERED = {"uretprobe", "uprobe"}
"""Calls that the kernel lets pass whatever the filter says: kernel/seccomp.c, v6.14 and v6.18."""

edges = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, ALL_BITS])
nearby = st.builds(lambda edge, step: (edge + step) % 2**64, edges, st.integers(-2, 2))
small = st.integers(0, 5)
values = st.one_of(small, nearby, st.integers(0, ALL_BITS))
masks = st.one_of(st.sampled_from([0, 1, 0xFFFF_FFFF, ALL_BITS - 0xFFFF_FFFF, ALL_BITS]), values)
plain = st.builds(ArgumentCondition, small, st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), values)
masked = st.builds(
    lambda index, value, mask, inside: ArgumentCondition(
        index, "masked_eq", value & mask if inside else value, mask
    ),
    small,
    values,
    masks,
    st.booleans(),
)
conditions = st.lists(st.lists(st.one_of(plain, masked), max_size=3).map(tuple), max_size=5).map(tuple)
arguments = st.tuples(values, values, values, values, values, values)


def rules_of(numbers: SyscallTable) -> st.SearchStrategy[list[SyscallRule]]:
    known = st.sampled_from(sorted(numbers.numbers.items()))
    rule = st.builds(lambda named, conditions: SyscallRule(named[1], named[0], conditions), known, conditions)
    return st.lists(rule, max_size=30, unique_by=lambda rule: rule.number)


def near_misses(rules: list[SyscallRule], data: st.DataObject) -> Arguments:
    """Arguments drawn from the constants of the rules, so that calls do not all fail at once."""
    constants = [
        c.value + step for rule in rules for all_of in rule.conditions for c in all_of for step in (-1, 0, 1)
    ]
    pool = st.sampled_from([constant % 2**64 for constant in constants]) if constants else values
    return data.draw(st.tuples(*[st.one_of(pool, values)] * 6))


def some_number(rules: list[SyscallRule], numbers: SyscallTable, data: st.DataObject) -> int:
    of_rule = st.sampled_from([rule.number for rule in rules]) if rules else st.just(0)
    of_table = st.sampled_from(sorted(numbers))
    anything = st.one_of(st.integers(-5, numbers.highest + 5), nearby.map(lambda n: n % 2**32))
    return data.draw(st.one_of(of_rule, of_table, anything))


ACTIONS = {"allow": ALLOW, "refuse": VIOLATION, "enosys": ENOSYS_ACTION, "kill": KILL_PROCESS}
shared_fixtures = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


@pytest.mark.parametrize("arch", ["x86_64", "kettle"])
@settings(shared_fixtures, max_examples=120)
@given(data=st.data())
def test_a_filter_answers_what_the_profile_means(
    arch: str, data: st.DataObject, fake_table: SyscallTable, interpret: Interpret
) -> None:
    numbers = {"x86_64": X86_64, "kettle": fake_table}[arch]
    rules = data.draw(rules_of(numbers))
    program = compile_filter(rules, numbers, VIOLATION)
    check(program)
    for _ in range(4):
        arch_seen = data.draw(st.sampled_from([numbers.audit_arch] * 7 + [0x4000_0003]))
        call = SeccompData(some_number(rules, numbers, data), arch_seen, 0, near_misses(rules, data))
        assert simulate(program, call).action == ACTIONS[interpret(rules, numbers, call)]


@settings(shared_fixtures, max_examples=100)
@given(data=st.data(), rules=rules_of(X86_64), more=rules_of(X86_64))
def test_a_wider_profile_never_refuses_more(
    data: st.DataObject, rules: list[SyscallRule], more: list[SyscallRule]
) -> None:
    numbers = {rule.number for rule in rules}
    wider = [*rules, *(rule for rule in more if rule.number not in numbers)]
    if wider and data.draw(st.booleans()):
        chosen = data.draw(st.integers(0, len(wider) - 1))
        wider[chosen] = SyscallRule(wider[chosen].number, wider[chosen].name)
    call = SeccompData(some_number(wider, X86_64, data), X86_64.audit_arch, 0, near_misses(wider, data))
    if simulate(compile_filter(rules, X86_64), call).action == ALLOW:
        assert simulate(compile_filter(wider, X86_64), call).action == ALLOW


@settings(shared_fixtures, max_examples=100)
@given(rules=rules_of(X86_64))
def test_numbers_allowed_without_conditions_never_run_the_filter(rules: list[SyscallRule]) -> None:
    program = compile_filter(rules, X86_64)
    for rule in rules:
        if not rule.conditions:
            assert is_constant_allow(program, rule.number, X86_64.audit_arch), rule.name
    allowed = {rule.number for rule in rules}
    for number in X86_64:
        if number not in allowed:
            assert not is_constant_allow(program, number, X86_64.audit_arch)


@settings(shared_fixtures, max_examples=100)
@given(rules=rules_of(X86_64))
def test_encoding_round_trips_and_the_order_of_rules_does_not_matter(rules: list[SyscallRule]) -> None:
    program = compile_filter(rules, X86_64)
    assert FilterProgram.decode(program.encode()) == program
    assert compile_filter(list(reversed(rules)), X86_64) == program


def without_side_effects(program: FilterProgram) -> FilterProgram:
    """The same filter with ALLOW turned into an errno, so that the kernel runs it and not the call."""
    words = program.encode()
    allow, report = ALLOW.to_bytes(4, "little"), errno_action(ALLOWED).to_bytes(4, "little")
    parts = [words[at : at + 8] for at in range(0, len(words), 8)]
    swapped = [part[:4] + report if part == b"\x06\0\0\0" + allow else part for part in parts]
    return FilterProgram.decode(b"".join(swapped))


@pytest.mark.live
@settings(shared_fixtures, max_examples=25)
@given(data=st.data(), rules=rules_of(X86_64))
def test_the_kernel_takes_and_understands_every_filter(
    data: st.DataObject, rules: list[SyscallRule], kernel: Kernel, interpret: Interpret
) -> None:
    program = without_side_effects(compile_filter(rules, X86_64, VIOLATION))
    calls = [
        (some_number(rules, X86_64, data), near_misses(rules, data))
        for _ in range(data.draw(st.integers(1, 30)))
    ]
    calls = [(number, args) for number, args in calls if X86_64.names.get(number) not in UNFILTERED]
    assume(calls)
    (reply,) = kernel.ask([(program, [kernel.call(number, args) for number, args in calls])])
    assert reply.install_errno == 0
    expected = {"allow": -ALLOWED, "refuse": -REFUSED, "enosys": -errno.ENOSYS}
    for (number, args), value in zip(calls, reply.values, strict=True):
        data_seen = SeccompData(number, X86_64.audit_arch, 0, args)
        assert value == expected[interpret(rules, X86_64, data_seen)], (number, args)


@pytest.mark.live
def test_the_kernel_answers_every_number_as_the_simulator(kernel: Kernel) -> None:
    every_third = [SyscallRule(number, X86_64.names[number]) for number in list(X86_64)[::3]]
    program = without_side_effects(compile_filter(every_third, X86_64, VIOLATION))
    numbers = [n for n in (*range(1100), 2**30, 2**31, -1) if X86_64.names.get(n) not in UNFILTERED]
    (reply,) = kernel.ask([(program, [kernel.call(number) for number in numbers])])
    for number, value in zip(numbers, reply.values, strict=True):
        action = simulate(program, SeccompData(number, X86_64.audit_arch)).action
        assert value == -(action & 0xFFFF), number


@pytest.mark.live
def test_the_kernel_lets_uprobe_pass_every_filter(kernel: Kernel) -> None:
    """Not ours to refuse; outside the kernel's own trampoline it fails with ENXIO."""
    if tuple(int(part) for part in platform.release().split(".")[:2]) < (6, 18):
        pytest.skip("the kernel is older than 6.18, which exempts uprobe")
    uprobe, nothing = X86_64.number("uprobe"), compile_filter([], X86_64, VIOLATION)
    assert simulate(nothing, SeccompData(uprobe, X86_64.audit_arch)).action == VIOLATION
    (reply,) = kernel.ask([(nothing, [kernel.call(uprobe)])])
    assert reply.values == (-errno.ENXIO,)
