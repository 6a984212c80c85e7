"""
What does one x86-64 instruction put into one register, or into one stack slot?
"""

from __future__ import annotations

from collections.abc import Callable

from iced_x86 import ConditionCode, Instruction, MemorySizeExt, Mnemonic, OpKind, Register

from shim.analysis.places import Frame
from shim.analysis.registers import NONE, WORD, signed
from shim.analysis.semantics import (
    BITS,
    FLAG,
    Copy,
    Effect,
    Flag,
    Load,
    Merge,
    Opaque,
    Operation,
    Stored,
    Value,
    extend,
    subsets,
)
from shim.analysis.x86_64.frames import place_of_memory
from shim.analysis.x86_64.registers import FULL, GENERAL, HIGH_BYTES, RAX, RSP, SIZE


def effect_of(instruction: Instruction, register: int, frame: Frame) -> Effect:
    """Return what `instruction`, which writes the full register `register`, leaves in it."""
    mnemonic = instruction.mnemonic
    if instruction.op_count == 0 or instruction.op0_kind != OpKind.REGISTER:
        if mnemonic == Mnemonic.CDQE and register == RAX:
            return Operation((Copy((RAX,), 0xFFFF_FFFF),), lambda value: extend(value, 4))
        return Opaque(f"written by {_name(instruction)}")
    destination = instruction.op0_register
    if FULL[destination] != register:
        if mnemonic == Mnemonic.XCHG and instruction.op1_kind == OpKind.REGISTER:
            return _sized(Copy((FULL[destination],)), instruction.op1_register)
        return Opaque(f"written by {_name(instruction)}")
    if destination in HIGH_BYTES:
        return _high_byte(instruction)
    if destination not in GENERAL:
        return Opaque(f"written in {_name(instruction)}")
    return _sized(_result(instruction, destination, frame), destination)


def _high_byte(instruction: Instruction) -> Effect:
    """Follow constants into AH and its like, where dietlibc puts the upper half of a number."""
    if instruction.mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.IMMEDIATE8:
        return Merge(Value(instruction.immediate8 << 8), 0xFF00)
    if instruction.mnemonic == Mnemonic.XOR and _same_register(instruction):
        return Merge(Value(0), 0xFF00)
    return Opaque(f"written in {_name(instruction)}")


def _sized(effect: Effect, destination: int) -> Effect:
    """Apply x86-64's rule: a 32-bit write clears the upper half, an 8- or 16-bit write keeps the rest."""
    size = SIZE[destination]
    if size == 8 or isinstance(effect, (Opaque, Merge)):
        return effect
    mask = BITS[size]
    if isinstance(effect, Value):
        effect = Value(effect.number & mask, mask)
    elif isinstance(effect, Copy):
        effect = Copy(effect.registers, effect.mask & mask)
    elif isinstance(effect, Operation):
        effect = Operation(
            effect.operands, effect.function, mask, effect.place if size == 8 else None, effect.bound
        )
    return effect if size == 4 else Merge(effect, mask)


def _result(instruction: Instruction, destination: int, frame: Frame) -> Effect:
    mnemonic = instruction.mnemonic
    size = SIZE[destination]
    own = Copy((FULL[destination],), BITS[size])
    if mnemonic in (Mnemonic.MOV, Mnemonic.MOVZX):
        if (
            instruction.op1_kind == OpKind.REGISTER
            and instruction.op1_register == RSP
            and frame.sp is not None
        ):
            return Operation((), lambda: 0, place=frame.sp)
        return _operand(instruction, 1, frame)
    if mnemonic in (Mnemonic.MOVSX, Mnemonic.MOVSXD):
        source = _operand(instruction, 1, frame)
        width = _width(instruction, 1)
        return (
            source if isinstance(source, Opaque) else Operation((source,), lambda value: extend(value, width))
        )
    if mnemonic == Mnemonic.LEA:
        return _lea(instruction, frame)
    if mnemonic == Mnemonic.POP:
        return _pop(frame)
    if mnemonic == Mnemonic.XCHG:
        return _operand(instruction, 1, frame)
    if instruction.condition_code != ConditionCode.NONE:
        return _conditional(instruction, own, frame)
    if mnemonic in (Mnemonic.XOR, Mnemonic.SUB) and _same_register(instruction):
        return Value(0)
    if mnemonic == Mnemonic.SBB and _same_register(instruction):
        return Operation((), lambda: 0, bound=(0, BITS[size]))
    return _arithmetic(instruction, own, frame)


