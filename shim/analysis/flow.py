"""
Where does the address of a function go, once code or data holds it?

Forward from what makes the address: registers, stack slots, parameters, variables, and fields of objects
whose own addresses are followed the same way.  If it only ever ends in calls, all callers of the function are
known; anything else is an escape, and then they are not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TypeAlias

from shim.analysis.architecture import Act, Form
from shim.analysis.assumptions import InForce
from shim.analysis.blocks import Block, Blocks
from shim.analysis.frames import Listing, Listings
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects
from shim.analysis.passing import EscapesError, Holder, Passing
from shim.analysis.reach import Reach
from shim.analysis.registers import NONE
from shim.analysis.runs import Ending, Reference, Use
from shim.analysis.semantics import Value
from shim.syscalls import WITHOUT_ARGUMENTS, table

MAX_PLACES = 4000
MAX_POINTERS = 3
# Objects that one address may be stored in or be reached from: with more it goes everywhere.
MAX_OBJECTS = 256
# How far behind the address that code computes with a table may have been cut.
REACH_BEFORE = 4096

# How to get from what is held to the function: loads at these offsets, one after the other; none if it is
# held.
Path: TypeAlias = tuple[int, ...]
CallSite: TypeAlias = tuple[Block, bool]


@dataclass(slots=True)
class _Trace:
    """
    Where the address of `entry` still has to be followed from, where it has been, and the calls it ended in.

    Where it is stored itself can also be reached through addresses `reach_before` bytes before the object.
    """

    entry: int
    pending: list[tuple[Block, int, Holder, Path]] = field(default_factory=list)
    seen: set[tuple[int, Holder, Path]] = field(default_factory=set)
    stored: set[tuple[int, Path]] = field(default_factory=set)
    sites: list[CallSite] = field(default_factory=list)
    reach_before: int = 0


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
        go: Callable[[int], bool],
    ) -> None:
        self._reach = reach
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._objects = objects
        self._go = go
        self._passing = Passing(blocks, graph, listings, go=go)
        self._architecture = listings.architecture
        self._conventions = listings.architecture.conventions
        self._assumptions = assumptions
        self._known: dict[tuple[int, bool], list[CallSite] | None] = {}
        self._written: dict[int, int] | None = None

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

    def forget(self) -> None:
        """Forget all answers, because less code runs than was thought."""
        self._known.clear()

    def _find(self, entry: int) -> list[CallSite] | None:
        if entry in self._reach.roots and not self._go(entry):
            return None
        sites = self._follow(_Trace(entry))
        if sites is not None and not sites:
            # Nobody calls it: code may have named a field of the table that holds it, which cuts the table.
            sites = self._follow(_Trace(entry, reach_before=REACH_BEFORE))
        return sites

    def _follow(self, trace: _Trace) -> list[CallSite] | None:
        """Follow the address of a function from everything that makes or holds it."""
        entry = trace.entry
        trace.sites += [
            (block, block.ending in (Ending.CALL, Ending.CALL_INDIRECT))
            for block in self._graph.callers(entry)
        ]
        try:
            for ip in self._reach.address_taken.get(entry, ()):
                if ip and not self._graph.alive(ip):
                    continue
                if ip:
                    self._made(ip, (), trace)
                else:
                    for slot in self._slots_with(entry):
                        self._stored(slot, (), trace)
            while trace.pending:
                if len(trace.seen) > MAX_PLACES:
                    return None
                self._along(*trace.pending.pop(), trace)
        except EscapesError:
            return None
        return trace.sites

    @cached_property
    def _held(self) -> list[tuple[int, int]]:
        """The (value, address) of all words of reached data that hold mapped addresses, sorted."""
        held = {
            (value, slot)
            for start in self._reach.holds
            for slot, value in self._objects.slots(self._objects.extent(start))
        }
        return sorted(held)

    def _slots_with(self, value: int) -> list[int]:
        """Return where reached data holds `value`."""
        return [slot for slot, _ in self._slots_into(range(value, value + 1))]

    def _made(self, ip: int, path: Path, trace: _Trace) -> None:
        """Follow the address that the instruction at `ip` makes."""
        block = self._blocks.containing(ip)
        if block is None:
            raise EscapesError
        listing = self._listings.listing(block)
        index = next((i for i, item in enumerate(listing.instructions) if item.ip == ip), None)
        if index is None:
            raise EscapesError
        for form in self._architecture.forms(listing.instructions[index]):
            if form.act in (Act.CALL, Act.JUMP):
                if path:
                    raise EscapesError
                trace.sites.append((block, form.act == Act.CALL))
            elif form.act == Act.COMPARE:
                continue
            elif form.act == Act.STORE:
                self._store(listing, index, form, path, trace)
            elif form.act in (Act.MOVE, Act.LOAD, Act.ADDRESS):
                trace.pending.append((block, index + 1, form.destination, path))
            else:
                raise EscapesError

    def _stored(self, address: int, path: Path, trace: _Trace) -> None:
        """
        Follow what the 8 bytes at `address` hold: who reads them, and who gets at the object they are in.
        """
        if (address, path) in trace.stored:
            return
        trace.stored.add((address, path))
        if len(trace.stored) > MAX_OBJECTS:
            raise EscapesError
        extent = self._objects.extent(address)
        if extent.start in self._reach.root_objects or len(path) > MAX_POINTERS:
            raise EscapesError
        reach_before = 0 if path else trace.reach_before
        first = bisect_left(self._graph.reference_addresses, extent.start - reach_before)
        for access in islice(self._graph.references, first, None):
            if access.address >= extent.stop:
                break
            if not self._graph.alive(access.ip):
                continue
            self._accessed(access, address, path, trace, near=bool(reach_before))
        for held, ip in self._graph.pointer_reads(extent):
            self._load(ip, (address - held, *path), trace)
        for slot, held in self._slots_into(extent):
            self._stored(slot, (address - held, *path), trace)

    def _slots_into(self, extent: range) -> list[tuple[int, int]]:
        """Return (address, value) of the words in reached data that point into an object."""
        low, high = bisect_left(self._held, (extent.start,)), bisect_left(self._held, (extent.stop,))
        return [(slot, held) for held, slot in self._held[low:high]]

    def _accessed(self, access: Reference, address: int, path: Path, trace: _Trace, *, near: bool) -> None:
        """Follow one access to the object that holds the address at `address`."""
        if access.use in (Use.ADDRESS, Use.INDEXED):
            if self._assumptions.separate_variables and access.address != address and not near:
                return
            if access.use == Use.INDEXED:
                raise EscapesError
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
            if instruction.ip in self._kernel_entries and self._reaches_kernel(listing, index, holder):
                raise EscapesError
            if self._uses(listing, index, holder):
                self._use(listing, index, holder, path, trace)
            if self._overwrites(listing, index, holder):
                return
        self._leave(listing, start, holder, path, trace)

    @cached_property
    def _kernel_entries(self) -> frozenset[int]:
        """The addresses of the reached instructions that enter the kernel."""
        return frozenset(address for address, _ in self._reach.kernel_entries())

    def _reaches_kernel(self, listing: Listing, index: int, holder: Holder) -> bool:
        """Whether the kernel may get what a holder holds: it calls signal handlers and their restorers."""
        if self._number_at(listing, index) in self._without_arguments:
            return False  # what an earlier call has left in a register is nothing to it
        if isinstance(holder, tuple):
            return self._listings.address_taken(self._blocks.owner(listing.block), holder)
        return holder in self._conventions.kernel_arguments

    @cached_property
    def _without_arguments(self) -> frozenset[int]:
        """The numbers of the calls that take no argument."""
        numbers = table(self._architecture.name).numbers
        return frozenset(numbers[name] for name in WITHOUT_ARGUMENTS if name in numbers)

    def _number_at(self, listing: Listing, index: int) -> int | None:
        """Return the number that a block itself gives the kernel at an instruction, None for none."""
        for before in range(index - 1, -1, -1):
            if self._conventions.number in listing.writes[before]:
                effect = self._architecture.effect(
                    listing.instructions[before], self._conventions.number, listing.frames[before]
                )
                return effect.number & self._conventions.number_mask if isinstance(effect, Value) else None
        return None

    def _leave(  # one step of a walk and its circumstances
        self, listing: Listing, start: int, holder: Holder, path: Path, trace: _Trace
    ) -> None:
        """Follow what has held the address since the instruction at index `start` out of its block."""
        block = listing.block
        following: list[tuple[int, Holder]] = []
        if block.ending in {Ending.CALL, Ending.CALL_INDIRECT}:
            called = block.ending == Ending.CALL_INDIRECT and self._is_operand(listing, holder, path)
            if called:
                trace.sites.append((block, True))
            target = self._graph.callee(block)
            if target is None and (called or self._calls_held(listing, start, holder, path)):
                target = trace.entry
            following = self._passing.over_call(block, holder, target)
        elif block.ending == Ending.JUMP_INDIRECT and block.last not in self._reach.jump_targets:
            if self._is_operand(listing, holder, path):
                trace.sites.append((block, False))
            if holder in self._conventions.arguments:
                raise EscapesError
        elif block.ending == Ending.RETURN:
            if holder in self._conventions.results or (self._go(block.start) and isinstance(holder, int)):
                raise EscapesError
        else:
            following = [(target, holder) for target in self._graph.after(block)]
        for address, held in following:
            if (address, held, path) not in trace.seen:
                trace.seen.add((address, held, path))
                entered = self._blocks.at(address)
                if entered is None:
                    raise EscapesError
                trace.pending.append((entered, 0, held, path))

    def _calls_held(self, listing: Listing, start: int, holder: Holder, path: Path) -> bool:
        """Whether the call at a block's end goes to what it loaded, since `start`, from the holding place."""
        operand = self._architecture.forms(listing.instructions[-1])[0]
        if path or operand.memory is not None or operand.source == NONE:
            return False
        for index in range(listing.last_index - 1, start - 1, -1):
            if operand.source in listing.writes[index]:
                (form, *others) = self._architecture.forms(listing.instructions[index])
                loads = form.act == Act.LOAD and form.whole and form.destination == operand.source
                return loads and not others and listing.place(index, form) == holder
        return False

    def _uses(self, listing: Listing, index: int, holder: Holder) -> bool:
        instruction = listing.instructions[index]
        if isinstance(holder, int):
            return self._architecture.reads(instruction, holder)
        return any(
            listing.place(index, form) == holder
            for form in self._architecture.forms(instruction)
            if form.act not in (Act.ADDRESS, Act.STORE)
        )

    def _concerned(self, listing: Listing, index: int, holder: Holder) -> list[Form]:
        """Return what an instruction does with the holder, one of the things it reads."""
        forms = self._architecture.forms(listing.instructions[index])
        if len(forms) == 1:
            return list(forms)
        if isinstance(holder, tuple):
            return [form for form in forms if listing.place(index, form) == holder]
        return [form for form in forms if holder in form.reads]

    def _use(self, listing: Listing, index: int, holder: Holder, path: Path, trace: _Trace) -> None:
        """Add what an instruction that reads the holder copies it to."""
        behind = (listing.block, index + 1)
        for form in self._concerned(listing, index, holder):
            if form.act == Act.COMPARE:
                continue
            if isinstance(holder, tuple):
                if form.act not in (Act.POP, Act.LOAD) or form.destination == NONE or not form.whole:
                    raise EscapesError
                trace.pending.append((*behind, form.destination, path))
            elif form.act == Act.PUSH:
                sp = listing.frames[index].sp
                if sp is None or form.source == NONE:
                    raise EscapesError
                trace.pending.append((*behind, (sp[0], sp[1] - 8), path))
            elif form.act == Act.ADD and path and form.destination == holder:
                if form.distance is None:
                    raise EscapesError
                trace.pending.append((*behind, holder, (path[0] - form.distance, *path[1:])))
            elif form.act == Act.MOVE and form.source == holder:
                trace.pending.append((*behind, form.destination, path))
            elif form.act == Act.STORE and form.source == holder:
                self._store(listing, index, form, path, trace)
            else:
                self._through(listing, index, form, holder, path, trace)

    def _through(  # one step of a walk and its circumstances
        self, listing: Listing, index: int, form: Form, holder: int, path: Path, trace: _Trace
    ) -> None:
        """Follow an access to memory behind the holder, a pointer to the object that holds the address."""
        memory = form.memory
        if not path or memory is None or memory.base != holder or memory.index != NONE:
            raise EscapesError
        offset = memory.displacement
        behind = (listing.block, index + 1)
        if form.act == Act.ADDRESS:
            trace.pending.append((*behind, form.destination, (path[0] - offset, *path[1:])))
        elif form.act == Act.STORE or offset >= path[0] + 8:
            return
        elif form.act == Act.LOAD and offset == path[0] and form.whole:
            trace.pending.append((*behind, form.destination, path[1:]))
        elif offset + memory.size > path[0]:
            raise EscapesError

    def _store(self, listing: Listing, index: int, form: Form, path: Path, trace: _Trace) -> None:
        """Follow a store into the frame, or into a variable."""
        place = listing.place(index, form)
        if place is not None:
            trace.pending.append((listing.block, index + 1, place, path))
            return
        address = self._variable(listing.instructions[index].ip, form)
        if address is None:
            raise EscapesError
        self._stored(address, path, trace)

    def _variable(self, ip: int, form: Form) -> int | None:
        """Return the address of the variable that an instruction stores to; None if that is not constant."""
        memory = form.memory
        if memory is None or memory.address is not None:
            return None if memory is None else memory.address
        if self._written is None:
            self._written = {
                reference.ip: reference.address
                for reference in reversed(self._graph.references)
                if reference.use == Use.WRITE
            }
        first = self._written.get(ip) if memory.base != NONE else None
        return None if first is None else first + memory.offset

    def _load(self, ip: int, path: Path, trace: _Trace) -> None:
        """Follow an instruction that reads the address from a variable."""
        block = self._blocks.containing(ip)
        if block is None:
            raise EscapesError
        listing = self._listings.listing(block)
        index = listing.index_of(ip)
        for form in self._architecture.forms(listing.instructions[index]):
            if form.act in (Act.MOVE, Act.LOAD):
                trace.pending.append((block, index + 1, form.destination, path))
            elif form.act in {Act.CALL, Act.JUMP} and not path:
                trace.sites.append((block, form.act == Act.CALL))
            elif form.act != Act.COMPARE:
                raise EscapesError

    def _overwrites(self, listing: Listing, index: int, holder: Holder) -> bool:
        if isinstance(holder, int):
            written = holder in listing.writes[index]
            return written and not self._architecture.may_keep(listing.instructions[index], holder)
        return any(
            form.act == Act.STORE and listing.place(index, form) == holder
            for form in self._architecture.forms(listing.instructions[index])
        )

    def _is_operand(self, listing: Listing, holder: Holder, path: Path) -> bool:
        """
        Whether the call or jump that ends a block goes to the function.

        An index may choose any, and escapes.
        """
        form = self._architecture.forms(listing.instructions[-1])[0]
        memory = form.memory
        if isinstance(holder, tuple):
            return not path and listing.place(len(listing.instructions) - 1, form) == holder
        if not path:
            return memory is None and form.source == holder
        if memory is not None and memory.index != NONE and holder in {memory.base, memory.index}:
            raise EscapesError
        return (
            len(path) == 1
            and memory is not None
            and memory.base == holder
            and memory.index == NONE
            and memory.displacement == path[0]
        )
