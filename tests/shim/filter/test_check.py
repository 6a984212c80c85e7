"""What the kernel refuses, `check` refuses; what the kernel takes, `check` takes."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import FilterError
from shim.filter import FilterProgram, Instruction, Opcode, SeccompData, check, compile_filter, simulate
from shim.filter.actions import errno_action
from shim.filter.program import CONDITIONAL_JUMPS, MAX_INSTRUCTIONS, RETURNS
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import table

if TYPE_CHECKING:
    from tests.shim.filter.conftest import Kernel

X86_64 = table("x86_64")
RETURN = Instruction(Opcode.RET_K, 0, 0, 0x7FFF_0000)


def program(*instructions: Instruction) -> FilterProgram:
    return FilterProgram(instructions)


REFUSED = {
    "no instruction": program(),
    "too many": program(*[RETURN] * (MAX_INSTRUCTIONS + 1)),
    "no return at the end": program(RETURN, Instruction(Opcode.LD_IMM, 0, 0, 0)),
    "a jump at the end": program(RETURN, Instruction(Opcode.JA, 0, 0, 0)),
    "JA past the end": program(Instruction(Opcode.JA, 0, 0, 1), RETURN),
    "JA far past the end": program(Instruction(Opcode.JA, 0, 0, 0xFFFF_FFFF), RETURN),
    "jt past the end": program(Instruction(Opcode.JEQ_K, 1, 0, 0), RETURN),
    "jf past the end": program(Instruction(Opcode.JEQ_K, 0, 1, 0), RETURN),
    "division by zero": program(Instruction(Opcode.DIV_K, 0, 0, 0), RETURN),
    "shift left by 32": program(Instruction(Opcode.LSH_K, 0, 0, 32), RETURN),
    "shift right by 32": program(Instruction(Opcode.RSH_K, 0, 0, 32), RETURN),
    "scratch cell 16": program(Instruction(Opcode.ST, 0, 0, 16), RETURN),
    "load of scratch cell 16": program(Instruction(Opcode.LD_MEM, 0, 0, 16), RETURN),
    "unaligned load": program(Instruction(Opcode.LD_ABS, 0, 0, 2), RETURN),
    "load at 64": program(Instruction(Opcode.LD_ABS, 0, 0, 64), RETURN),
    "ancillary load": program(Instruction(Opcode.LD_ABS, 0, 0, 0xFFFF_F000), RETURN),
    "load of a half": program(Instruction(0x28, 0, 0, 0), RETURN),
    "indirect load": program(Instruction(0x40, 0, 0, 0), RETURN),
    "modulo": program(Instruction(0x94, 0, 0, 3), RETURN),
    "return of X": program(Instruction(0x0E, 0, 0, 0)),
    "an opcode beyond a byte": program(Instruction(0x0106, 0, 0, 0)),
    "a cell never stored": program(Instruction(Opcode.LD_MEM, 0, 0, 3), RETURN),
    "a cell stored on one way only": program(
        Instruction(Opcode.JEQ_K, 0, 1, 0),
        Instruction(Opcode.ST, 0, 0, 3),
        Instruction(Opcode.LD_MEM, 0, 0, 3),
        RETURN,
    ),
    "a cell loaded after a return": program(RETURN, Instruction(Opcode.LDX_MEM, 0, 0, 0), RETURN),
}
TAKEN = {
    "one return": program(RETURN),
    "a return of A": program(Instruction(Opcode.RET_A, 0, 0, 0)),
    "as many as may be": program(*[RETURN] * MAX_INSTRUCTIONS),
    "an unknown action": program(Instruction(Opcode.RET_K, 0, 0, 0x1234_5678)),
    "jumps to the last": program(Instruction(Opcode.JA, 0, 0, 1), Instruction(Opcode.JEQ_X, 0, 0, 0), RETURN),
    "fields that are not used": program(
        Instruction(Opcode.TAX, 255, 255, 99), Instruction(Opcode.RET_K, 9, 9, 0)
    ),
    "a cell stored on both ways": program(
        Instruction(Opcode.JEQ_K, 0, 2, 0),
        Instruction(Opcode.ST, 0, 0, 3),
        Instruction(Opcode.JA, 0, 0, 1),
        Instruction(Opcode.STX, 0, 0, 3),
        Instruction(Opcode.LD_MEM, 0, 0, 3),
        RETURN,
    ),
    "a cell in unreachable code": program(
        Instruction(Opcode.JA, 0, 0, 1), Instruction(Opcode.LD_MEM, 0, 0, 3), RETURN
    ),
    "the last word": program(Instruction(Opcode.LD_ABS, 0, 0, 60), RETURN),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(FilterError):
        check(REFUSED[name])


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    check(TAKEN[name])


def test_a_refusal_says_where_and_what() -> None:
    with pytest.raises(FilterError) as caught:
        check(REFUSED["shift left by 32"])
    assert (caught.value.where, caught.value.found) == ("instruction 0", "operand 32")
    assert str(caught.value) == (
        "instruction 0: found operand 32, want a shift of at most 31 "
        "(bpf_check_classic, net/core/filter.c, v6.12)"
    )


def taken(candidate: FilterProgram) -> bool:
    try:
        check(candidate)
    except FilterError:
        return False
    return True


@pytest.mark.live
def test_the_kernel_agrees_on_the_cases(kernel: Kernel) -> None:
    cases = {**REFUSED, **TAKEN}
    replies = kernel.ask([(candidate, []) for candidate in cases.values()])
    for (name, candidate), reply in zip(cases.items(), replies, strict=True):
        assert reply.install_errno == (0 if taken(candidate) else errno.EINVAL), name


def compiled() -> FilterProgram:
    rules = [
        SyscallRule(0, "read"),
        SyscallRule(16, "ioctl", ((ArgumentCondition(1, "eq", 1),), (ArgumentCondition(1, "ge", 2**33),))),
    ]
    return compile_filter(rules, X86_64)


def mutated(random_source: random.Random, original: FilterProgram) -> FilterProgram:
    """The filter with one or two fields changed, an instruction lost, doubled or swapped in."""
    instructions = list(original.instructions)
    for _ in range(random_source.randint(1, 2)):
        at = random_source.randrange(len(instructions))
        fresh = Instruction(
            random_source.choice(
                [*map(int, Opcode), 0x28, 0x30, 0x94, 0x0E, 0xB1, random_source.randrange(256)]
            ),
            random_source.choice([0, 1, 2, 255]),
            random_source.choice([0, 1, 2, 255]),
            random_source.choice(
                [0, 1, 3, 4, 15, 16, 31, 32, 60, 64, max(0, len(instructions) - at - 2), 2**32 - 1]
            ),
        )
        kind = random_source.randrange(5)
        if kind == 0 and len(instructions) > 1:
            del instructions[at]
        elif kind == 1:
            instructions.insert(at, instructions[at])
        elif kind == 2:
            instructions[at] = fresh
        elif kind == 3:
            instructions.insert(at, fresh)
        else:
            old = instructions[at]
            instructions[at] = Instruction(old.code, fresh.jt, fresh.jf, fresh.k)
    return FilterProgram(tuple(instructions))


def soup(random_source: random.Random) -> FilterProgram:
    """Mostly legal instructions at random, often with scratch cells, closed by a return."""
    codes = [
        *map(int, Opcode),
        *[Opcode.ST, Opcode.STX, Opcode.LD_MEM, Opcode.LDX_MEM, Opcode.JA, Opcode.JEQ_K] * 3,
    ]
    body = [
        Instruction(
            random_source.choice(codes),
            random_source.randrange(3),
            random_source.randrange(3),
            random_source.randrange(4),
        )
        for _ in range(random_source.randint(1, 9))
    ]
    return FilterProgram((*body, RETURN))


@pytest.mark.live
def test_the_kernel_agrees_on_damaged_and_random_filters(kernel: Kernel) -> None:
    source = random.Random(20)  # noqa: S311  # the same cases every time
    candidates = [mutated(source, compiled()) for _ in range(1500)] + [soup(source) for _ in range(1500)]
    verdicts = [taken(candidate) for candidate in candidates]
    assert 300 < sum(verdicts) < 2700
    replies = kernel.ask([(candidate, []) for candidate in candidates])
    for candidate, verdict, reply in zip(candidates, verdicts, replies, strict=True):
        assert reply.install_errno == (0 if verdict else errno.EINVAL), candidate


def computing(data: st.DataObject) -> FilterProgram:
    """A legal program that computes something and returns the low bits of it as errno."""
    stores = [Instruction(Opcode.ST, 0, 0, cell) for cell in range(16)]
    codes = data.draw(st.lists(st.sampled_from(sorted(set(Opcode) - RETURNS)), min_size=1, max_size=20))
    body = []
    for position, code in enumerate(codes):
        left = len(codes) - position - 1
        operand = data.draw(st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)))
        operand = {
            Opcode.LD_ABS: operand % 16 * 4,
            Opcode.JA: operand % (left + 1),
            Opcode.DIV_K: operand or 1,
            Opcode.LSH_K: operand % 32,
            Opcode.RSH_K: operand % 32,
            Opcode.ST: operand % 16,
            Opcode.STX: operand % 16,
            Opcode.LD_MEM: operand % 16,
            Opcode.LDX_MEM: operand % 16,
        }.get(code, operand)
        jumps = code in CONDITIONAL_JUMPS
        jt, jf = (data.draw(st.integers(0, min(left, 3))) for _ in range(2)) if jumps else (0, 0)
        body.append(Instruction(code, jt, jf, operand))
    shift = data.draw(st.sampled_from([0, 10, 20]))
    report = [
        Instruction(Opcode.RSH_K, 0, 0, shift),
        Instruction(Opcode.AND_K, 0, 0, 0xFFF),
        Instruction(Opcode.OR_K, 0, 0, errno_action(1) - 1),
        Instruction(Opcode.RET_A, 0, 0, 0),
    ]
    return FilterProgram((*stores, *body, *report))


@pytest.mark.live
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_the_kernel_computes_as_the_simulator_does(data: st.DataObject, kernel: Kernel) -> None:
    words = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
    args = data.draw(st.tuples(*[words] * 6))
    # The instruction pointer of the probe is not known here: programs that load it are left out.
    programs = [
        candidate
        for candidate in (computing(data) for _ in range(10))
        if not any(i.code == Opcode.LD_ABS and i.k in (8, 12) for i in candidate.instructions)
    ]
    getppid = X86_64.number("getppid")
    replies = kernel.ask([(candidate, [kernel.call(getppid, args)]) for candidate in programs])
    for candidate, reply in zip(programs, replies, strict=True):
        assert reply.install_errno == 0
        action = simulate(candidate, SeccompData(getppid, X86_64.audit_arch, 0, args)).action
        if action == 0:  # a division by X = 0: the kernel kills the thread
            assert reply.values == (None,), candidate
        else:
            assert reply.values == (-(action & 0xFFF),), candidate
