"""
Where does the address of a function go, once code or data holds it?

Forward from what makes the address: registers, stack slots, parameters, variables, and fields of objects
whose own addresses are followed the same way.  If it only ever ends in calls, all callers of the function are
known; anything else is an escape, and then they are not.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from iced_x86 import Instruction, MemorySizeExt, Mnemonic, OpKind, Register

from shim.analysis.assumptions import InForce
from shim.analysis.blocks import Block, Blocks
from shim.analysis.decode import Ending, Reference, Use
from shim.analysis.frames import Listing, Listings, Place, place_of_memory
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects
from shim.analysis.reach import Reach
from shim.analysis.registers import ARGUMENTS, CALLEE_SAVED, FULL, NONE, RAX, RDX, SIZE, signed

MAX_PLACES = 4000
MAX_POINTERS = 3

# A register, or a place in a frame.
Holder: TypeAlias = int | Place
# How to get from what is held to the function: loads at these offsets, one after the other; none if it is
# held.
Path: TypeAlias = tuple[int, ...]
CallSite: TypeAlias = tuple[Block, bool]


class _EscapesError(Exception):
    """The address went somewhere that is not followed."""


@dataclass(slots=True)
class _Trace:
    """Where the address still has to be followed from, where it has been, and the calls it ended in."""

    pending: list[tuple[Block, int, Holder, Path]] = field(default_factory=list)
    seen: set[tuple[int, Holder, Path]] = field(default_factory=set)
    stored: set[tuple[int, Path]] = field(default_factory=set)
    sites: list[CallSite] = field(default_factory=list)


class Flow:
    """Finds all callers of functions whose address is taken."""

    def __init__(  # noqa: PLR0913  # the parts of a process, each its own type
        self,
        reach: Reach,
        blocks: Blocks,
        graph: Graph,
        listings: Listings,
        objects: DataObjects,
        assumptions: InForce,
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
        self._holders: dict[int, list[int]] | None = None

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
        trace = _Trace()
        trace.sites += [
            (block, block.ending in (Ending.CALL, Ending.CALL_INDIRECT))
            for block in self._graph.callers(entry)
        ]
        try:
            for ip in self._reach.address_taken.get(entry, ()):
                if ip:
                    self._made(ip, (), trace)
                else:
                    for slot in self._slots_with(entry):
                        self._stored(slot, (), trace)
            while trace.pending:
                if len(trace.seen) > MAX_PLACES:
                    return None
                self._along(*trace.pending.pop(), trace)
        except _EscapesError:
            return None
        return trace.sites

    def _slots_with(self, value: int) -> list[int]:
        """Return where reached data holds `value`."""
        if self._holders is None:
            self._holders = {}
            for start in self._reach.holds:
                for slot, held in self._objects.slots(self._objects.extent(start)):
                    self._holders.setdefault(held, []).append(slot)
        return self._holders.get(value, [])

    def _made(self, ip: int, path: Path, trace: _Trace) -> None:
        """Follow the address that the instruction at `ip` makes."""
        block = self._blocks.containing(ip)
        if block is None:
            raise _EscapesError
        listing = self._listings.listing(block)
        index = next((i for i, item in enumerate(listing.instructions) if item.ip == ip), None)
        if index is None:
            raise _EscapesError
        maker = listing.instructions[index]
        if maker.mnemonic in (Mnemonic.CALL, Mnemonic.JMP):
            if path:
                raise _EscapesError
            trace.sites.append((block, maker.mnemonic == Mnemonic.CALL))
        elif maker.mnemonic in (Mnemonic.CMP, Mnemonic.TEST):
            return
        elif maker.mnemonic not in (Mnemonic.MOV, Mnemonic.LEA):
            raise _EscapesError
        elif maker.op0_kind == OpKind.REGISTER:
            trace.pending.append((block, index + 1, FULL[maker.op0_register], path))
        else:
            self._store(listing, index, path, trace)

    def _stored(self, address: int, path: Path, trace: _Trace) -> None:
        """
        Follow what the 8 bytes at `address` hold: who reads them, and who gets at the object they are in.
        """
        if (address, path) in trace.stored:
            return
        trace.stored.add((address, path))
        extent = self._objects.extent(address)
        if extent.start in self._reach.root_objects or len(path) > MAX_POINTERS:
            raise _EscapesError
        first = bisect_left(self._graph.reference_addresses, extent.start)
        for access in islice(self._graph.references, first, None):
            if access.address >= extent.stop:
                break
            self._accessed(access, address, path, trace)
        for slot, held in self._slots_into(extent):
            self._stored(slot, (address - held, *path), trace)

    def _slots_into(self, extent: range) -> list[tuple[int, int]]:
        """Return (address, value) of the words in reached data that point into an object."""
        self._slots_with(0)
        return [
            (slot, held) for held, slots in (self._holders or {}).items() if held in extent for slot in slots
        ]

    def _accessed(self, access: Reference, address: int, path: Path, trace: _Trace) -> None:
        """Follow one access to the object that holds the address at `address`."""
        if access.use in (Use.ADDRESS, Use.INDEXED):
            if self._assumptions.separate_variables and access.address != address:
                return
            if access.use == Use.INDEXED:
                raise _EscapesError
            self._made(access.ip, (address - access.address, *path), trace)
        elif access.use == Use.READ and access.address == address:
            self._load(access.ip, path, trace)

    def _along(self, block: Block, start: int, holder: Holder, path: Path, trace: _Trace) -> None:
        """Follow one holder to the end of its block."""
        listing = self._listings.listing(block)
        for index in range(start, len(listing.instructions)):
            instruction = listing.instructions[index]
            if block.last and instruction.ip == block.last:
                break
            if self._uses(listing, index, holder):
                self._use(listing, index, holder, path, trace)
            if self._overwrites(listing, index, holder):
                return
        self._leave(listing, holder, path, trace)

    def _leave(self, listing: Listing, holder: Holder, path: Path, trace: _Trace) -> None:
        """Follow one holder out of its block."""
        block = listing.block
        following: list[tuple[int, Holder]] = []
        if block.ending in {Ending.CALL, Ending.CALL_INDIRECT}:
            if block.ending == Ending.CALL_INDIRECT and _is_operand(listing, holder, path):
                trace.sites.append((block, True))
            following = self._over_call(block, holder)
        elif block.ending == Ending.JUMP_INDIRECT and block.last not in self._reach.jump_targets:
            if _is_operand(listing, holder, path):
                trace.sites.append((block, False))
            if holder in ARGUMENTS:
                raise _EscapesError
        elif block.ending == Ending.RETURN:
            if holder in {RAX, RDX} or (self._go and isinstance(holder, int)):
                raise _EscapesError
        else:
            following = [(target, holder) for target in self._graph.after(block)]
        for start, held in following:
            if (start, held, path) not in trace.seen:
                trace.seen.add((start, held, path))
                target = self._blocks.at(start)
                if target is None:
                    raise _EscapesError
                trace.pending.append((target, 0, held, path))

    def _over_call(self, block: Block, holder: Holder) -> list[tuple[int, Holder]]:
        """Return where a holder goes on at a call: into the callee, and behind it if it survives."""
        following: list[tuple[int, Holder]] = []
        if isinstance(holder, tuple):
            if self._listings.address_taken(self._blocks.owner(block), holder):
                raise _EscapesError
        elif self._go or holder in ARGUMENTS:
            target = self._graph.callee(block)
            if target is None:
                raise _EscapesError
            if self._blocks.at(target) is not None:
                following.append((target, holder))
        survives = isinstance(holder, tuple) or (holder in CALLEE_SAVED and not self._go)
        if survives and self._blocks.at(block.end) is not None:
            following.append((block.end, holder))
        return following

    def _uses(self, listing: Listing, index: int, holder: Holder) -> bool:
        instruction = listing.instructions[index]
        if isinstance(holder, int):
            return self._listings.reads(instruction, holder)
        if instruction.mnemonic == Mnemonic.POP:
            return listing.frames[index].rsp == holder
        return (
            place_of_memory(listing.frames[index], instruction) == holder
            and instruction.mnemonic != Mnemonic.LEA
            and _has_memory(instruction)
            and not _is_store(instruction)
        )

    def _use(self, listing: Listing, index: int, holder: Holder, path: Path, trace: _Trace) -> None:
        """Add what an instruction that reads the holder copies it to."""
        instruction = listing.instructions[index]
        mnemonic, behind = instruction.mnemonic, (listing.block, index + 1)
        if mnemonic in (Mnemonic.CMP, Mnemonic.TEST):
            return
        if isinstance(holder, tuple):
            if mnemonic not in (Mnemonic.POP, Mnemonic.MOV) or instruction.op0_kind != OpKind.REGISTER:
                raise _EscapesError
            if SIZE[instruction.op0_register] != 8:
                raise _EscapesError
            trace.pending.append((*behind, instruction.op0_register, path))
        elif mnemonic == Mnemonic.PUSH:
            rsp = listing.frames[index].rsp
            if rsp is None or instruction.op0_kind != OpKind.REGISTER:
                raise _EscapesError
            trace.pending.append((*behind, (rsp[0], rsp[1] - 8), path))
        elif mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and path and instruction.op0_register == holder:
            trace.pending.append((*behind, holder, (path[0] - _distance(instruction), *path[1:])))
        elif mnemonic == Mnemonic.MOV and instruction.op1_register == holder:
            if SIZE[instruction.op1_register] != 8:
                raise _EscapesError
            if instruction.op0_kind == OpKind.REGISTER:
                trace.pending.append((*behind, instruction.op0_register, path))
            else:
                self._store(listing, index, path, trace)
        else:
            self._through(listing, index, holder, path, trace)

    def _through(self, listing: Listing, index: int, holder: int, path: Path, trace: _Trace) -> None:
        """Follow an access to memory behind the holder, a pointer to the object that holds the address."""
        instruction = listing.instructions[index]
        plain = (
            path
            and _has_memory(instruction)
            and instruction.memory_base == holder
            and instruction.memory_index == NONE
        )
        if not plain:
            raise _EscapesError
        offset = signed(instruction.memory_displacement)
        behind = (listing.block, index + 1)
        if instruction.mnemonic == Mnemonic.LEA:
            trace.pending.append((*behind, FULL[instruction.op0_register], (path[0] - offset, *path[1:])))
        elif _is_store(instruction) or offset >= path[0] + 8:
            return
        elif (
            instruction.mnemonic == Mnemonic.MOV and offset == path[0] and SIZE[instruction.op0_register] == 8
        ):
            trace.pending.append((*behind, instruction.op0_register, path[1:]))
        elif offset + MemorySizeExt.size(instruction.memory_size) > path[0]:
            raise _EscapesError

    def _store(self, listing: Listing, index: int, path: Path, trace: _Trace) -> None:
        """Follow a store into the frame, or into a variable."""
        instruction = listing.instructions[index]
        place = place_of_memory(listing.frames[index], instruction)
        if place is not None:
            trace.pending.append((listing.block, index + 1, place, path))
            return
        relative = instruction.is_ip_rel_memory_operand
        absolute = instruction.memory_base == NONE == instruction.memory_index
        if not (relative or absolute) or instruction.segment_prefix in (Register.FS, Register.GS):
            raise _EscapesError
        address = instruction.ip_rel_memory_address if relative else instruction.memory_displacement
        self._stored(address, path, trace)

    def _load(self, ip: int, path: Path, trace: _Trace) -> None:
        """Follow an instruction that reads the address from a variable."""
        block = self._blocks.containing(ip)
        if block is None:
            raise _EscapesError
        listing = self._listings.listing(block)
        index = listing.index_of(ip)
        instruction = listing.instructions[index]
        if instruction.mnemonic == Mnemonic.MOV and instruction.op0_kind == OpKind.REGISTER:
            trace.pending.append((block, index + 1, FULL[instruction.op0_register], path))
        elif instruction.mnemonic in {Mnemonic.CALL, Mnemonic.JMP} and not path:
            trace.sites.append((block, instruction.mnemonic == Mnemonic.CALL))
        elif instruction.mnemonic not in (Mnemonic.CMP, Mnemonic.TEST):
            raise _EscapesError

    def _overwrites(self, listing: Listing, index: int, holder: Holder) -> bool:
        if isinstance(holder, int):
            return holder in listing.writes[index]
        instruction = listing.instructions[index]
        return _is_store(instruction) and place_of_memory(listing.frames[index], instruction) == holder


def _is_operand(listing: Listing, holder: Holder, path: Path) -> bool:
    """
    Whether the call or jump that ends a block goes to the function; an index may choose any, and escapes.
    """
    instruction = listing.instructions[-1]
    if isinstance(holder, tuple):
        held = instruction.op0_kind == OpKind.MEMORY and not path
        return held and place_of_memory(listing.frames[-1], instruction) == holder
    if not path:
        return instruction.op0_kind == OpKind.REGISTER and instruction.op0_register == holder
    indexed = instruction.op0_kind == OpKind.MEMORY and instruction.memory_index != NONE
    if indexed and holder in {instruction.memory_base, instruction.memory_index}:
        raise _EscapesError
    return (
        len(path) == 1
        and instruction.op0_kind == OpKind.MEMORY
        and instruction.memory_base == holder
        and instruction.memory_index == NONE
        and signed(instruction.memory_displacement) == path[0]
    )


def _distance(instruction: Instruction) -> int:
    """Return the constant that `add` or `sub` moves a pointer by."""
    if instruction.op1_kind in {OpKind.REGISTER, OpKind.MEMORY}:
        raise _EscapesError
    distance = signed(instruction.immediate(1))
    return distance if instruction.mnemonic == Mnemonic.ADD else -distance


def _has_memory(instruction: Instruction) -> bool:
    return any(instruction.op_kind(number) == OpKind.MEMORY for number in range(instruction.op_count))


def _is_store(instruction: Instruction) -> bool:
    return instruction.mnemonic == Mnemonic.MOV and instruction.op0_kind == OpKind.MEMORY
