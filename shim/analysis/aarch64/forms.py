"""
What does an AArch64 instruction do with a pointer that is followed forward?
"""

from __future__ import annotations

from shim.analysis.aarch64.frames import accesses_memory
from shim.analysis.aarch64.instruction import Instruction, Mode, Op
from shim.analysis.aarch64.registers import ZERO
from shim.analysis.architecture import Act, Form, MemoryOperand
from shim.analysis.registers import NONE

_POINTER = 8


def forms(instruction: Instruction) -> tuple[Form, ...]:
    """Return what an instruction does with pointers: of a pair one form for each register."""
    if accesses_memory(instruction):
        return _accesses(instruction)
    return (_form(instruction),)


def _form(instruction: Instruction) -> Form:
    op, first = instruction.op, instruction.first
    if op in (Op.CALL, Op.CALL_REGISTER):
        return Form(Act.CALL, source=first)
    if op in (Op.JUMP, Op.JUMP_REGISTER):
        return Form(Act.JUMP, source=first)
    if op in (Op.COMPARE_BRANCH, Op.TEST_BRANCH) or instruction.name == "ccmp":
        return Form(Act.COMPARE)
    if instruction.flags and instruction.destination == ZERO:
        return Form(Act.COMPARE)
    if op == Op.CONSTANT:
        return Form(Act.MOVE, instruction.destination)
    if instruction.width != _POINTER:
        return Form(Act.OTHER)
    if op in (Op.ADD, Op.SUB) and instruction.second == NONE:
        distance = instruction.immediate if op == Op.ADD else -instruction.immediate
        return Form(Act.ADDRESS, instruction.destination, memory=MemoryOperand(first, NONE, distance, 0))
    moves = op == Op.OR and first == ZERO and instruction.shift == 0 and not instruction.variant
    if moves and instruction.second != NONE:
        return Form(Act.MOVE, instruction.destination, instruction.second)
    return Form(Act.OTHER)


def _accesses(instruction: Instruction) -> tuple[Form, ...]:
    size = instruction.size
    displacement = instruction.immediate if instruction.mode != Mode.POST else 0
    address = instruction.immediate if instruction.first == NONE else None
    whole = size == _POINTER and instruction.variant != "signed"
    found = []
    for number, register in enumerate(instruction.transfers):
        offset = number * size
        memory = MemoryOperand(
            instruction.first, instruction.second, displacement + offset, size, address, offset
        )
        if instruction.op == Op.LOAD:
            found.append(Form(Act.LOAD, register, NONE, memory, whole=whole))
        else:
            found.append(Form(Act.STORE, NONE, register if whole else NONE, memory, whole=whole))
    if not found:
        pair = 2 * size if instruction.name in {"ldp", "stp"} else size
        memory = MemoryOperand(instruction.first, instruction.second, displacement, pair)
        found.append(Form(Act.OTHER, memory=memory))
    if instruction.mode != Mode.OFFSET:
        found.append(Form(Act.ADD, instruction.first, instruction.first, distance=instruction.immediate))
    return tuple(found)
