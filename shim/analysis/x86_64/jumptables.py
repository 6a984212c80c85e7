"""
Where can a `jmp` through a table go?

Compilers load a table entry by an index that they have compared with a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from iced_x86 import FlowControl, Instruction, Mnemonic, OpKind, Register

from shim.analysis.architecture import Surroundings
from shim.analysis.jumptables import MAX_ENTRIES, ComputedJumpError, Path, entries, steps_before
from shim.analysis.registers import NONE, WORD, signed
from shim.analysis.runs import Run
from shim.analysis.x86_64.registers import FULL

_ABOVE = {Mnemonic.JA: 1, Mnemonic.JAE: 0}
_BELOW = {Mnemonic.JBE: 1, Mnemonic.JB: 0}
_ADDRESSES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)
_Memory: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Load:
    """The instruction that reads the table: registers, displacement, entry size, what is added."""

    base: int
    index: int
    displacement: int
    entry_size: int
    relative_to: int
    position: int
    added_at: int


class JumpTables:
    """Resolves the indirect jumps of one process; see `architecture.JumpTables`."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def resolve(self, run: Run, start: int, came_from: int) -> tuple[int, ...] | None:
        """
        Return where the table behind the indirect jump that ends `run` leads; None for a jump by pointer.

        Raises:
            ComputedJumpError: the target is the result of arithmetic on something other than a table.
        """
        path = _Path(steps_before(self._around, _branch_target, run, start, came_from))
        load = self._find_load(path)
        if load is None:
            return None
        base = 0 if load.base == NONE else path.address_of(load.base, load.position)
        if base is None:
            if load.relative_to == NONE:
                return (
                    None  # an array of pointers behind a pointer: its functions are found where it is filled
                )
            raise ComputedJumpError
        relative = None
        if load.relative_to != NONE:
            relative = path.address_of(load.relative_to, load.added_at)
            if relative is None:
                raise ComputedJumpError
        limit = 1 if load.index == NONE else path.limit_of(load.index, load.position)
        address = base + load.displacement

        def target(entry: int) -> int:
            if relative is None:
                return entry
            return (relative + entry - ((entry & 0x8000_0000) << 1)) & WORD

        targets = entries(self._around, run, address, load.entry_size, target, limit)
        if not targets:
            if relative is not None:
                raise ComputedJumpError
            return None
        return targets

    def _find_load(self, path: _Path) -> _Load | None:
        """Recognise `jmp [T+i*8]`, `mov r,[T+i*8]; jmp r` and `movsxd r,[T+i*4]; add r,T; jmp r`."""
        jump = path.at(0)
        if jump is None:
            return None
        if jump.op0_kind == OpKind.MEMORY:
            return _load(jump, 8, NONE, 0, 0) if jump.memory_index != NONE else None
        if jump.op0_kind != OpKind.REGISTER:
            return None
        register: int = jump.op0_register
        relative, position, added_at = NONE, 1, 0
        while (found := path.definition(register, position)) is not None:
            position, instruction = found
            mnemonic = instruction.mnemonic
            added = _added_registers(instruction)
            if added is not None and relative == NONE:
                register, relative = path.which_loads(position, *added)
                added_at = position + 1
                if relative == NONE:
                    raise ComputedJumpError
            elif mnemonic in (Mnemonic.MOVSXD, Mnemonic.MOV) and instruction.op1_kind == OpKind.MEMORY:
                if mnemonic == Mnemonic.MOVSXD and relative != NONE:
                    return _load(instruction, 4, relative, position, added_at)
                if relative != NONE:
                    raise ComputedJumpError
                return (
                    _load(instruction, 8, relative, position, 0) if instruction.memory_index != NONE else None
                )
            elif mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
                register = FULL[instruction.op1_register]
            else:
                return None
            position += 1
        if relative != NONE:
            raise ComputedJumpError
        return None


def _branch_target(instruction: Instruction) -> int | None:
    if instruction.flow_control != FlowControl.CONDITIONAL_BRANCH:
        return None
    return instruction.near_branch_target


