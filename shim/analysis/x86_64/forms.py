"""
What does an instruction of x86-64 do with a pointer that is followed forward?
"""

from __future__ import annotations

from iced_x86 import Instruction, MemorySizeExt, Mnemonic, OpKind, Register

from shim.analysis.architecture import Act, Form, MemoryOperand
from shim.analysis.registers import NONE, WORD, signed
from shim.analysis.semantics import Value
from shim.analysis.x86_64.registers import FULL, GENERAL, SIZE

_ACTS = {
    Mnemonic.CALL: Act.CALL,
    Mnemonic.JMP: Act.JUMP,
    Mnemonic.CMP: Act.COMPARE,
    Mnemonic.TEST: Act.COMPARE,
    Mnemonic.LEA: Act.ADDRESS,
    Mnemonic.PUSH: Act.PUSH,
    Mnemonic.POP: Act.POP,
    Mnemonic.ADD: Act.ADD,
    Mnemonic.SUB: Act.ADD,
}


def forms(instruction: Instruction) -> tuple[Form, ...]:
    """Return the one thing that an instruction of x86-64 does with pointers."""
    mnemonic = instruction.mnemonic
    act = _move(instruction) if mnemonic == Mnemonic.MOV else _ACTS.get(mnemonic, Act.OTHER)
    destination: int = instruction.op0_register
    source: int = instruction.op1_register
    if act in (Act.CALL, Act.JUMP, Act.PUSH):
        destination, source = NONE, destination
    size = SIZE[source] if act == Act.STORE else SIZE[destination]
    return (
        Form(
            act,
            FULL[destination] if act != Act.ADD else destination,
            source,
            _memory(instruction),
            _distance(instruction) if act == Act.ADD else None,
            size == 8,
        ),
    )


def variable_store(instruction: Instruction, _address: int) -> int | Value | None:
    """Return what a plain `mov` puts into memory: a full register, a constant; None for anything else."""
    if instruction.op_count != 2 or instruction.op1_kind == OpKind.MEMORY:
        return None
    if instruction.op1_kind == OpKind.REGISTER:
        register = instruction.op1_register
        return FULL[register] if register in GENERAL else None
    return Value(instruction.immediate(1) & WORD)


def _move(instruction: Instruction) -> int:
    if instruction.op0_kind != OpKind.REGISTER:
        return Act.STORE
    return Act.LOAD if instruction.op1_kind == OpKind.MEMORY else Act.MOVE


def _memory(instruction: Instruction) -> MemoryOperand | None:
    if all(instruction.op_kind(number) != OpKind.MEMORY for number in range(instruction.op_count)):
        return None
    base, index = instruction.memory_base, instruction.memory_index
    size = MemorySizeExt.size(instruction.memory_size)
    address = None
    if instruction.segment_prefix not in (Register.FS, Register.GS):
        if instruction.is_ip_rel_memory_operand:
            address = instruction.ip_rel_memory_address
        elif base == NONE == index:
            address = instruction.memory_displacement
    return MemoryOperand(base, index, signed(instruction.memory_displacement), size, address)


def _distance(instruction: Instruction) -> int | None:
    """Return the constant that `add` or `sub` moves a pointer by."""
    if instruction.op1_kind in {OpKind.REGISTER, OpKind.MEMORY}:
        return None
    distance = signed(instruction.immediate(1))
    return distance if instruction.mnemonic == Mnemonic.ADD else -distance
