"""
The basic blocks of reached functions, cut out of runs where a question needs them.

Most functions are only ever followed as runs; the few whose values are asked for are cut here, once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter

from shim.analysis.reach import Function, Reach
from shim.analysis.runs import Run

_start = attrgetter("start")


@dataclass(slots=True)
class Block:
    """
    Instructions `start`..`end` that run in order, entered at the first and left at the last.

    `last` is the address of the branch, call or jump that ends the block, 0 where it falls through.  `target`
    is its direct target, or the address of the pointer it goes through when that is a constant, or 0.
    """

    start: int
    end: int
    last: int
    ending: int
    target: int


class Blocks:
    """Cuts the runs that `reach` found; ask only when it has finished."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._of: dict[int, list[Block]] = {}
        self._cut: dict[int, list[Block]] = {}
        self._owners: dict[int, Function] = {}
        self._containing: dict[int, Block | None] = {}

    def of(self, function: Function) -> list[Block]:
        """Return the blocks that were first reached from the entry of `function`."""
        blocks = self._of.get(function.entry)
        if blocks is None:
            numbers = iter(self._reach.blocks_of(function))
            blocks = self._of[function.entry] = []
            for start, end, last, ending, target, run in zip(*[numbers] * 6, strict=True):
                block = Block(start, end, last, ending, target)
                blocks.append(block)
                self._cut.setdefault(run, []).append(block)
        return blocks

    def in_run(self, run: Run) -> list[Block]:
        """Return the blocks of a run, by address."""
        if run.start not in self._cut:
            if run.end <= run.start:  # into no instruction at all
                self._cut[run.start] = [Block(run.start, run.end, run.last, run.ending, run.target)]
            else:
                self.of(self._reach.owner[run.start])
        return self._cut[run.start]

    def containing(self, address: int) -> Block | None:
        """Return the reachable block with `address` inside, or None."""
        try:
            return self._containing[address]
        except KeyError:
            pass
        run = self._reach.containing(address)
        block = None
        if run is not None:
            blocks = self.in_run(run)
            block = blocks[bisect_right(blocks, address, key=_start) - 1]
        self._containing[address] = block
        return block

    def at(self, start: int) -> Block | None:
        """Return the reachable block that begins at `start`, or None."""
        block = self.containing(start)
        return block if block is not None and block.start == start else None

    def owner(self, block: Block) -> Function:
        """
        Return the function that first reached `block`.

        Raises:
            KeyError: the block is none of this process; the caller's bug.
        """
        owner = self._owners.get(block.start)
        if owner is None:
            owner = self._owners[block.start] = self._reach.functions[self._reach.owner_of(block.start)]
        return owner

    def parent(self, block: Block) -> Block | None:
        """Return the block from which `block` was first reached, or None at an entry."""
        run = self._reach.containing(block.start)
        if run is None:
            return None
        if block.start > run.start:
            return self.containing(block.start - 1)
        came_from = self._reach.came_from(run)
        return self.containing(came_from) if came_from else None
