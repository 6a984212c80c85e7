"""
Where does the address of a function go, once code has taken it?

Forward from the instruction that makes the address: registers, stack slots, parameters, and variables that
nobody else can reach.  If it only ever ends in calls, all callers of the function are known; anything else
is an escape, and then they are not.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from iced_x86 import Instruction, Mnemonic, OpKind, Register

from shim.analysis.assumptions import Assumptions
from shim.analysis.blocks import Block, Blocks
from shim.analysis.decode import Ending, Use
from shim.analysis.frames import Listing, Listings, Place, place_of_memory
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects
from shim.analysis.reach import Reach
from shim.analysis.registers import ARGUMENTS, CALLEE_SAVED, FULL, NONE, RAX, RDX, SIZE

MAX_PLACES = 4000

# A register, or a place in a frame.
Holder: TypeAlias = int | Place
CallSite: TypeAlias = tuple[Block, bool]


class _EscapesError(Exception):
    """The address went somewhere that is not followed."""


@dataclass(slots=True)
class _Trace:
    """Where the address still has to be followed from, where it has been, and the calls it ended in."""

    pending: list[tuple[Block, int, Holder]] = field(default_factory=list)
    seen: set[tuple[int, Holder]] = field(default_factory=set)
    sites: list[CallSite] = field(default_factory=list)


class Flow:
    """Finds all callers of functions whose address is taken."""

    def __init__(
        self,
        reach: Reach,
        blocks: Blocks,
        graph: Graph,
        listings: Listings,
        objects: DataObjects,
        assumptions: Assumptions,
        *,
        go: bool,
    ) -> None:
        self._reach = reach
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._objects = objects
        self._go = go
        self._assumptions = assumptions
        self._known: dict[tuple[int, bool], list[CallSite] | None] = {}

    def callers_of(self, entry: int) -> list[CallSite] | None:
        """
        Return every block that can call or jump to `entry`, with whether it pushes a return address.

        None if the address of the function goes somewhere that is not followed, or if the kernel or the
        startup code enters it.
        """
        key = (entry, self._assumptions.separate_variables)
        if key not in self._known:
            self._known[key] = self._find(entry)
        return self._known[key]

    def _find(self, entry: int) -> list[CallSite] | None:
        if entry in self._reach.roots and not self._go:
            return None
        sites = [
            (block, block.ending in (Ending.CALL, Ending.CALL_INDIRECT))
            for block in self._graph.callers(entry)
        ]
        try:
            for ip in self._reach.address_taken.get(entry, ()):
                if ip == 0:
                    return None
                sites += self._follow(ip)
        except _EscapesError:
            return None
        return sites

    def _follow(self, ip: int) -> list[CallSite]:
        """Return the calls that the address made at `ip` ends in."""
        block = self._blocks.containing(ip)
        if block is None:
            raise _EscapesError
        listing = self._listings.listing(block)
        index = next((i for i, item in enumerate(listing.instructions) if item.ip == ip), None)
        if index is None:
            raise _EscapesError
        maker = listing.instructions[index]
        if maker.mnemonic in (Mnemonic.CALL, Mnemonic.JMP):
            return [(block, maker.mnemonic == Mnemonic.CALL)]
        if maker.mnemonic not in (Mnemonic.MOV, Mnemonic.LEA):
            raise _EscapesError
        trace = _Trace()
        if maker.op0_kind == OpKind.REGISTER:
            trace.pending.append((block, index + 1, FULL[maker.op0_register]))
        else:
            self._store(listing, index, trace)
        while trace.pending:
            if len(trace.seen) > MAX_PLACES:
                raise _EscapesError
            self._along(*trace.pending.pop(), trace)
        return trace.sites

    def _along(
        self,
        block: Block,
        start: int,
        holder: Holder,
        trace: _Trace,
    ) -> None:
        """Follow one holder to the end of its block."""
        listing = self._listings.listing(block)
        for index in range(start, len(listing.instructions)):
            instruction = listing.instructions[index]
            if block.last and instruction.ip == block.last:
                break
            if self._uses(listing, index, holder):
                self._use(listing, index, holder, trace)
            if self._overwrites(listing, index, holder):
                return
        self._leave(listing, holder, trace)

    def _leave(
        self,
        listing: Listing,
        holder: Holder,
        trace: _Trace,
    ) -> None:
        """Follow one holder out of its block."""
        block = listing.block
        following: list[tuple[int, Holder]] = []
        if block.ending in {Ending.CALL, Ending.CALL_INDIRECT}:
            if block.ending == Ending.CALL_INDIRECT and self._is_operand(listing, holder):
                trace.sites.append((block, True))
            following = self._over_call(block, holder)
        elif block.ending == Ending.JUMP_INDIRECT and block.last not in self._reach.jump_targets:
            if self._is_operand(listing, holder):
                trace.sites.append((block, False))
            elif holder in ARGUMENTS:
                raise _EscapesError
        elif block.ending == Ending.RETURN:
            if holder in {RAX, RDX} or (self._go and isinstance(holder, int)):
                raise _EscapesError
        else:
            following = [(target, holder) for target in self._graph.after(block)]
        for place in following:
            if place not in trace.seen:
                trace.seen.add(place)
                following_block = self._blocks.at(place[0])
                if following_block is None:
                    raise _EscapesError
                trace.pending.append((following_block, 0, place[1]))

    def _over_call(self, block: Block, holder: Holder) -> list[tuple[int, Holder]]:
        """Return where a holder goes on at a call: into the callee, and behind it if it survives."""
        following: list[tuple[int, Holder]] = []
        if isinstance(holder, tuple):
            if self._listings.address_taken(self._blocks.owner(block), holder):
                raise _EscapesError
        elif self._go or holder in ARGUMENTS:
            self._into_callee(block, holder, following)
        survives = isinstance(holder, tuple) or (holder in CALLEE_SAVED and not self._go)
        if survives and self._blocks.at(block.end) is not None:
            following.append((block.end, holder))
        return following

    def _into_callee(self, block: Block, holder: Holder, following: list[tuple[int, Holder]]) -> None:
        target = self._graph.callee(block)
        if target is None or isinstance(holder, tuple):
            raise _EscapesError
        if self._blocks.at(target) is not None:
            following.append((target, holder))

    def _is_operand(self, listing: Listing, holder: Holder) -> bool:
        instruction = listing.instructions[-1]
        if isinstance(holder, int):
            return instruction.op0_kind == OpKind.REGISTER and instruction.op0_register == holder
        return (
            instruction.op0_kind == OpKind.MEMORY
            and place_of_memory(listing.frames[-1], instruction) == holder
        )

    def _uses(self, listing: Listing, index: int, holder: Holder) -> bool:
        if isinstance(holder, int):
            return self._listings.reads(listing.instructions[index], holder)
        place = place_of_memory(listing.frames[index], listing.instructions[index])
        instruction = listing.instructions[index]
        if instruction.mnemonic == Mnemonic.POP:
            return listing.frames[index].rsp == holder
        return (
            place == holder
            and instruction.mnemonic != Mnemonic.LEA
            and _has_memory(instruction)
            and not _is_store(instruction)
        )

    def _use(self, listing: Listing, index: int, holder: Holder, trace: _Trace) -> None:
        """Add what an instruction that reads the holder copies it to."""
        instruction = listing.instructions[index]
        mnemonic = instruction.mnemonic
        if mnemonic in (Mnemonic.CMP, Mnemonic.TEST):
            return
        if mnemonic == Mnemonic.POP and isinstance(holder, tuple):
            trace.pending.append((listing.block, index + 1, FULL[instruction.op0_register]))
            return
        if mnemonic == Mnemonic.PUSH and isinstance(holder, int) and listing.frames[index].rsp is not None:
            rsp = listing.frames[index].rsp or (0, 0)
            trace.pending.append((listing.block, index + 1, (rsp[0], rsp[1] - 8)))
            return
        if mnemonic != Mnemonic.MOV:
            raise _EscapesError
        if instruction.op0_kind == OpKind.REGISTER:
            if isinstance(holder, int) and instruction.op1_kind == OpKind.MEMORY:
                raise _EscapesError
            if SIZE[instruction.op0_register] != 8:
                raise _EscapesError
            trace.pending.append((listing.block, index + 1, instruction.op0_register))
        elif instruction.op1_register == holder:
            self._store(listing, index, trace)
        else:
            raise _EscapesError

    def _store(self, listing: Listing, index: int, trace: _Trace) -> None:
        """Follow a store into the frame, or into a variable that only plain loads and stores name."""
        instruction = listing.instructions[index]
        place = place_of_memory(listing.frames[index], instruction)
        if place is not None:
            trace.pending.append((listing.block, index + 1, place))
            return
        if not (
            instruction.is_ip_rel_memory_operand
            or instruction.memory_base == NONE == instruction.memory_index
        ):
            raise _EscapesError
        if instruction.segment_prefix in (Register.FS, Register.GS):
            raise _EscapesError
        address = (
            instruction.ip_rel_memory_address
            if instruction.is_ip_rel_memory_operand
            else instruction.memory_displacement
        )
        extent = self._objects.extent(address)
        first = bisect_left(self._graph.reference_addresses, extent.start)
        for access in islice(self._graph.references, first, None):
            if access.address >= extent.stop:
                break
            if access.use in (Use.ADDRESS, Use.INDEXED):
                if self._assumptions.separate_variables and access.address != address:
                    continue
                raise _EscapesError
            if access.use == Use.READ and access.address == address:
                self._load(access.ip, trace)

    def _load(self, ip: int, trace: _Trace) -> None:
        block = self._blocks.containing(ip)
        if block is None:
            raise _EscapesError
        listing = self._listings.listing(block)
        index = next(i for i, item in enumerate(listing.instructions) if item.ip == ip)
        instruction = listing.instructions[index]
        if instruction.mnemonic == Mnemonic.MOV and instruction.op0_kind == OpKind.REGISTER:
            trace.pending.append((block, index + 1, FULL[instruction.op0_register]))
        elif instruction.mnemonic in {Mnemonic.CALL, Mnemonic.JMP}:
            trace.sites.append((block, instruction.mnemonic == Mnemonic.CALL))
        elif instruction.mnemonic not in (Mnemonic.CMP, Mnemonic.TEST):
            raise _EscapesError

    def _overwrites(self, listing: Listing, index: int, holder: Holder) -> bool:
        if isinstance(holder, int):
            return holder in listing.writes[index]
        instruction = listing.instructions[index]
        return _is_store(instruction) and place_of_memory(listing.frames[index], instruction) == holder


def _has_memory(instruction: Instruction) -> bool:
    return any(instruction.op_kind(number) == OpKind.MEMORY for number in range(instruction.op_count))


def _is_store(instruction: Instruction) -> bool:
    return instruction.mnemonic == Mnemonic.MOV and instruction.op0_kind == OpKind.MEMORY
