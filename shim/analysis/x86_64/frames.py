"""
Where do rsp and rbp stand after an instruction, and which place in a frame does it name?
"""

from __future__ import annotations

from iced_x86 import Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register

from shim.analysis.places import Frame, Place, moved
from shim.analysis.registers import NONE, signed
from shim.analysis.x86_64.registers import FULL, R11, RAX, RBP, RCX, RSP

# Their first operand is read; Go's functions begin by comparing rsp with a limit.
_ONLY_READ = frozenset(
    {
        Mnemonic.CMP,
        Mnemonic.TEST,
        Mnemonic.PUSH,
        Mnemonic.CALL,
        Mnemonic.JMP,
        Mnemonic.BT,
        Mnemonic.MUL,
        Mnemonic.DIV,
    }
)
_STRING_TARGETS = (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI, OpKind.MEMORY_ESDI)
_STORES = (OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)
_LOADS = (OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)
_CONDITIONAL = (OpAccess.COND_WRITE, OpAccess.READ_COND_WRITE)
_KERNEL_CLOBBERS = frozenset({RAX, RCX, R11})
_INFO = InstructionInfoFactory()


def writes(instruction: Instruction) -> frozenset[int]:
    """Return the full registers that `instruction` writes, of a kernel entry those that the kernel does."""
    if instruction.mnemonic in (Mnemonic.SYSCALL, Mnemonic.INT, Mnemonic.SYSENTER):
        return _KERNEL_CLOBBERS
    return frozenset(
        FULL[used.register] for used in _INFO.info(instruction).used_registers() if used.access in _STORES
    )


def reads(instruction: Instruction, register: int) -> bool:
    """Whether `instruction` reads any part of the full register `register`."""
    return any(
        used.access in _LOADS and FULL[used.register] == register
        for used in _INFO.info(instruction).used_registers()
    )


def may_keep(instruction: Instruction, register: int) -> bool:
    """Whether an instruction that writes the full register `register` may leave it as it was."""
    return any(
        used.access in _CONDITIONAL and FULL[used.register] == register
        for used in _INFO.info(instruction).used_registers()
    )


def stores_to_memory(instruction: Instruction) -> bool:
    """Whether the first operand of `instruction` is memory that it writes."""
    if instruction.op_count and instruction.op0_kind in _STRING_TARGETS:
        return True
    if instruction.op_count == 0 or instruction.op0_kind != OpKind.MEMORY:
        return False
    return _INFO.info(instruction).op0_access in _STORES


def named_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the place in the frame whose address goes elsewhere than into rsp or rbp."""
    mnemonic = instruction.mnemonic
    if mnemonic == Mnemonic.LEA and instruction.op0_register not in (RSP, RBP):
        return place_of_memory(frame, instruction)
    if mnemonic == Mnemonic.MOV and instruction.op0_register not in (RSP, RBP):
        return _place_of(frame, instruction.op1_register)
    return _place_of(frame, instruction.op0_register) if mnemonic == Mnemonic.PUSH else None


def step(frame: Frame, instruction: Instruction) -> Frame:
    """Return the frame after `instruction`, which is no call."""
    mnemonic = instruction.mnemonic
    rsp, rbp = frame.sp, frame.fp
    destination: int = NONE
    if instruction.op_count and instruction.op0_kind == OpKind.REGISTER and mnemonic not in _ONLY_READ:
        destination = instruction.op0_register
    if mnemonic == Mnemonic.LEAVE:
        return Frame(moved(rbp, 8), None)
    if destination == RBP:
        return Frame(moved(rsp, instruction.stack_pointer_increment), _assigned(frame, instruction))
    if destination == RSP:
        if mnemonic == Mnemonic.AND:
            return Frame((-instruction.ip, 0), rbp)
        return Frame(_assigned(frame, instruction), rbp)
    if instruction.stack_pointer_increment:
        return Frame(moved(rsp, instruction.stack_pointer_increment), rbp)
    return frame


def _assigned(frame: Frame, instruction: Instruction) -> Place | None:
    """Return what an instruction with rsp or rbp as destination leaves there."""
    mnemonic = instruction.mnemonic
    own = frame.sp if instruction.op0_register == RSP else frame.fp
    if mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
        return _place_of(frame, instruction.op1_register)
    if mnemonic == Mnemonic.LEA and instruction.memory_index == NONE:
        return moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))
    if mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and instruction.op1_kind != OpKind.REGISTER:
        if instruction.op1_kind == OpKind.MEMORY:
            return None
        distance = signed(instruction.immediate(1))
        return moved(own, distance if mnemonic == Mnemonic.ADD else -distance)
    return None


def _place_of(frame: Frame, register: int) -> Place | None:
    if register == RSP:
        return frame.sp
    return frame.fp if register == RBP else None


def place_of_memory(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the place in the frame that the memory operand of `instruction` names, or None."""
    if instruction.memory_index != NONE or instruction.segment_prefix in (Register.FS, Register.GS):
        return None
    return moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))


def indexed_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return where an array of the frame begins that the memory operand indexes, or None."""
    if instruction.memory_index == NONE:
        return None
    return moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))


def outside_frames(instruction: Instruction) -> bool:
    """Whether the memory operand is a variable or thread-local, so that it is in no frame."""
    if instruction.op0_kind in _STRING_TARGETS:
        return False
    named = instruction.memory_base == NONE and instruction.memory_index == NONE
    return (
        named
        or instruction.is_ip_rel_memory_operand
        or instruction.segment_prefix in {Register.FS, Register.GS}
    )