def _load(
    instruction: Instruction, entry_size: int, relative: int, position: int, added_at: int
) -> _Load | None:
    if instruction.memory_index != NONE and instruction.memory_index_scale != entry_size:
        return None
    if instruction.segment_prefix in (Register.FS, Register.GS):
        return None
    if instruction.is_ip_rel_memory_operand:
        return _Load(
            NONE,
            NONE,
            instruction.ip_rel_memory_address,
            entry_size,
            relative,
            position,
            added_at,
        )
    displacement = signed(instruction.memory_displacement)
    return _Load(
        instruction.memory_base,
        instruction.memory_index,
        displacement,
        entry_size,
        relative,
        position,
        added_at,
    )


def _added_registers(instruction: Instruction) -> tuple[int, int] | None:
    """Return the two registers whose sum a 64-bit `add` or `lea` leaves in its destination, or None."""
    if instruction.mnemonic == Mnemonic.ADD and instruction.op1_kind == OpKind.REGISTER:
        return instruction.op0_register, instruction.op1_register
    if instruction.mnemonic == Mnemonic.LEA and instruction.memory_index_scale == 1:
        base, index = instruction.memory_base, instruction.memory_index
        if NONE not in {base, index} and instruction.memory_displacement == 0:
            return base, index
    return None


class _Path(Path):
    """What stood before an indirect jump."""

    def definition(self, register: int, start: int) -> tuple[int, Instruction] | None:
        """Return (position, instruction) of what last wrote `register`, from `start` back."""
        position = start
        while (instruction := self.at(position)) is not None:
            if (
                instruction.op_count
                and instruction.op0_kind == OpKind.REGISTER
                and instruction.mnemonic not in (Mnemonic.CMP, Mnemonic.TEST, Mnemonic.PUSH)
                and FULL[instruction.op0_register] == register
            ):
                return position, instruction
            position += 1
        return None

    def which_loads(self, position: int, first: int, second: int) -> tuple[int, int]:
        """Of two added registers return (the one a table entry was loaded into, the other)."""
        for register, other in ((first, second), (second, first)):
            found = self.definition(register, position + 1)
            if (
                found is not None
                and found[1].mnemonic == Mnemonic.MOVSXD
                and found[1].op1_kind == OpKind.MEMORY
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
                if instruction.mnemonic in (Mnemonic.ADD, Mnemonic.MOVSXD) and position == start:
                    position += 1
                    continue
                return None
            if instruction.op1_kind in _ADDRESSES:
                return instruction.immediate(1)
            if instruction.op1_kind != OpKind.REGISTER:
                return None
            register = FULL[instruction.op1_register]
            position += 1
        return None

    def limit_of(self, index: int, start: int) -> int | None:
        """Return how many entries the code admits for the index register, or None without a comparison."""
        held: int | _Memory = FULL[index]
        position = start + 1
        extra: int | None = None
        while (step := self.step(position)) is not None:
            instruction, taken = step
            position += 1
            mnemonic = instruction.mnemonic
            if taken is not None:
                extra = (_BELOW if taken else _ABOVE).get(mnemonic)
                continue
            if instruction.flow_control != FlowControl.NEXT:
                extra = None
            if instruction.op_count < 2 or _first_operand(instruction) != held:
                continue
            constant = instruction.op1_kind not in (OpKind.REGISTER, OpKind.MEMORY)
            if mnemonic == Mnemonic.CMP:
                if extra is not None and constant:
                    return int(instruction.immediate(1)) + extra
            elif mnemonic == Mnemonic.AND and constant and instruction.immediate(1) < MAX_ENTRIES:
                return int(instruction.immediate(1)) + 1
            elif mnemonic in (Mnemonic.MOV, Mnemonic.MOVZX, Mnemonic.MOVSXD) and not constant:
                held = _memory(instruction)
                if instruction.op1_kind == OpKind.REGISTER:
                    held = FULL[instruction.op1_register]
            elif mnemonic != Mnemonic.TEST:
                return None
        return None


def _memory(instruction: Instruction) -> _Memory:
    return instruction.memory_base, instruction.memory_index, instruction.memory_displacement


def _first_operand(instruction: Instruction) -> int | _Memory | None:
    """Return the full register or the memory operand that comes first; None for anything else."""
    if instruction.op0_kind == OpKind.REGISTER:
        return FULL[instruction.op0_register]
    return _memory(instruction) if instruction.op0_kind == OpKind.MEMORY else None
