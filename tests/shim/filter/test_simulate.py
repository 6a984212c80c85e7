"""The simulator raises where the kernel could never be, and follows the kernel's bitmap rules."""

from __future__ import annotations

import pytest

from shim.errors import FilterError
from shim.filter import FilterProgram, Instruction, Opcode, SeccompData, is_constant_allow, simulate
from shim.filter.actions import ALLOW, LOG

ALLOWED = Instruction(Opcode.RET_K, 0, 0, ALLOW)
CALL = SeccompData(39, 0xC000_003E, 0x1122_3344_5566_7788, (1, 2, 3, 4, 5, 0xAABB_CCDD_EEFF_0011))


@pytest.mark.parametrize(
    "instructions",
    [
        [],
        [Instruction(Opcode.LD_IMM, 0, 0, 1)],
        [Instruction(Opcode.JA, 0, 0, 5), ALLOWED],
        [Instruction(0x28, 0, 0, 0), ALLOWED],
        [Instruction(0xFFFF, 0, 0, 0), ALLOWED],
        [Instruction(Opcode.LD_ABS, 0, 0, 2), ALLOWED],
        [Instruction(Opcode.LD_ABS, 0, 0, 64), ALLOWED],
        [Instruction(Opcode.LD_MEM, 0, 0, 0), ALLOWED],
        [Instruction(Opcode.LDX_MEM, 0, 0, 16), ALLOWED],
    ],
)
def test_what_cannot_be_raises(instructions: list[Instruction]) -> None:
    with pytest.raises(FilterError):
        simulate(FilterProgram(tuple(instructions)), CALL)


def test_words_lie_where_the_kernel_has_them() -> None:
    assert CALL.words()[:4] == (39, 0xC000_003E, 0x5566_7788, 0x1122_3344)
    assert CALL.words()[4:6] == (1, 0)
    assert CALL.words()[14:] == (0xEEFF_0011, 0xAABB_CCDD)
    assert SeccompData(-1, 0).words()[0] == 0xFFFF_FFFF


def test_the_cost_counts_instructions_that_ran() -> None:
    jump = Instruction(Opcode.JA, 0, 0, 1)
    assert simulate(FilterProgram((jump, ALLOWED, ALLOWED)), CALL).cost == 2


LOAD_NR = Instruction(Opcode.LD_ABS, 0, 0, 0)
LOAD_ARGUMENT = Instruction(Opcode.LD_ABS, 0, 0, 16)


@pytest.mark.parametrize(
    "instructions",
    [
        [LOAD_ARGUMENT, ALLOWED],
        [Instruction(Opcode.LD_ABS, 0, 0, 8), ALLOWED],
        [Instruction(Opcode.RET_K, 0, 0, ALLOW | 1)],
        [Instruction(Opcode.RET_K, 0, 0, LOG)],
        [Instruction(Opcode.LD_IMM, 0, 0, ALLOW), Instruction(Opcode.RET_A, 0, 0, 0)],
        [Instruction(Opcode.OR_K, 0, 0, 0), ALLOWED],
        [LOAD_NR, Instruction(Opcode.JEQ_X, 0, 0, 0), ALLOWED],
        [Instruction(Opcode.JA, 0, 0, 7)],
    ],
)
def test_what_the_bitmap_does_not_follow(instructions: list[Instruction]) -> None:
    assert not is_constant_allow(FilterProgram(tuple(instructions)), 39, 0xC000_003E)


@pytest.mark.parametrize(
    "instructions",
    [
        [ALLOWED],
        [LOAD_NR, Instruction(Opcode.JEQ_K, 1, 0, 39), LOAD_ARGUMENT, ALLOWED],
        [LOAD_NR, Instruction(Opcode.JGT_K, 0, 1, 39), LOAD_ARGUMENT, ALLOWED],
        [
            LOAD_NR,
            Instruction(Opcode.AND_K, 0, 0, 1),
            Instruction(Opcode.JSET_K, 1, 0, 1),
            LOAD_ARGUMENT,
            ALLOWED,
        ],
        [Instruction(Opcode.JA, 0, 0, 1), LOAD_ARGUMENT, ALLOWED],
        [
            Instruction(Opcode.LD_ABS, 0, 0, 4),
            Instruction(Opcode.JGE_K, 1, 0, 0xC000_003E),
            LOAD_ARGUMENT,
            ALLOWED,
        ],
    ],
)
def test_what_the_bitmap_follows(instructions: list[Instruction]) -> None:
    assert is_constant_allow(FilterProgram(tuple(instructions)), 39, 0xC000_003E)
