"""
Where do sp and x29 stand after an instruction of AArch64, and which place in a frame does it name?
"""

from __future__ import annotations

from shim.analysis.aarch64.instruction import Instruction, Mode, Op
from shim.analysis.aarch64.registers import FP, SP
from shim.analysis.places import Frame, Place, moved
from shim.analysis.registers import NONE


def writes(instruction: Instruction) -> frozenset[int]:
    """Return the registers that `instruction` writes, of `svc` those that the kernel does."""
    return instruction.written


def reads(instruction: Instruction, register: int) -> bool:
    """Whether `instruction` reads `register`."""
    return register in instruction.read


def may_keep(_instruction: Instruction, _register: int) -> bool:
    """Whether an instruction that writes a register may leave it as it was: csel chooses a source."""
    return False


def accesses_memory(instruction: Instruction) -> bool:
    """Whether `instruction` loads or stores."""
    return instruction.op in (Op.LOAD, Op.STORE) or instruction.variant == "memory"


def stores_to_memory(instruction: Instruction) -> bool:
    """Whether `instruction` may write the memory that it names."""
    return instruction.op == Op.STORE or instruction.variant == "memory"


def outside_frames(_instruction: Instruction) -> bool:
    """Whether a store is surely in no frame: never, since all addresses are in registers."""
    return False


def step(frame: Frame, instruction: Instruction) -> Frame:
    """Return the frame after `instruction`, which is no call."""
    sp, fp, next_sp = frame.sp, frame.fp, frame.next_sp
    if SP not in instruction.written and FP not in instruction.written:
        if instruction.first == SP and instruction.op == Op.SUB:
            place = computed_place(frame, instruction)
            next_sp = None if place is None else (instruction.destination, place)
        elif next_sp is not None and next_sp[0] in instruction.written:
            next_sp = None
        return frame if next_sp == frame.next_sp else Frame(sp, fp, next_sp)
    if SP in instruction.written:
        sp = _left_in(instruction, SP, frame)
    if FP in instruction.written:
        fp = _left_in(instruction, FP, frame)
    return Frame(sp, fp, next_sp)


def _left_in(instruction: Instruction, register: int, frame: Frame) -> Place | None:
    """Return what an instruction that writes sp or x29 leaves there."""
    if accesses_memory(instruction):
        if register in instruction.transfers:
            return None
        return moved(place_of(frame, register), instruction.immediate)
    if instruction.op == Op.AND and register == SP:
        return (-instruction.ip, 0)
    if frame.next_sp is not None and instruction.first == frame.next_sp[0] and instruction.immediate == 0:
        return frame.next_sp[1] if instruction.op == Op.ADD and instruction.second == NONE else None
    return computed_place(frame, instruction)


def computed_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the place in the frame whose address an addition computes, or None."""
    plain = instruction.op in (Op.ADD, Op.SUB) and instruction.width == 8 and instruction.second == NONE
    if not plain:
        return None
    distance = instruction.immediate if instruction.op == Op.ADD else -instruction.immediate
    return moved(place_of(frame, instruction.first), distance)


def named_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the place in the frame whose address another register than sp and x29 gets, or None."""
    if instruction.destination in (SP, FP):
        return None
    return computed_place(frame, instruction)


def place_of(frame: Frame, register: int) -> Place | None:
    """Return the place in the frame that a register points to, or None."""
    if register == SP:
        return frame.sp
    return frame.fp if register == FP else None


def place_of_memory(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the first place in the frame that a load or store accesses, or None."""
    if not accesses_memory(instruction) or instruction.second != NONE:
        return None
    offset = instruction.immediate if instruction.mode != Mode.POST else 0
    return moved(place_of(frame, instruction.first), offset)


def indexed_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return where an array of the frame begins that a load or store indexes, or None."""
    if not accesses_memory(instruction) or instruction.second == NONE:
        return None
    return place_of(frame, instruction.first)
