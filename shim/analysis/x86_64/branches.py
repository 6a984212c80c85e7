"""
What does a conditional branch of x86-64 depend on, and which way does it go?
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from iced_x86 import Instruction, MemorySizeExt, Mnemonic, OpKind

from shim.analysis.architecture import Comparison
from shim.analysis.registers import NONE
from shim.analysis.x86_64.frames import writes
from shim.analysis.x86_64.registers import FULL, GENERAL, HIGH_BYTES, SIZE

_UNSIGNED = {
    Mnemonic.JA: lambda a, b: a > b,
    Mnemonic.JAE: lambda a, b: a >= b,
    Mnemonic.JB: lambda a, b: a < b,
    Mnemonic.JBE: lambda a, b: a <= b,
}
_SIGNED = {
    Mnemonic.JG: lambda a, b: a > b,
    Mnemonic.JGE: lambda a, b: a >= b,
    Mnemonic.JL: lambda a, b: a < b,
    Mnemonic.JLE: lambda a, b: a <= b,
}


def equality(instructions: Sequence[Instruction], taken: bool) -> tuple[int, int] | None:  # noqa: FBT001
    """
    Return (register, number) if the branch at the end goes this way only when they are equal.
    """
    if len(instructions) < 2:
        return None
    branch, compare = instructions[-1], instructions[-2]
    wanted = Mnemonic.JE if taken else Mnemonic.JNE
    if branch.mnemonic != wanted or compare.op_count != 2 or compare.op0_kind != OpKind.REGISTER:
        return None
    if SIZE[compare.op0_register] != 8:
        return None
    register = FULL[compare.op0_register]
    if compare.mnemonic == Mnemonic.TEST and compare.op1_kind == OpKind.REGISTER:
        return (register, 0) if compare.op0_register == compare.op1_register else None
    if compare.mnemonic == Mnemonic.CMP and compare.op1_kind not in {OpKind.REGISTER, OpKind.MEMORY}:
        return register, compare.immediate(1)
    return None


def equals_address(instructions: Sequence[Instruction], address: int) -> bool | None:
    """
    Whether the branch at the end is taken when what is compared with a named `address` equals it.

    None if the branch depends on anything else.
    """
    branch, compare = instructions[-1], instructions[-2] if len(instructions) > 1 else None
    if compare is None or compare.mnemonic != Mnemonic.CMP:
        return None
    if branch.mnemonic not in (Mnemonic.JE, Mnemonic.JNE):
        return None
    held = {
        compare.op_register(operand)
        for operand in range(2)
        if compare.op_kind(operand) == OpKind.REGISTER and SIZE[compare.op_register(operand)] == 8
    }
    for register in held:
        makers = (i for i in reversed(instructions[:-2]) if register in writes(i))
        maker = next(makers, None)
        if (
            maker is not None
            and maker.mnemonic == Mnemonic.LEA
            and maker.is_ip_rel_memory_operand
            and maker.ip_rel_memory_address == address
        ):
            return bool(branch.mnemonic == Mnemonic.JE)
    return None


def comparison(instructions: Sequence[Instruction]) -> Comparison | None:
    """Return what decides the branch at the end, if that is compared with a constant or with itself."""
    setting = (instruction for instruction in reversed(instructions[:-1]) if instruction.rflags_modified)
    compare, branch = next(setting, None), instructions[-1]
    if compare is None or compare.mnemonic not in (Mnemonic.CMP, Mnemonic.TEST):
        return None
    if compare.op1_kind == OpKind.MEMORY:
        return None
    if compare.op0_kind == OpKind.REGISTER:
        register = compare.op0_register
        same = compare.op1_kind != OpKind.REGISTER or compare.op1_register == register
        if register not in GENERAL or register in HIGH_BYTES or not same:
            return None
        held, size = FULL[register], SIZE[register]
    elif compare.op0_kind == OpKind.MEMORY and compare.op1_kind != OpKind.REGISTER:
        held, size = NONE, MemorySizeExt.size(compare.memory_size)
    else:
        return None
    return Comparison(compare.ip, held, (1 << 8 * size) - 1, partial(_taken, branch, compare, size))


def _taken(branch: Instruction, compare: Instruction, size: int, number: int) -> bool | None:
    """
    Whether the branch is taken when the register holds `number`; None for conditions that are not known here.
    """
    bits = 8 * size
    mask = (1 << bits) - 1
    same = compare.op1_kind == OpKind.REGISTER
    other = number if same else compare.immediate(1) & mask
    mnemonic = branch.mnemonic
    if compare.mnemonic == Mnemonic.TEST:
        number, other = number & other, 0
    if mnemonic in (Mnemonic.JE, Mnemonic.JNE):
        return (number == other) == (mnemonic == Mnemonic.JE)
    if mnemonic in _UNSIGNED:
        return bool(_UNSIGNED[mnemonic](number, other))
    if mnemonic in _SIGNED:
        return bool(_SIGNED[mnemonic](_signed(number, bits), _signed(other, bits)))
    if mnemonic in (Mnemonic.JS, Mnemonic.JNS):
        negative = _signed(number - other & mask, bits) < 0
        return negative == (mnemonic == Mnemonic.JS)
    return None


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number