def _arithmetic(instruction: Instruction, own: Copy, frame: Frame) -> Effect:
    mnemonic = instruction.mnemonic
    if mnemonic in _UNARY:
        return Operation((own,), _UNARY[mnemonic])
    if mnemonic in _BINARY and instruction.op_count == 2:
        other = _operand(instruction, 1, frame)
        if isinstance(other, Opaque):
            return other
        if mnemonic == Mnemonic.OR and isinstance(other, Value) and other.number & own.mask == own.mask:
            return Value(own.mask)
        bound: tuple[int, ...] = ()
        if mnemonic == Mnemonic.AND and isinstance(other, Value) and other.number.bit_count() <= 4:
            bound = subsets(other.number)
        return Operation((own, other), _BINARY[mnemonic], bound=bound)
    if mnemonic in _SHIFTS and instruction.op_count == 2 and instruction.op1_kind == OpKind.IMMEDIATE8:
        return Operation((own, Value(instruction.immediate8 & 63)), _SHIFTS[mnemonic])
    if mnemonic in (Mnemonic.ADC, Mnemonic.SBB):
        other = _operand(instruction, 1, frame)
        if isinstance(other, Opaque):
            return other
        sign = 1 if mnemonic == Mnemonic.ADC else -1
        return Operation((own, other, FLAG), lambda a, b, carry: a + sign * (b + carry))
    if mnemonic == Mnemonic.IMUL and instruction.op_count == 3:
        other = _operand(instruction, 1, frame)
        factor = instruction.immediate(2)
        return other if isinstance(other, Opaque) else Operation((other,), lambda value: value * factor)
    return Opaque(f"computed by {_name(instruction)}")


def _conditional(instruction: Instruction, own: Copy, frame: Frame) -> Effect:
    """`setcc` is 0 or 1; `cmovcc` is either operand."""
    if instruction.op_count == 1:
        return Operation((), lambda: 0, bound=(0, 1))
    other = _operand(instruction, 1, frame)
    if isinstance(other, Copy):
        return Copy((*own.registers, *other.registers), own.mask)
    return (
        Opaque(f"chosen by {_name(instruction)}")
        if isinstance(other, Opaque)
        else Operation((own, other, FLAG), lambda old, new, taken: new if taken else old)
    )


def _lea(instruction: Instruction, frame: Frame) -> Effect:
    if instruction.is_ip_rel_memory_operand:
        return Value(instruction.ip_rel_memory_address)
    place = place_of_memory(frame, instruction)
    displacement = signed(instruction.memory_displacement)
    operands: list[Copy | Load | Value | Flag] = [Value(displacement & WORD)]
    if instruction.memory_base != NONE:
        operands.append(Copy((FULL[instruction.memory_base],)))
    if instruction.memory_index != NONE:
        operands.append(Copy((FULL[instruction.memory_index],)))
        scale = instruction.memory_index_scale
        return Operation(tuple(operands), lambda *parts: sum(parts[:-1]) + scale * parts[-1], place=place)
    return Operation(tuple(operands), lambda *parts: sum(parts), place=place)


def _pop(frame: Frame) -> Effect:
    if frame.sp is None:
        return Opaque("popped from an unknown stack depth")
    return Load(RSP, NONE, 1, 0, 8, frame.sp, opaque=False)


def _operand(instruction: Instruction, number: int, frame: Frame) -> Copy | Load | Value | Opaque:
    """Return one source operand, zero-extended."""
    kind = instruction.op_kind(number)
    if kind == OpKind.REGISTER:
        register = instruction.op_register(number)
        if register in HIGH_BYTES or register not in GENERAL:
            return Opaque(f"taken from {_name(instruction)}")
        return Copy((FULL[register],), BITS[SIZE[register]])
    if kind == OpKind.MEMORY:
        return memory_operand(instruction, frame)
    return Value(instruction.immediate(number) & WORD)


