"""
Which calls does a filter let through?  The way back from instructions to rules.

For filters whose profile is not at hand, as in a launch plan: what is read here is never narrower than the
filter, and may be wider.  Kept are tests for equality of an argument, masked or not, which is what deciding
arguments have; given up are ranges, "not equal", and from which instruction a call comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shim.filter.actions import ACTION_MASK, ERRNO, KILL_PROCESS, KILL_THREAD, TRAP
from shim.filter.check import check
from shim.filter.data import ARCH_OFFSET, NR_OFFSET, argument_offset
from shim.filter.program import CONDITIONAL_JUMPS, FilterProgram, Instruction, Opcode
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls.table import SyscallTable

MOST_ALTERNATIVES = 64
"""Of one call, from one instruction on; where there are more, the tests behind it are given up."""

_WORD, _FIRST_ARGUMENT = 0xFFFF_FFFF, argument_offset(0)
_REFUSALS = frozenset({KILL_PROCESS, KILL_THREAD, TRAP, ERRNO})

# A test that held: the word's offset, the mask, and what the masked word was.
_Equal = tuple[int, int, int]
_Alternatives = frozenset[frozenset[_Equal]]
_ANYTHING: _Alternatives = frozenset({frozenset()})


@dataclass(frozen=True, slots=True)
class _Known:
    """What the accumulator holds: a number, a masked word of the call, or something that is not followed."""

    number: int | None = None
    offset: int = -1
    mask: int = _WORD


_UNKNOWN = _Known()


def let_through(
    program: FilterProgram, table: SyscallTable, refused: frozenset[int] = frozenset()
) -> tuple[SyscallRule, ...]:
    """
    Return a rule for each call of the table that some arguments or addresses get through, by number.

    Args:
        program: A filter; constants that wait for addresses stay as they are, and are not believed.
        table: The syscalls of its architecture.
        refused: Further actions, their data left out, that make no call: USER_NOTIF where whoever listens
            refuses.

    Raises:
        FilterError: the kernel would not take the filter.

    Not checked:
        Calls of other architectures, and numbers that the table lacks.
    """
    check(program)
    refusals = _REFUSALS | refused
    rules = []
    for name, number in table.numbers.items():
        walk = _Walk(program.instructions, {NR_OFFSET: number, ARCH_OFFSET: table.audit_arch}, refusals)
        conditions = _conditions(walk.alternatives())
        if conditions is not None:
            rules.append(SyscallRule(number, name, conditions))
    return tuple(sorted(rules, key=lambda rule: rule.number))


@dataclass(slots=True)
class _Walk:
    """All ways of one call through a filter; jumps only go forward, so that each way ends."""

    instructions: tuple[Instruction, ...]
    words: dict[int, int]
    refusals: frozenset[int]
    known: dict[tuple[int, _Known], _Alternatives] = field(default_factory=dict)

    def alternatives(self) -> _Alternatives:
        """Return, for each way that lets the call through, the equalities that it asks for."""
        pending = [(0, _UNKNOWN)]
        while pending:
            state = pending[-1]
            steps = [] if state in self.known else self._steps(*state)
            missing = [after for _, after in steps if after not in self.known]
            if missing:
                pending += missing
                continue
            pending.pop()
            if state not in self.known:
                self.known[state] = self._joined(state[0], steps)
        return self.known[0, _UNKNOWN]

    def _joined(self, position: int, steps: list[tuple[_Equal | None, tuple[int, _Known]]]) -> _Alternatives:
        if not steps:
            return _ANYTHING if self._passes(self.instructions[position]) else frozenset()
        found = frozenset(
            way if test is None else way | {test} for test, after in steps for way in self.known[after]
        )
        return _ANYTHING if frozenset() in found or len(found) > MOST_ALTERNATIVES else found

    def _passes(self, instruction: Instruction) -> bool:
        return instruction.code == Opcode.RET_A or instruction.k & ACTION_MASK not in self.refusals

    def _steps(self, position: int, held: _Known) -> list[tuple[_Equal | None, tuple[int, _Known]]]:
        """Return where an instruction leads, each with the equality that holds on that way."""
        instruction = self.instructions[position]
        after = position + 1
        match instruction.code:
            case Opcode.RET_K | Opcode.RET_A:
                return []
            case Opcode.JA:
                return [(None, (after + instruction.k, held))]
            case code if code in CONDITIONAL_JUMPS:
                return self._jumps(instruction, after, held)
            case Opcode.LD_ABS:
                offset = instruction.k
                is_argument = offset >= _FIRST_ARGUMENT
                loaded = _Known(self.words.get(offset), offset if is_argument else -1)
                return [(None, (after, loaded))]
            case Opcode.AND_K if held.number is not None:
                return [(None, (after, _Known(held.number & instruction.k)))]
            case Opcode.AND_K if held.offset >= 0:
                return [(None, (after, _Known(None, held.offset, held.mask & instruction.k)))]
            case Opcode.ST | Opcode.STX | Opcode.LDX_IMM | Opcode.LDX_LEN | Opcode.LDX_MEM | Opcode.TAX:
                return [(None, (after, held))]
        return [(None, (after, _UNKNOWN))]

    def _jumps(
        self, instruction: Instruction, after: int, held: _Known
    ) -> list[tuple[_Equal | None, tuple[int, _Known]]]:
        taken, passed = (after + instruction.jt, held), (after + instruction.jf, held)
        if held.number is not None and instruction.code in _COMPARED:
            holds = _COMPARED[Opcode(instruction.code)](held.number, instruction.k)
            return [(None, taken if holds else passed)]
        if instruction.code == Opcode.JEQ_K and held.offset >= 0:
            if instruction.k & ~held.mask:
                return [(None, passed)]
            return [((held.offset, held.mask, instruction.k), taken), (None, passed)]
        return [(None, taken), (None, passed)]


_COMPARED = {
    Opcode.JEQ_K: lambda a, k: a == k,
    Opcode.JGT_K: lambda a, k: a > k,
    Opcode.JGE_K: lambda a, k: a >= k,
    Opcode.JSET_K: lambda a, k: a & k != 0,
}


def _conditions(found: _Alternatives) -> tuple[tuple[ArgumentCondition, ...], ...] | None:
    """Return the alternatives as a rule has them; None where no call gets through."""
    joined = {one for way in found if (one := _conjunction(way)) is not None}
    if not joined:
        return None
    return () if () in joined else tuple(sorted(joined))


def _conjunction(way: frozenset[_Equal]) -> tuple[ArgumentCondition, ...] | None:
    """Join the halves of an argument to tests of the whole; None for a way that no call can take."""
    parts: dict[int, tuple[int, int]] = {}
    for offset, mask, value in way:
        index, is_high = divmod(offset - _FIRST_ARGUMENT, 8)
        shift = 32 if is_high else 0
        known_mask, known_value = parts.get(index, (0, 0))
        if known_mask & mask << shift & (known_value ^ value << shift):
            return None
        parts[index] = (known_mask | mask << shift, known_value | value << shift)
    return tuple(
        ArgumentCondition(index, "eq" if mask == 2**64 - 1 else "masked_eq", value, mask)
        for index, (mask, value) in sorted(parts.items())
    )
