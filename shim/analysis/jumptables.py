"""
What came before a jump that goes through a table?

The tables themselves are recognised by each architecture; the path back to a jump is the same for all.  A
table's base must be the same on every path, so one path is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shim.analysis.architecture import Surroundings
from shim.analysis.runs import Instruction, Run

MAX_PATH_RUNS = 512
MAX_ENTRIES = 4096
# An instruction, and whether the path leaves it by its branch: None where it is no conditional branch.
PathStep: TypeAlias = tuple[Instruction, bool | None]


class ComputedJumpError(Exception):
    """The target of a jump is computed in a way that is not understood: no pointer and no known table."""


class Path:
    """Instructions before an indirect jump, last first; read as far as needed."""

    def __init__(self, steps: Iterator[PathStep]) -> None:
        self._source = steps
        self._steps: list[PathStep] = []

    def at(self, position: int) -> Instruction | None:
        """Return the instruction `position` steps before the jump, or None before the start of the path."""
        step = self.step(position)
        return None if step is None else step[0]

    def step(self, position: int) -> PathStep | None:
        """Return the instruction with how the path leaves it."""
        while len(self._steps) <= position:
            following = next(self._source, None)
            if following is None:
                return None
            self._steps.append(following)
        return self._steps[position]


def steps_before(
    around: Surroundings,
    branch_target: Callable[[Instruction], int | None],
    run: Run,
    start: int,
    came_from: int,
) -> Iterator[PathStep]:
    """
    Yield the instructions before the end of a run, last first.

    `branch_target` returns where a conditional branch goes, None for any other instruction.
    """
    stop, after = run.end, 0
    for _ in range(MAX_PATH_RUNS):
        for instruction in reversed(around.disassembler.instructions(start, stop)):
            target = branch_target(instruction)
            yield instruction, None if target is None else bool(after) and target == after
            after = 0
        parent = around.containing(came_from) if came_from else None
        if parent is None:
            return
        stop, after = came_from + 1, start
        start, came_from = parent.start, around.came_from(parent)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many entries of a table the code can read; `exact` if it compares, else an upper bound."""

    count: int
    exact: bool = True


class Entries:
    """Where the entries of the tables of one process lead; each table is read once."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._led: dict[tuple[object, ...], tuple[int, ...]] = {}

    def targets(
        self, run: Run, address: int, entry_size: int, target: Callable[[int], int], limit: Limit | None
    ) -> tuple[int, ...]:
        """
        Return where the entries of the table at `address` lead, for the jump at the end of `run`.

        `target`, a hashable value, makes a code address of an entry.  A table of unknown length ends where an
        entry leaves the function.
        """
        extent = self._around.extent(run.last) if limit is None else None
        key = (address, entry_size, target, limit, extent)
        if key not in self._led:
            values = list(self._addresses(address, entry_size, target, limit, extent))
            table = range(address, address + len(values) * entry_size, entry_size)
            length = self._length(table, values, limit)
            self._led[key] = tuple(dict.fromkeys(value for value in values[:length] if value))
        return self._led[key]

    def _addresses(
        self,
        address: int,
        entry_size: int,
        target: Callable[[int], int],
        limit: Limit | None,
        extent: range | None,
    ) -> Iterator[int]:
        """Yield the code address of each entry, 0 for an entry that has none."""
        for index in range(MAX_ENTRIES if limit is None else min(limit.count, MAX_ENTRIES)):
            entry = self._around.memory.word(address + index * entry_size, entry_size)
            value = 0 if entry is None else target(entry)
            if entry is None or (extent is not None and value not in extent):
                return
            if value and not self._around.memory.executable(value):
                return
            yield value

    def _length(self, table: range, values: Sequence[int], limit: Limit | None) -> int:
        """
        Return how many of the numbers at `table` are entries.

        A compiler that knows that some numbers do not occur compares with more than the table has.  Then
        something that is named follows, and numbers that lead to no instruction.
        """
        wrong = next(
            (index for index, value in enumerate(values) if value and not self._around.begins(value)),
            len(values),
        )
        named = next((n for n, place in enumerate(table) if n and place in self._around.named), len(values))
        if limit is not None and limit.exact:
            return named if named <= wrong < len(values) else len(values)
        return min(named, wrong)
