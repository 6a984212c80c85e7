"""
What does a conditional branch of AArch64 depend on, and which way does it go?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from shim.analysis.aarch64.instruction import Instruction, Op
from shim.analysis.aarch64.registers import SP, ZERO
from shim.analysis.architecture import Comparison
from shim.analysis.registers import NONE

_EQUAL, _UNEQUAL = 0, 1
# Arm Architecture Reference Manual, C1.2.4, "Condition code": what each says of two numbers.
_UNSIGNED: dict[int, Callable[[int, int], bool]] = {
    _EQUAL: lambda a, b: a == b,
    _UNEQUAL: lambda a, b: a != b,
    2: lambda a, b: a >= b,
    3: lambda a, b: a < b,
    8: lambda a, b: a > b,
    9: lambda a, b: a <= b,
}
_SIGNED: dict[int, Callable[[int, int], bool]] = {
    10: lambda a, b: a >= b,
    11: lambda a, b: a < b,
    12: lambda a, b: a > b,
    13: lambda a, b: a <= b,
}


def equality(instructions: Sequence[Instruction], taken: bool) -> tuple[int, int] | None:  # noqa: FBT001
    """
    Return (register, number) if the branch at the end goes this way only when they are equal.
    """
    branch = instructions[-1] if instructions else None
    if branch is None:
        return None
    if branch.op == Op.COMPARE_BRANCH:
        zero = taken == (branch.condition == 0)
        return (branch.first, 0) if zero and branch.width == 8 and branch.first != ZERO else None
    if branch.op != Op.BRANCH or branch.condition != (_EQUAL if taken else _UNEQUAL):
        return None
    compare = instructions[-2] if len(instructions) > 1 else None
    if compare is None or not _compares(compare) or compare.width != 8 or compare.op != Op.SUB:
        return None
    return compare.first, compare.immediate


def equals_address(_instructions: Sequence[Instruction], _address: int) -> bool | None:
    """Return None: only loaders ask, and dynamic programs of AArch64 are not analysed."""
    return None


def comparison(instructions: Sequence[Instruction]) -> Comparison | None:
    """Return what decides the branch at the end, if a register is compared with a constant."""
    branch = instructions[-1] if instructions else None
    if branch is None or branch.first == ZERO:
        return None
    if branch.op == Op.COMPARE_BRANCH:
        return Comparison(branch.ip, branch.first, branch.mask, partial(_zero, branch))
    if branch.op == Op.TEST_BRANCH:
        return Comparison(branch.ip, branch.first, 1 << branch.shift, partial(_bit, branch))
    compare = instructions[-2] if len(instructions) > 1 else None
    if branch.op != Op.BRANCH or compare is None or not _compares(compare):
        return None
    return Comparison(compare.ip, compare.first, compare.mask, partial(_taken, branch.condition, compare))


def _compares(instruction: Instruction) -> bool:
    """Whether an instruction only compares a register with a constant."""
    return (
        instruction.op in (Op.SUB, Op.AND)
        and instruction.flags
        and instruction.destination == ZERO
        and instruction.second == NONE
        and instruction.first not in (SP, ZERO)
    )


def _zero(branch: Instruction, number: int) -> bool | None:
    return (number & branch.mask == 0) == (branch.condition == 0)


def _bit(branch: Instruction, number: int) -> bool | None:
    return (number >> branch.shift & 1) == branch.condition


def _taken(condition: int, compare: Instruction, number: int) -> bool | None:
    bits = 8 * compare.width
    number, other = number & compare.mask, compare.immediate & compare.mask
    if compare.op == Op.AND:  # clears carry and overflow, unlike a comparison with 0
        number, other = number & other, 0
        if condition not in (_EQUAL, _UNEQUAL):
            return None
    if condition in _UNSIGNED:
        return _UNSIGNED[condition](number, other)
    if condition in _SIGNED:
        return _SIGNED[condition](_signed(number, bits), _signed(other, bits))
    return None


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number
