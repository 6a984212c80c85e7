"""
Where do the stack pointer and the frame pointer stand at an instruction, relative to the function's entry?

Follows one path from the entry; compilers keep the stack depth the same on every path to a place.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.analysis.architecture import Architecture
from shim.analysis.blocks import Block, Blocks
from shim.analysis.places import Frame, Place
from shim.analysis.reach import Function
from shim.analysis.runs import Disassembler, Ending, Instruction

REACH_OF_ADDRESS = 256


@dataclass(slots=True)
class Listing:
    """The instructions of a block, the full registers each writes, and the frame before each."""

    block: Block
    instructions: list[Instruction]
    writes: list[frozenset[int]]
    frames: list[Frame]

    def index_of(self, ip: int) -> int:
        """
        Return the index of the instruction at `ip`.

        Raises:
            ValueError: no instruction of the block begins there; the caller's bug.
        """
        return [instruction.ip for instruction in self.instructions].index(ip)

    @property
    def last_index(self) -> int:
        """The index of what ends the block; the number of instructions if it falls through."""
        return len(self.instructions) - (1 if self.block.last else 0)


class Listings:
    """Instructions with their frames, decoded again only where a question is asked, and then kept."""

    def __init__(self, blocks: Blocks, disassembler: Disassembler, architecture: Architecture) -> None:
        self._blocks = blocks
        self._disassembler = disassembler
        self.architecture = architecture
        self._listings: dict[int, Listing] = {}
        self._outgoing: dict[int, Frame] = {}
        self._taken: dict[int, set[Place]] = {}

    def listing(self, block: Block) -> Listing:
        """Return the listing of a reachable block."""
        known = self._listings.get(block.start)
        if known is None:
            known = self._make(block)
            self._listings[block.start] = known
        return known

    def address_taken(self, function: Function, place: Place) -> bool:
        """
        Whether `function` computes an address from which `place` may be reached.

        An object extends upward from the address that is taken of it, so an address counts if it is the place
        or lies below it by less than `REACH_OF_ADDRESS` bytes.
        """
        taken = self._taken.get(function.entry)
        if taken is None:
            named_place, taken = self.architecture.named_place, set()
            for block in self._blocks.of(function):
                listing = self.listing(block)
                for instruction, frame in zip(listing.instructions, listing.frames, strict=True):
                    named = named_place(frame, instruction)
                    if named is not None:
                        taken.add(named)
            self._taken[function.entry] = taken
        return any(base == place[0] and 0 <= place[1] - offset < REACH_OF_ADDRESS for base, offset in taken)

    def _make(self, block: Block) -> Listing:
        instructions = self._disassembler.instructions(block.start, block.end)
        step = self.architecture.step
        frames = []
        frame = self._incoming(block)
        for instruction in instructions:
            frames.append(frame)
            frame = step(frame, instruction)
        return Listing(block, instructions, list(map(self.architecture.writes, instructions)), frames)

    def _incoming(self, block: Block) -> Frame:
        """Return the frame at the start of `block`: what its first discoverer left, from the entry on."""
        chain, seen = [block], {block.start}
        while (parent := self._blocks.parent(chain[-1])) is not None and parent.start not in self._outgoing:
            if parent.start in seen:
                return Frame(
                    None, None
                )  # damaged code can overlap itself so that its discovery runs in a circle
            seen.add(parent.start)
            chain.append(parent)
        step = self.architecture.step
        frame = Frame((chain[-1].start, 0), None) if parent is None else self._outgoing[parent.start]
        for current in reversed(chain[1:]):
            for instruction in self._disassembler.instructions(current.start, current.end):
                if instruction.ip == current.last and current.ending in (Ending.CALL, Ending.CALL_INDIRECT):
                    break  # the callee takes its return address off the stack again
                frame = step(frame, instruction)
            self._outgoing[current.start] = frame
        return frame
