"""
What does one AArch64 instruction put into one register, or into stack slots?
"""

from __future__ import annotations

from collections.abc import Callable

from shim.analysis.aarch64.frames import accesses_memory, computed_place, place_of, place_of_memory
from shim.analysis.aarch64.instruction import Instruction, Mode, Op
from shim.analysis.aarch64.registers import ZERO
from shim.analysis.places import Frame, moved
from shim.analysis.registers import NONE, WORD
from shim.analysis.semantics import (
    BITS,
    FLAG,
    Copy,
    Effect,
    Load,
    Opaque,
    Operation,
    Stored,
    Value,
    extend,
    subsets,
)

_FEW = 4


def effect_of(instruction: Instruction, register: int, frame: Frame) -> Effect:
    """Return what `instruction`, which writes `register`, leaves in it."""
    if accesses_memory(instruction):
        if instruction.op == Op.LOAD and register in instruction.transfers:
            return _loaded(instruction, instruction.transfers.index(register), frame)
        if register == instruction.first and instruction.op != Op.OPAQUE:
            place = moved(place_of(frame, register), instruction.immediate)
            return Operation(
                (Copy((register,)), Value(instruction.immediate & WORD)), lambda a, b: a + b, place=place
            )
        return Opaque(f"written by {instruction.name}")
    compute = _COMPUTED.get(instruction.op)
    return Opaque(f"written by {instruction.name}") if compute is None else compute(instruction, frame)


def memory_operand(instruction: Instruction, frame: Frame) -> Load | Opaque:
    """Return the load of what a load or store accesses first."""
    if not accesses_memory(instruction) or instruction.size not in BITS:
        return Opaque(f"read by {instruction.name}")
    return _load(instruction, 0, frame)


def stored_operands(instruction: Instruction, frame: Frame) -> tuple[Stored, ...]:
    """Return what `instruction` stores into the frame, nothing if it stores nothing there that is known."""
    if not accesses_memory(instruction) or instruction.op == Op.LOAD:
        return ()
    place = place_of_memory(frame, instruction)
    if place is None:
        return ()
    size = instruction.size
    if not instruction.transfers:
        whole = 2 * size if instruction.name == "stp" else size
        return (Stored(place, whole, Opaque(f"stored by {instruction.name}")),)
    return tuple(
        Stored((place[0], place[1] + number * size), size, _register(register, BITS[size]))
        for number, register in enumerate(instruction.transfers)
    )


def variable_store(instruction: Instruction, _address: int) -> int | Value | None:
    """Return what a store of one register puts into memory; None for anything else."""
    if instruction.op != Op.STORE or len(set(instruction.transfers)) != 1:
        return None
    (register,) = set(instruction.transfers)
    return Value(0) if register == ZERO else register


def _loaded(instruction: Instruction, number: int, frame: Frame) -> Effect:
    load, size = _load(instruction, number, frame), instruction.size
    if instruction.variant != "signed":
        return load
    return Operation((load,), lambda value: extend(value, size), instruction.mask)


def _load(instruction: Instruction, number: int, frame: Frame) -> Load:
    offset = number * instruction.size
    if instruction.mode != Mode.POST:
        offset += instruction.immediate
    place = moved(place_of_memory(frame, instruction), number * instruction.size)
    index, scale = instruction.second, 1 << instruction.shift
    return Load(instruction.first, index, scale, offset, instruction.size, place, opaque=False)


def _register(register: int, mask: int = WORD) -> Copy | Value:
    return Value(0, mask) if register == ZERO else Copy((register,), mask)


def _second(instruction: Instruction) -> tuple[Copy | Value, Callable[[int], int]] | None:
    """Return the second operand and what is done to it; None for a shift that is not followed."""
    if instruction.second == NONE:
        return Value(instruction.immediate & WORD), _same
    if instruction.shift < 0:
        return None
    size, shift, mask = instruction.extend, instruction.shift, instruction.mask
    operand = _register(instruction.second, mask)
    inverted = mask if instruction.variant == "not" else 0

    def change(value: int) -> int:
        if size < 0:
            value = extend(value, -size)
        elif size < 8:
            value &= BITS[size]
        return value << shift & mask ^ inverted

    return operand, change


def _same(value: int) -> int:
    return value


def _constant(instruction: Instruction, _frame: Frame) -> Effect:
    return Value(instruction.immediate, instruction.mask)


