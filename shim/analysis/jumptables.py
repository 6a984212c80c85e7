"""
What came before a jump that goes through a table?

The tables themselves are recognised by each architecture; the path back to a jump is the same for all.  A
table's base must be the same on every path, so one path is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def entries(
    around: Surroundings,
    run: Run,
    address: int,
    entry_size: int,
    target: Callable[[int], int],
    limit: int | None,
) -> tuple[int, ...]:
    """
    Return where the entries of the table at `address` lead.

    `target` makes a code address of an entry; a table without a `limit` ends where its entries leave the
    function or something else that code names begins.
    """
    extent = around.extent(run.last)
    targets: dict[int, None] = {}
    for index in range(min(limit or MAX_ENTRIES, MAX_ENTRIES)):
        entry = around.memory.word(address + index * entry_size, entry_size)
        if entry is None:
            break
        value = target(entry)
        if limit is None and (
            value not in extent or (index and address + index * entry_size in around.named)
        ):
            break
        if around.memory.executable(value):
            targets[value] = None
        elif value:
            break
    return tuple(targets)
