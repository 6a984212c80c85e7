"""
What do the instructions before a jump through a table tell about the table?

Where it begins, and how far its index can go.
"""

from __future__ import annotations

from typing import TypeAlias

from iced_x86 import FlowControl, Instruction, Mnemonic, OpKind, Register

from shim.analysis.jumptables import MAX_ENTRIES, Limit, Path
from shim.analysis.registers import NONE, signed
from shim.analysis.x86_64.registers import FULL

_ABOVE = {Mnemonic.JA: 1, Mnemonic.JAE: 0}
_BELOW = {Mnemonic.JBE: 1, Mnemonic.JB: 0}
_ADDRESSES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)
_WRITE_NOTHING = (Mnemonic.CMP, Mnemonic.TEST, Mnemonic.PUSH)
# Base, index, scale and displacement.
_Memory: TypeAlias = tuple[int, int, int, int]


class TablePath(Path):
    """What stood before an indirect jump."""

    def definition(self, register: int, start: int) -> tuple[int, Instruction] | None:
        """Return (position, instruction) of what last wrote `register`, from `start` back."""
        position = start
        while (instruction := self.at(position)) is not None:
            if (
                instruction.op_count
                and instruction.op0_kind == OpKind.REGISTER
                and instruction.mnemonic not in _WRITE_NOTHING
                and FULL[instruction.op0_register] == register
            ) or (instruction.mnemonic == Mnemonic.CDQE and register == Register.RAX):
                return position, instruction
            position += 1
        return None

    def which_loads(self, position: int, first: int, second: int) -> tuple[int, int]:
        """Of two added registers return (the one a table entry was loaded into, the other)."""
        for register, other in ((first, second), (second, first)):
            found = self.definition(register, position + 1)
            if found is not None and (
                found[1].mnemonic == Mnemonic.CDQE
                or (found[1].mnemonic == Mnemonic.MOVSXD and found[1].op1_kind == OpKind.MEMORY)
            ):
                return register, other
        return first, NONE

    def address_of(self, register: int, start: int) -> int | None:
        """Return the constant address last put into `register` on this path, or None."""
        position = start
        while (found := self.definition(register, position)) is not None:
            position, instruction = found
            if instruction.mnemonic == Mnemonic.LEA and instruction.is_ip_rel_memory_operand:
                return instruction.ip_rel_memory_address
            if instruction.mnemonic != Mnemonic.MOV:
                return None
            if instruction.op1_kind in _ADDRESSES:
                return instruction.immediate(1)
            if instruction.op1_kind != OpKind.REGISTER:
                return None
            register = FULL[instruction.op1_register]
            position += 1
        return None

    def limit_of(self, index: int, start: int) -> Limit | None:
        """Return how many entries the code admits for the index register, or None without a comparison."""
        held: int | _Memory | None = FULL[index]
        position = start + 1
        extra: int | None = None
        while held is not None and (step := self.step(position)) is not None:
            instruction, taken = step
            position += 1
            mnemonic = instruction.mnemonic
            if taken is not None:
                extra = (_BELOW if taken else _ABOVE).get(mnemonic)
                continue
            if instruction.flow_control != FlowControl.NEXT:
                extra = None
            first = _first_operand(instruction)
            if isinstance(held, tuple) and first in held[:2]:
                held = _before(held, instruction)
            elif instruction.op_count >= 2 and first == held:
                constant = _constant(instruction)
                if mnemonic == Mnemonic.CMP and constant is not None and extra is not None:
                    return Limit(constant + extra)
                if mnemonic == Mnemonic.AND and constant is not None and constant < MAX_ENTRIES:
                    return Limit(constant + 1, exact=False)
                if mnemonic not in _WRITE_NOTHING:
                    held = _moved(instruction)
        return None


def _constant(instruction: Instruction) -> int | None:
    """Return the number that is the second operand, or None."""
    if instruction.op1_kind in (OpKind.REGISTER, OpKind.MEMORY):
        return None
    return int(instruction.immediate(1))


def _moved(instruction: Instruction) -> int | _Memory | None:
    """Return what an instruction moves into its first operand; None if it does anything else, or a number."""
    if instruction.mnemonic not in (Mnemonic.MOV, Mnemonic.MOVZX, Mnemonic.MOVSXD):
        return None
    if instruction.op1_kind == OpKind.REGISTER:
        return FULL[instruction.op1_register]
    return _memory(instruction) if instruction.op1_kind == OpKind.MEMORY else None


def _before(held: _Memory, instruction: Instruction) -> _Memory | None:
    """Return what named the memory `held` before an instruction that writes a register of it, or None."""
    if instruction.mnemonic in _WRITE_NOTHING:
        return held
    written = FULL[instruction.op0_register]
    base, index, scale, displacement = held
    source, moved = NONE, 0
    if instruction.mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
        source = FULL[instruction.op1_register]
    elif instruction.mnemonic == Mnemonic.LEA and instruction.memory_index == NONE:
        source, moved = instruction.memory_base, signed(instruction.memory_displacement)
    if source not in FULL or FULL[source] != source:
        return None
    if written == base:
        base, displacement = source, displacement + moved
    if written == index:
        index, displacement = source, displacement + moved * scale
    return base, index, scale, displacement


def _memory(instruction: Instruction) -> _Memory:
    displacement = signed(instruction.memory_displacement)
    return instruction.memory_base, instruction.memory_index, instruction.memory_index_scale, displacement


def _first_operand(instruction: Instruction) -> int | _Memory | None:
    """Return the full register or the memory operand that comes first; None for anything else."""
    if instruction.op0_kind == OpKind.REGISTER:
        return FULL[instruction.op0_register]
    return _memory(instruction) if instruction.op0_kind == OpKind.MEMORY else None