def _keep(instruction: Instruction, _frame: Frame) -> Effect:
    kept, part = ~(0xFFFF << instruction.shift), instruction.immediate
    return Operation(
        (_register(instruction.first, instruction.mask),), lambda old: old & kept | part, instruction.mask
    )


def _arithmetic(instruction: Instruction, frame: Frame) -> Effect:
    """Additions, subtractions and logic; a move is one with the zero register."""
    op, mask = instruction.op, instruction.mask
    found = _second(instruction)
    if found is None:
        return Opaque(f"computed by {instruction.name}")
    second, change = found
    plain = instruction.shift == 0 and not instruction.variant
    if op == Op.OR and instruction.first == ZERO and plain and isinstance(second, Copy):
        return second
    first = _register(instruction.first, mask)
    if isinstance(first, Value) and isinstance(second, Value):
        return Value(_RESULTS[op](0, change(second.number)) & mask, mask)
    result = _RESULTS[op]
    bound: tuple[int, ...] = ()
    if op == Op.AND and instruction.second == NONE and instruction.immediate.bit_count() <= _FEW:
        bound = subsets(instruction.immediate)
    place = computed_place(frame, instruction)
    return Operation((first, second), lambda a, b: result(a, change(b)), mask, place, bound)


_RESULTS: dict[int, Callable[[int, int], int]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.AND: lambda a, b: a & b,
    Op.OR: lambda a, b: a | b,
    Op.XOR: lambda a, b: a ^ b,
}


def _bit_field(instruction: Instruction, _frame: Frame) -> Effect:
    """
    Bit-field moves, which shifts and extensions are names for.

    Source: Arm Architecture Reference Manual, C6.2, "UBFM", "SBFM" and "BFM".
    """
    rotate, last = instruction.field
    bits, mask = 8 * instruction.width, instruction.mask
    count, up = (last - rotate + 1, 0) if last >= rotate else (last + 1, bits - rotate)
    down, ones = (rotate, (1 << count) - 1) if last >= rotate else (0, (1 << count) - 1)
    source = _register(instruction.first, mask)

    def moved_field(value: int) -> int:
        return (value >> down & ones) << up

    if instruction.name == "bfm":
        kept = mask & ~(ones << up)
        old = _register(instruction.second, mask)
        return Operation((old, source), lambda a, b: a & kept | moved_field(b), mask)
    if instruction.name == "ubfm":
        bound = subsets(ones << up) if count <= _FEW else ()
        return Operation((source,), moved_field, mask, bound=bound)
    sign = 1 << count - 1
    return Operation((source,), lambda value: ((value >> down & ones ^ sign) - sign) << up, mask)


def _select(instruction: Instruction, _frame: Frame) -> Effect:
    """Either operand, the second perhaps changed."""
    mask, change = instruction.mask, _CHANGES[instruction.variant]
    first, second = _register(instruction.first, mask), _register(instruction.second, mask)
    if not instruction.variant and isinstance(first, Copy) and isinstance(second, Copy):
        return Copy((*first.registers, *second.registers), mask)
    return Operation((first, second, FLAG), lambda a, b, holds: a if holds else change(b), mask)


_CHANGES: dict[str, Callable[[int], int]] = {
    "": _same,
    "increment": lambda value: value + 1,
    "not": lambda value: ~value,
    "negate": lambda value: -value,
}


def _multiply_add(instruction: Instruction, _frame: Frame) -> Effect:
    mask, sign = instruction.mask, -1 if instruction.name == "msub" else 1
    registers = (instruction.transfers[0], instruction.first, instruction.second)
    operands = tuple(_register(register, mask) for register in registers)
    return Operation(operands, lambda a, b, c: a + sign * b * c, mask)


_COMPUTED: dict[int, Callable[[Instruction, Frame], Effect]] = {
    Op.CONSTANT: _constant,
    Op.KEEP: _keep,
    Op.ADD: _arithmetic,
    Op.SUB: _arithmetic,
    Op.AND: _arithmetic,
    Op.OR: _arithmetic,
    Op.XOR: _arithmetic,
    Op.BITFIELD: _bit_field,
    Op.SELECT: _select,
    Op.MULTIPLY_ADD: _multiply_add,
    Op.THREAD: lambda _instruction, _frame: Opaque("the thread pointer"),
}
