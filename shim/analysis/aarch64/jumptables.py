"""
Where can a `br` through a table go?

Compilers load an entry, widen and shift it, and add it to the address of the table or of a place in the code;
or the entries are whole addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.analysis.aarch64.decode import Disassembler
from shim.analysis.aarch64.instruction import Instruction, Mode, Op
from shim.analysis.aarch64.registers import FP, SP, ZERO
from shim.analysis.architecture import Surroundings
from shim.analysis.jumptables import MAX_ENTRIES, ComputedJumpError, Entries, Limit, Path, steps_before
from shim.analysis.registers import NONE, WORD
from shim.analysis.runs import Run
from shim.analysis.semantics import extend

_POINTER = 8
# How many more entries than the number compared with there are: b.hi and b.hs not taken, b.ls and b.lo taken.
_BEYOND = {8: 1, 2: 0}
_UP_TO = {9: 1, 3: 0}


@dataclass(frozen=True, slots=True)
class _Entry:
    """The instruction that reads the table, where on the path it is, and how its result is added."""

    load: Instruction
    position: int
    added: Instruction | None
    base: int
    added_at: int


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
        path = _Path(steps_before(self._around, _branch_target, run, start, came_from))
        entry = _find(path)
        if entry is None:
            return None
        table = path.address_of(entry.load.first, entry.position + 1)
        relative = 0 if entry.added is None else path.address_of(entry.base, entry.added_at + 1)
        if table is None and entry.added is None:
            return None  # an array of pointers behind a pointer: its functions are found where it is filled
        if table is None or relative is None:
            raise ComputedJumpError
        indexed = entry.load.second != NONE
        limit = path.limit_of(entry.load.second, entry.position + 1) if indexed else Limit(1)
        targets = self._entries.targets(
            run, table + entry.load.immediate, entry.load.size, _target(relative, entry), limit
        )
        if not targets:
            if entry.added is not None:
                raise ComputedJumpError
            return None
        if isinstance(self._around.disassembler, Disassembler):
            self._around.disassembler.carry(run, targets)
        return targets


def _branch_target(instruction: Instruction) -> int | None:
    if instruction.op in (Op.BRANCH, Op.COMPARE_BRANCH, Op.TEST_BRANCH):
        return instruction.immediate
    return None


@dataclass(frozen=True, slots=True)
class _Target:
    """Makes a code address of an entry of `size` bytes: widened as `extend` says, shifted, and added."""

    relative: int
    size: int
    signed: bool
    extend: int
    shift: int

    def __call__(self, entry: int) -> int:
        value = extend(entry, self.size) if self.signed else entry
        if self.extend < 0:
            value = extend(value, -self.extend)
        return self.relative + (value << self.shift) & WORD


def _target(relative: int, entry: _Entry) -> _Target:
    load, added = entry.load, entry.added
    if added is None:
        return _Target(relative, load.size, False, 0, 0)
    return _Target(relative, load.size, load.variant == "signed", added.extend, added.shift)


def _find(path: _Path) -> _Entry | None:
    """Recognise `ldr x, [T, i, lsl 3]; br x` and `ldrb w, [T, i]; add x, B, w, sxtb 2; br x` and the like."""
    jump = path.at(0)
    if jump is None or jump.op != Op.JUMP_REGISTER:
        return None
    register, position = jump.first, 1
    while (found := path.definition(register, position)) is not None:
        position, instruction = found
        if instruction.op == Op.LOAD:
            whole = instruction.size == _POINTER and instruction.second != NONE
            return _Entry(instruction, position, None, NONE, 0) if whole else None
        if instruction.op == Op.ADD and instruction.second != NONE and instruction.width == _POINTER:
            return _relative(path, position, instruction)
        if not _is_move(instruction):
            if instruction.op in (Op.ADD, Op.SUB) and instruction.second == NONE:
                return None
            raise ComputedJumpError
        register = instruction.second
        position += 1
    return None


def _relative(path: _Path, position: int, added: Instruction) -> _Entry:
    """
    Return the entry that an addition makes a target of.

    Raises:
        ComputedJumpError: neither operand is loaded from a table.
    """
    pairs = [(added.second, added.first)]
    if added.shift == 0 and added.extend == _POINTER:
        pairs.append((added.first, added.second))
    for register, base in pairs:
        found = path.definition(register, position + 1)
        if found is not None and found[1].op == Op.LOAD and found[1].second != NONE:
            return _Entry(found[1], found[0], added, base, position)
    raise ComputedJumpError


def _is_move(instruction: Instruction) -> bool:
    return (
        instruction.op == Op.OR
        and instruction.first == ZERO
        and instruction.second not in (NONE, ZERO)
        and instruction.shift == 0
        and not instruction.variant
    )


class _Path(Path):
    """What stood before an indirect jump."""

    def definition(self, register: int, start: int) -> tuple[int, Instruction] | None:
        """Return (position, instruction) of what last wrote `register`, from `start` back."""
        position = start
        while (instruction := self.at(position)) is not None:
            if register in instruction.written:
                return position, instruction
            position += 1
        return None

    def address_of(self, register: int, start: int) -> int | None:
        """Return the constant address last put into `register` on this path, or None."""
        position, offset = start, 0
        while (found := self.definition(register, position)) is not None:
            position, instruction = found
            if instruction.op == Op.CONSTANT:
                return int(instruction.immediate) + offset
            if instruction.op == Op.ADD and instruction.second == NONE:
                register, offset = instruction.first, offset + instruction.immediate
            elif _is_move(instruction):
                register = instruction.second
            elif instruction.op == Op.LOAD and (stored := self._stored(register, position, instruction)):
                position, register = stored
            else:
                return None
            position += 1
        return None

    def _stored(self, register: int, position: int, load: Instruction) -> tuple[int, int] | None:
        """Return (position, register) of what a register loaded from the frame was stored from, or None."""
        if (
            load.first not in (SP, FP)
            or load.size != _POINTER
            or load.second != NONE
            or load.mode != Mode.OFFSET
        ):
            return None
        wanted = load.immediate + _POINTER * load.transfers.index(register)
        while (instruction := self.at(position := position + 1)) is not None:
            if load.first in instruction.written:
                return None
            if instruction.op == Op.STORE and instruction.first == load.first:
                places = [
                    instruction.immediate + instruction.size * n for n in range(len(instruction.transfers))
                ]
                if wanted in places and instruction.size == _POINTER:
                    return position, instruction.transfers[places.index(wanted)]
        return None

    def limit_of(self, index: int, start: int) -> Limit | None:
        """Return how many entries the code admits for the index register, or None without a comparison."""
        held, position = index, start
        beyond: int | None = None
        while (step := self.step(position)) is not None:
            instruction, taken = step
            position += 1
            if taken is not None:
                told = (_UP_TO if taken else _BEYOND).get(instruction.condition)
                beyond = told if instruction.op == Op.BRANCH else beyond
            elif instruction.op == Op.SUB and instruction.flags and instruction.first == held:
                if beyond is not None and instruction.second == NONE:
                    return Limit(int(instruction.immediate) + beyond)
                if held in instruction.written:
                    return None
            elif held in instruction.written:
                following = _narrowed(instruction)
                if following is None or isinstance(following, Limit):
                    return following
                held = following
        return None


def _narrowed(instruction: Instruction) -> int | Limit | None:
    """Return the register that an index was taken from, or how many values it has; None if unknown."""
    if _is_move(instruction):
        return int(instruction.second)
    if instruction.op == Op.AND and instruction.second == NONE and instruction.immediate < MAX_ENTRIES:
        return Limit(int(instruction.immediate) + 1, exact=False)
    if instruction.op == Op.BITFIELD and instruction.name == "ubfm":
        rotate, last = instruction.field
        if rotate == 0 and last >= 7:
            return int(instruction.first)
        if last >= rotate and last - rotate < 8:
            return Limit(1 << last - rotate + 1, exact=False)
    return None
