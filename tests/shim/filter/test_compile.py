"""What the compiler refuses, how long filters get, and one filter to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.errors import FilterError
from shim.filter import (
    FilterProgram,
    FilterTooLongError,
    Opcode,
    SeccompData,
    check,
    compile_filter,
    is_constant_allow,
    listing,
    simulate,
)
from shim.filter.actions import ALLOW, ENOSYS_ACTION, KILL_PROCESS, action_name, errno_action
from shim.filter.assemble import Assembler
from shim.filter.data import argument_offset
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import SyscallTable, table

X86_64 = table("x86_64")
GOLDEN = Path(__file__).parent / "golden"


def rule(name: str, *conditions: tuple[ArgumentCondition, ...]) -> SyscallRule:
    return SyscallRule(X86_64.number(name), name, conditions)


def eq(index: int, value: int) -> tuple[ArgumentCondition, ...]:
    return (ArgumentCondition(index, "eq", value),)


@pytest.mark.parametrize(
    "rules",
    [
        [SyscallRule(0, "write")],
        [SyscallRule(400, "unheard_of")],
        [SyscallRule(470, "listns")],
        [SyscallRule(-1, "read")],
        [rule("read"), rule("read")],
    ],
    ids=["other name", "unknown", "newer than the table", "negative", "twice"],
)
def test_rules_that_the_table_contradicts_are_refused(rules: list[SyscallRule]) -> None:
    with pytest.raises(FilterError):
        compile_filter(rules, X86_64)


def test_an_action_that_the_kernel_lacks_is_refused() -> None:
    with pytest.raises(FilterError):
        compile_filter([], X86_64, 0x1234_0000)


@pytest.mark.parametrize("number", [0, -1, 4096, 65536])
def test_an_errno_that_the_kernel_would_change_is_refused(number: int) -> None:
    with pytest.raises(FilterError):
        errno_action(number)


@pytest.mark.parametrize(
    "condition",
    [
        ArgumentCondition(0, "eq", -1),
        ArgumentCondition(0, "eq", 2**64),
        ArgumentCondition(0, "masked_eq", 0, 2**64),
        ArgumentCondition(0, "masked_eq", 0, -1),
        ArgumentCondition(0, "eq", 1, 1),
        ArgumentCondition(0, "like", 1),  # type: ignore[arg-type]
    ],
    ids=lambda condition: f"{condition.operator} {condition.value} {condition.mask:x}",
)
def test_a_condition_that_is_none_is_refused(condition: ArgumentCondition) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter([rule("read", (condition,))], X86_64)
    assert caught.value.where == "condition"


def test_a_violation_action_may_let_everything_known_pass() -> None:
    program = compile_filter([rule("read", eq(0, 1))], X86_64, ALLOW)
    for number in X86_64:
        assert simulate(program, SeccompData(number, X86_64.audit_arch)).action == ALLOW
    assert simulate(program, SeccompData(400, X86_64.audit_arch)).action == ENOSYS_ACTION


def test_actions_have_names() -> None:
    assert action_name(errno_action(38)) == "ERRNO(38)"
    assert action_name(ALLOW) == "ALLOW"
    assert action_name(0x7FF0_0000) == "TRACE(0)"


def test_a_syscall_has_six_arguments() -> None:
    assert [argument_offset(index) for index in (0, 5)] == [16, 56]
    for index in (-1, 6):
        with pytest.raises(ValueError, match="argument index"):
            argument_offset(index)


def test_a_filter_that_does_not_fit_says_by_how_much() -> None:
    scattered = [eq(0, (index << 32) + index) for index in range(4000)]
    with pytest.raises(FilterTooLongError) as caught:
        compile_filter([rule("ioctl", *scattered)], X86_64)
    assert caught.value.limit == 4096
    assert caught.value.length > 4096
    assert str(caught.value.length) in str(caught.value)


def test_a_large_filter_needs_bridges_and_still_means_the_same() -> None:
    scattered = {index: (index << 32) + 7 * index for index in range(700)}
    program = compile_filter([rule("ioctl", *(eq(0, v) for v in scattered.values())), rule("mseal")], X86_64)
    check(program)
    assert any(instruction.code == Opcode.JA for instruction in program.instructions)
    assert len(listing(program, X86_64).splitlines()) == len(program)
    ioctl = X86_64.number("ioctl")
    for index, value in scattered.items():
        for step, action in ((-1, KILL_PROCESS), (0, ALLOW), (1, KILL_PROCESS)):
            call = SeccompData(ioctl, X86_64.audit_arch, 0, ((value + step) % 2**64, 0, 0, 0, 0, 0))
            assert simulate(program, call).action == action, (index, step)
    assert is_constant_allow(program, X86_64.number("mseal"), X86_64.audit_arch)


@pytest.mark.parametrize("padding", range(250, 262))
def test_jumps_around_the_eight_bit_limit(padding: int) -> None:
    """Both targets at every distance near 255, where a bridge for one pushes the other away."""
    asm = Assembler()
    first, second = asm.ret(ALLOW), asm.load(0, asm.ret(KILL_PROCESS))
    third = asm.bit_and(3, second)
    label = third
    for offset in range(padding):
        label = asm.bit_and(0xFFFF_0000 + offset, label)
    entry = asm.load(4, asm.jump(Opcode.JEQ_K, 5, third, first))
    program = asm.program(entry)
    check(program)
    assert all(0 <= field <= 255 for i in program.instructions for field in (i.jt, i.jf))
    assert simulate(program, SeccompData(0, 5)).action == KILL_PROCESS
    assert simulate(program, SeccompData(0, 6)).action == ALLOW


def test_no_rule_allows_nothing() -> None:
    program = compile_filter([], X86_64)
    check(program)
    for number in (*range(1000), -1, 2**30):
        action = simulate(program, SeccompData(number, X86_64.audit_arch)).action
        assert action == (KILL_PROCESS if number in X86_64 or number % 2**32 >= 2**30 else ENOSYS_ACTION)


def test_every_rule_allows_the_whole_table() -> None:
    program = compile_filter([rule(name) for name in X86_64.numbers], X86_64)
    for number in X86_64:
        assert simulate(program, SeccompData(number, X86_64.audit_arch)).action == ALLOW


def test_conditions_that_never_hold_allow_nothing_and_those_that_always_hold_cost_nothing() -> None:
    never = rule("read", (ArgumentCondition(0, "lt", 0),), (ArgumentCondition(1, "masked_eq", 4, 3),))
    always = rule("write", (ArgumentCondition(0, "ge", 0), ArgumentCondition(1, "masked_eq", 0, 0)))
    program = compile_filter([never, always], X86_64)
    assert simulate(program, SeccompData(0, X86_64.audit_arch)).action == KILL_PROCESS
    assert is_constant_allow(program, 1, X86_64.audit_arch)
    assert all(i.k < 8 for i in program.instructions if i.code == Opcode.LD_ABS)


def test_one_empty_conjunction_makes_the_call_unconditional() -> None:
    program = compile_filter([rule("read", eq(0, 1), (), eq(1, 2))], X86_64)
    assert is_constant_allow(program, 0, X86_64.audit_arch)


def test_a_gap_of_one_number_is_unknown(fake_table: SyscallTable) -> None:
    program = compile_filter([SyscallRule(5, "taste"), SyscallRule(7, "wait")], fake_table)
    actions = [simulate(program, SeccompData(n, fake_table.audit_arch)).action for n in range(4, 9)]
    assert actions == [KILL_PROCESS, ALLOW, ENOSYS_ACTION, ALLOW, ENOSYS_ACTION]


def test_a_set_of_values_is_searched_and_not_walked() -> None:
    values = range(0, 1024, 2)
    program = compile_filter([rule("ioctl", *(eq(1, value) for value in values))], X86_64)
    ioctl = X86_64.number("ioctl")
    costs = [
        simulate(program, SeccompData(ioctl, X86_64.audit_arch, 0, (0, value, 0, 0, 0, 0))).cost
        for value in range(1025)
    ]
    assert max(costs) < 30


def test_golden_listing() -> None:
    rules = [
        rule("read"),
        rule("write"),
        rule("exit_group"),
        rule("ioctl", eq(1, 0x5401), eq(1, 0x5413)),
        rule("mmap", (ArgumentCondition(2, "masked_eq", 0, 4), ArgumentCondition(1, "lt", 2**33))),
    ]
    assert listing(compile_filter(rules, X86_64), X86_64) == (GOLDEN / "small.txt").read_text()


def test_a_listing_shows_every_kind_of_instruction() -> None:
    data = b"".join(
        code.to_bytes(2, "little") + bytes([0, 0]) + (0).to_bytes(4, "little") for code in sorted(Opcode)
    )
    program = FilterProgram.decode(data + FilterProgram(()).encode())
    assert len(listing(program, X86_64).splitlines()) == len(Opcode)


def test_a_listing_of_an_unknown_action_is_refused() -> None:
    with pytest.raises(FilterError):
        listing(FilterProgram.decode(b"\x06\0\0\0\0\0\x34\x12"), X86_64)


@pytest.mark.parametrize("size", [1, 7, 9])
def test_bytes_that_are_no_instructions_are_refused(size: int) -> None:
    with pytest.raises(FilterError) as caught:
        FilterProgram.decode(bytes(size))
    assert caught.value.found == f"{size} bytes"


def test_a_field_too_large_for_its_width_is_refused() -> None:
    instruction = compile_filter([], X86_64).instructions[0]
    with pytest.raises(FilterError):
        FilterProgram((type(instruction)(instruction.code, 256, 0, 0),)).encode()
