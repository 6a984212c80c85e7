"""
Where can a `jmp` through a table go?

Compilers load a table entry by an index that they have compared with a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from iced_x86 import FlowControl, Instruction, Mnemonic, OpKind, Register

from shim.analysis.architecture import Surroundings
from shim.analysis.jumptables import ComputedJumpError, Entries, Limit, steps_before
from shim.analysis.registers import NONE, WORD, signed
from shim.analysis.runs import Run
from shim.analysis.x86_64.registers import FULL
from shim.analysis.x86_64.tablepath import TablePath


@dataclass(frozen=True, slots=True)
class _Load:
    """
    The instruction that reads the table: registers, displacement, entry size, what is added.

    `position` and `added_at` are where on the path the entry is read and added to; behind `indexed_at` the
    index is in its register.
    """

    base: int
    index: int
    displacement: int
    entry_size: int
    relative_to: int
    position: int
    added_at: int
    indexed_at: int


@dataclass(frozen=True, slots=True)
class _Target:
    """Makes a code address of an entry: the entry itself, or the signed distance from an address."""

    relative: int | None

    def __call__(self, entry: int) -> int:
        if self.relative is None:
            return entry
        return (self.relative + entry - ((entry & 0x8000_0000) << 1)) & WORD


class JumpTables:
    """Resolves the indirect jumps of one process; see `architecture.JumpTables`."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._entries = Entries(around)

    def resolve(self, run: Run, start: int, came_from: int) -> tuple[int, ...] | None:
        """
        Return where the table behind the indirect jump that ends `run` leads; None for a jump by pointer.

        Raises:
            ComputedJumpError: the target is the result of arithmetic on something other than a table.
        """
        path = TablePath(steps_before(self._around, _branch_target, run, start, came_from))
        load = _find_load(path)
        if load is None:
            return None
        base = 0 if load.base == NONE else path.address_of(load.base, load.position + 1)
        if base is None:
            if load.relative_to == NONE:
                # An array of pointers behind a pointer: its functions are found where it is filled.
                return None
            raise ComputedJumpError
        relative = None
        if load.relative_to != NONE:
            relative = path.address_of(load.relative_to, load.added_at)
            if relative is None:
                raise ComputedJumpError
        limit = Limit(1) if load.index == NONE else path.limit_of(load.index, load.indexed_at)
        targets = self._entries.targets(
            run, base + load.displacement, load.entry_size, _Target(relative), limit
        )
        if not targets:
            if relative is not None:
                raise ComputedJumpError
            return None
        return targets


def _find_load(path: TablePath) -> _Load | None:
    """Recognise `jmp [T+i*8]`, `mov r,[T+i*8]; jmp r` and `movsxd r,[T+i*4]; add r,T; jmp r`."""
    jump = path.at(0)
    if jump is None:
        return None
    if jump.op0_kind == OpKind.MEMORY:
        return _load(jump, 8, NONE, 0, 0) if jump.memory_index != NONE else None
    register, position = jump.op0_register, 1
    while jump.op0_kind == OpKind.REGISTER and (found := path.definition(register, position)) is not None:
        position, instruction = found
        mnemonic = instruction.mnemonic
        added = _added_registers(instruction)
        if added is not None:
            return _relative_load(path, position, added)
        if mnemonic not in (Mnemonic.MOV, Mnemonic.MOVSXD):
            return None
        if instruction.op1_kind == OpKind.MEMORY:
            return _load(instruction, 8, NONE, position, 0) if instruction.memory_index != NONE else None
        if mnemonic != Mnemonic.MOV or instruction.op1_kind != OpKind.REGISTER:
            return None
        register, position = FULL[instruction.op1_register], position + 1
    return None


def _relative_load(path: TablePath, added_at: int, added: tuple[int, int]) -> _Load:
    """
    Return what reads the table of which an entry is added to an address at `added_at`.

    Raises:
        ComputedJumpError: neither of the registers that are added comes from a table.
    """
    register, relative = path.which_loads(added_at, *added)
    position = added_at + 1
    while relative != NONE and (found := path.definition(register, position)) is not None:
        position, instruction = found
        if instruction.mnemonic == Mnemonic.CDQE:
            return _unscaled_load(path, position + 1, relative, added_at + 1)
        if instruction.mnemonic == Mnemonic.MOVSXD and instruction.op1_kind == OpKind.MEMORY:
            load = _load(instruction, 4, relative, position, added_at + 1)
            if load is not None:
                return load
        break
    raise ComputedJumpError


def _unscaled_load(path: TablePath, position: int, relative: int, added_at: int) -> _Load:
    """
    Return what GCC reads without optimisation: `lea x,[i*4]; lea rax,[T]; mov eax,[x+rax]; cdqe`.

    Raises:
        ComputedJumpError: what is before `position` is anything else.
    """
    found = path.definition(Register.RAX, position)
    if found is None or found[1].mnemonic != Mnemonic.MOV or found[1].op1_kind != OpKind.MEMORY:
        raise ComputedJumpError
    at, load = found
    if load.memory_index_scale != 1 or load.op0_register != Register.EAX:
        raise ComputedJumpError
    for scaled, base in permutations((load.memory_base, load.memory_index)):
        made = path.definition(scaled, at + 1)
        if made is not None and _is_scaled(made[1], 4):
            displacement = signed(load.memory_displacement)
            index = made[1].memory_index
            return _Load(base, index, displacement, 4, relative, at, added_at, made[0])
    raise ComputedJumpError


def _is_scaled(instruction: Instruction, size: int) -> bool:
    """Whether an instruction computes nothing but `size` times a register."""
    return bool(
        instruction.mnemonic == Mnemonic.LEA
        and instruction.memory_base == NONE
        and instruction.memory_index_scale == size
        and instruction.memory_displacement == 0
    )


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
            position,
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
        position,
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
