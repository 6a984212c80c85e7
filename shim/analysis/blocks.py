"""
The basic blocks of reached functions, cut out of runs where a question needs them.

Most functions are only ever followed as runs; the few whose values are asked for are cut here, once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from shim.analysis.reach import Function, Reach
from shim.analysis.runs import MARK_LEADER, Disassembler, Ending, Run

_LEADER = bytes((MARK_LEADER,))


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

    def __init__(self, reach: Reach, disassembler: Disassembler) -> None:
        self._reach = reach
        self._disassembler = disassembler
        self._cut: dict[int, list[Block]] = {}
        self._starts: dict[int, list[int]] = {}
        self._owners: dict[int, Function] = {}
        self._containing: dict[int, Block | None] = {}

    def of(self, function: Function) -> list[Block]:
        """Return the blocks that were first reached from the entry of `function`."""
        runs = (run for run in function.runs if run.end > run.start)  # into no instruction at all
        return [block for run in runs for block in self.in_run(run)]

    def in_run(self, run: Run) -> list[Block]:
        """Return the blocks of a run, by address."""
        blocks = self._cut.get(run.start)
        if blocks is None:
            blocks = self._cut[run.start] = self._divide(run)
            self._starts[run.start] = [block.start for block in blocks]
        return blocks

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
            block = blocks[bisect_right(self._starts[run.start], address) - 1]
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

    def _divide(self, run: Run) -> list[Block]:
        if run.end <= run.start:
            return [Block(run.start, run.end, run.last, run.ending, run.target)]
        ends: dict[int, tuple[int, int, int]] = {}
        for ip, target in run.branches:
            ends[self._behind(ip)] = (ip, Ending.BRANCH, target)
        for ip, target in run.calls:
            ends[self._behind(ip)] = (ip, Ending.CALL, target)
        for ip in run.indirect_calls:
            ends[self._behind(ip)] = (ip, Ending.CALL_INDIRECT, 0)
        if run.end not in ends or run.last:
            ends[run.end] = (run.last, run.ending, run.target)
        for leader in self._leaders(run):
            ends.setdefault(leader, (0, Ending.FALL, 0))
        blocks, start = [], run.start
        for end in sorted(ends):
            last, ending, target = ends[end]
            blocks.append(Block(start, end, last, ending, target))
            start = end
        return blocks

    def _leaders(self, run: Run) -> list[int]:
        region = self._disassembler.region(run.start)
        if region is None:
            return []
        found, offset, stop = [], run.start - region.start, run.end - region.start
        while (offset := region.marks.find(_LEADER, offset + 1, stop)) >= 0:
            found.append(offset + region.start)
        return found

    def _behind(self, ip: int) -> int:
        return int(self._disassembler.instructions(ip, ip + 1)[0].next_ip)
