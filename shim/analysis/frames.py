"""
Where do the stack pointer and the frame pointer stand at an instruction, relative to the function's entry?

Follows one path from the entry; compilers keep the stack depth the same on every path to a place.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.analysis.architecture import Act, Architecture, Form
from shim.analysis.blocks import Block, Blocks
from shim.analysis.places import Frame, Place, moved
from shim.analysis.reach import Function
from shim.analysis.runs import Disassembler, Ending, Instruction

REACH_OF_ADDRESS = 256


class Listing:
    """
    The instructions of a block, and the frame before each and behind the last.
    """

    __slots__ = ("_architecture", "_writes", "block", "frames", "instructions", "outgoing")

    def __init__(  # a record, and what it can compute
        self,
        block: Block,
        instructions: list[Instruction],
        frames: list[Frame],
        outgoing: Frame,
        architecture: Architecture,
    ) -> None:
        self.block = block
        self.instructions = instructions
        self.frames = frames
        self.outgoing = outgoing
        self._architecture = architecture
        self._writes: list[frozenset[int]] | None = None

    @property
    def writes(self) -> list[frozenset[int]]:
        """The full registers that each instruction writes."""
        if self._writes is None:
            self._writes = list(map(self._architecture.writes, self.instructions))
        return self._writes

    def index_of(self, ip: int) -> int:
        """
        Return the index of the instruction at `ip`.

        Raises:
            ValueError: no instruction of the block begins there; the caller's bug.
        """
        return [instruction.ip for instruction in self.instructions].index(ip)

    def place(self, index: int, form: Form) -> Place | None:
        """Return the place in the frame that one of the things an instruction does names, or None."""
        if form.act == Act.POP:
            return self.frames[index].sp
        if form.memory is None:
            return None
        place = self._architecture.place_of_memory(self.frames[index], self.instructions[index])
        return moved(place, form.memory.offset)

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
        self._taken: dict[int, set[Place]] = {}

    def listing(self, block: Block) -> Listing:
        """Return the listing of a reachable block."""
        known = self._listings.get(block.start)
        return self._follow(block) if known is None else known

    def _follow(self, block: Block) -> Listing:
        """Make the listings of `block` and of what its first discoverers were, from the entry on."""
        chain, seen = [block], {block.start}
        frame = Frame(None, None)
        while True:
            parent = self._blocks.parent(chain[-1])
            if parent is None:
                frame = Frame((chain[-1].start, 0), None)
                break
            if parent.start in self._listings:
                frame = self._listings[parent.start].outgoing
                break
            if parent.start in seen:
                break  # damaged code can overlap itself so that its discovery runs in a circle
            seen.add(parent.start)
            chain.append(parent)
        for current in reversed(chain):
            listing = self._make(current, frame)
            frame = listing.outgoing
        return listing

    def address_taken(self, function: Function, place: Place) -> bool:
        """
        Whether `function` computes an address from which `place` may be reached.

        An object extends upward from the address that is taken of it, so an address counts if it is the place
        or lies below it by less than `REACH_OF_ADDRESS` bytes. None of the function's own frame, which lies
        below the stack pointer at its entry, extends to its arguments.
        """
        taken = self._taken.get(function.entry)
        if taken is None:
            taken = {place for block in self._blocks.of(function) for place in self._named(block)}
            self._taken[function.entry] = taken
        return any(
            base == place[0]
            and 0 <= place[1] - offset < REACH_OF_ADDRESS
            and not (base == function.entry and offset < 0 <= place[1])
            for base, offset in taken
        )

    def _named(self, block: Block) -> Iterator[Place]:
        """Yield the places whose addresses a block computes, but for what setjmp() hides at once."""
        listing = self.listing(block)
        named_place, mangles = self.architecture.named_place, self.architecture.mangles
        behind = [*listing.instructions[1:], None]
        for instruction, following, frame in zip(listing.instructions, behind, listing.frames, strict=True):
            named = named_place(frame, instruction)
            if named is not None and (following is None or not mangles(instruction, following)):
                yield named

    def _make(self, block: Block, frame: Frame) -> Listing:
        instructions = self._disassembler.instructions(block.start, block.end)
        step = self.architecture.step
        frames = []
        for instruction in instructions:
            frames.append(frame)
            frame = step(frame, instruction)
        if block.ending in (Ending.CALL, Ending.CALL_INDIRECT) and frames:
            frame = frames[-1]  # the callee takes its return address off the stack again
        listing = Listing(block, instructions, frames, frame, self.architecture)
        self._listings[block.start] = listing
        return listing
