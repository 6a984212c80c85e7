"""
Which functions may return again, as setjmp() and getcontext() do?

They keep the address that they return to where their caller tells them to: longjmp() takes it from there.
"""

from __future__ import annotations

from shim.analysis.blocks import Block, Blocks
from shim.analysis.frames import Listings
from shim.analysis.graph import Graph
from shim.analysis.places import Place
from shim.analysis.runs import Ending

# What saves registers is short; of a longer function only the first block is read.
MAX_BLOCKS = 16
MAX_JUMPS = 3


class Twice:
    """Recognises functions that may return again, and the variables of their callers that this concerns."""

    def __init__(self, blocks: Blocks, graph: Graph, listings: Listings) -> None:
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._known: dict[int, bool] = {}
        self._stores: dict[int, dict[Place, int]] = {}

    def returns_again(self, entry: int) -> bool:
        """Whether the function at `entry`, or one that it ends in, keeps the address it returns to."""
        pending, seen = [(entry, 0)], set()
        while pending:
            current, jumps = pending.pop()
            if self._keeps_return(current):
                return True
            seen.add(current)
            if jumps < MAX_JUMPS:
                tails = {block.target for block in self._of(current) if block.ending == Ending.JUMP}
                tails |= {target for _, target in self._graph.tail_calls(current) or ()}
                pending += [(target, jumps + 1) for target in tails - seen if self._blocks.at(target)]
        return False

    def is_stored_once(self, block: Block, place: Place) -> bool:
        """Whether the function of a block stores once to a place of its frame, which holds that for good."""
        function = self._blocks.owner(block)
        counts = self._stores.get(function.entry)
        if counts is None:
            counts = self._stores[function.entry] = {}
            for each in self._blocks.of(function):
                listing = self._listings.listing(each)
                for instruction, frame in zip(listing.instructions, listing.frames, strict=True):
                    for stored in self._listings.architecture.stored(instruction, frame):
                        counts[stored.place] = counts.get(stored.place, 0) + 1
        return sum(count for near, count in counts.items() if _overlap(near, place)) <= 1

    def _keeps_return(self, entry: int) -> bool:
        known = self._known.get(entry)
        if known is None:
            keeps = self._listings.architecture.keeps_return
            known = any(
                keeps(entry, instruction, frame)
                for block in self._of(entry)
                for listing in (self._listings.listing(block),)
                for instruction, frame in zip(listing.instructions, listing.frames, strict=True)
            )
            self._known[entry] = known
        return known

    def _of(self, entry: int) -> list[Block]:
        first = self._blocks.at(entry)
        if first is None:
            return []
        blocks = list(self._blocks.of(self._blocks.owner(first)))
        return blocks if len(blocks) <= MAX_BLOCKS else [first]


def _overlap(one: Place, other: Place) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) < 8  # the longest slot