def memory_operand(instruction: Instruction, frame: Frame) -> Load | Opaque:
    """Return the load of the memory operand of `instruction`."""
    size = MemorySizeExt.size(instruction.memory_size)
    if size not in BITS:
        return Opaque(f"read by {_name(instruction)}")
    opaque = instruction.segment_prefix in (Register.FS, Register.GS)
    if instruction.is_ip_rel_memory_operand:
        return Load(NONE, NONE, 1, instruction.ip_rel_memory_address, size, None, opaque)
    return Load(
        FULL[instruction.memory_base],
        FULL[instruction.memory_index],
        instruction.memory_index_scale,
        signed(instruction.memory_displacement),
        size,
        place_of_memory(frame, instruction),
        opaque,
    )


def stored_operands(instruction: Instruction, frame: Frame) -> tuple[Stored, ...]:
    """Return what `instruction` stores into the frame, nothing if it stores nothing there that is known."""
    mnemonic = instruction.mnemonic
    if mnemonic == Mnemonic.PUSH:
        if frame.sp is None:
            return ()
        pushed = _operand(instruction, 0, frame)
        return (Stored((frame.sp[0], frame.sp[1] - 8), 8, pushed),)
    if instruction.op_count == 0 or instruction.op0_kind != OpKind.MEMORY or mnemonic in _ONLY_READ:
        return ()
    place = place_of_memory(frame, instruction)
    if place is None:
        return ()
    size = MemorySizeExt.size(instruction.memory_size)
    if mnemonic == Mnemonic.MOV:
        return (Stored(place, size, _operand(instruction, 1, frame)),)
    return (Stored(place, size, Opaque(f"stored by {_name(instruction)}")),)


_ONLY_READ = frozenset(
    {
        Mnemonic.CMP,
        Mnemonic.TEST,
        Mnemonic.BT,
        Mnemonic.CALL,
        Mnemonic.JMP,
        Mnemonic.NOP,
        Mnemonic.PREFETCHT0,
        Mnemonic.PREFETCHT1,
        Mnemonic.PREFETCHT2,
        Mnemonic.PREFETCHNTA,
        Mnemonic.PREFETCHW,
        Mnemonic.DIV,
        Mnemonic.IDIV,
        Mnemonic.MUL,
        Mnemonic.FLD,
        Mnemonic.FILD,
        Mnemonic.FLDCW,
        Mnemonic.LDMXCSR,
        Mnemonic.UCOMISD,
        Mnemonic.PTEST,
    }
)
_UNARY: dict[int, Callable[..., int]] = {
    Mnemonic.INC: lambda value: value + 1,
    Mnemonic.DEC: lambda value: value - 1,
    Mnemonic.NEG: lambda value: -value,
    Mnemonic.NOT: lambda value: ~value,
}
_BINARY: dict[int, Callable[..., int]] = {
    Mnemonic.ADD: lambda a, b: a + b,
    Mnemonic.SUB: lambda a, b: a - b,
    Mnemonic.AND: lambda a, b: a & b,
    Mnemonic.OR: lambda a, b: a | b,
    Mnemonic.XOR: lambda a, b: a ^ b,
    Mnemonic.IMUL: lambda a, b: a * b,
}
_SHIFTS: dict[int, Callable[..., int]] = {
    Mnemonic.SHL: lambda value, count: value << count,
    Mnemonic.SHR: lambda value, count: value >> count,
}


def _width(instruction: Instruction, number: int) -> int:
    if instruction.op_kind(number) == OpKind.MEMORY:
        return MemorySizeExt.size(instruction.memory_size)
    return SIZE[instruction.op_register(number)]


def _same_register(instruction: Instruction) -> bool:
    return instruction.op1_kind == OpKind.REGISTER and instruction.op0_register == instruction.op1_register


_NAMES = {value: name.lower() for name, value in vars(Mnemonic).items() if isinstance(value, int)}


def _name(instruction: Instruction) -> str:
    return _NAMES.get(instruction.mnemonic, "an unknown instruction")
