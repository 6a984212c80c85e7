"""
What can a load from memory yield?

A stack slot goes on as a slot; memory that cannot change is read; a variable is what the file holds and
everything that is stored there, provided that nobody takes its address; an indexed table is its entries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from shim.analysis.answers import MAX_VALUES, Answer, Question, Slot, Step
from shim.analysis.assumptions import HELD_SIZE, InForce
from shim.analysis.blocks import Block, Blocks
from shim.analysis.frames import Listing, Listings
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects
from shim.analysis.registers import NONE, WORD
from shim.analysis.runs import Reference, Use
from shim.analysis.semantics import Load, Value
from shim.elf.memory import Memory

NULL_PAGES = 65536  # vm.mmap_min_addr
WIDEST_ACCESS = 64


class Loads:
    """Follows loads for `Values`, whose `ask` it is given."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of a program, each its own type
        self,
        memory: Memory,
        blocks: Blocks,
        graph: Graph,
        listings: Listings,
        objects: DataObjects,
        ask: Callable[[Step, Question], Answer],
        assumptions: InForce,
    ) -> None:
        self._memory = memory
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._objects = objects
        self._ask = ask
        self._assumptions = assumptions

    def load(self, effect: Load, listing: Listing, index: int, step: Step, question: Question) -> list[Step]:
        """Return the steps that a load leads to; what it yields at once goes into the question's answer."""
        answer, ip = question.answer, listing.instructions[index].ip
        mask = step.mask & ((1 << 8 * effect.size) - 1)
        if effect.place is not None:
            return [Step(listing.block, index, Slot(effect.place, effect.size), mask, step.point)]
        if effect.opaque:
            answer.fail(ip, "thread-local memory")
            return []
        bases = self._register(effect.base, listing, index, question)
        if bases.unknown or bases.entry or (effect.index != NONE and bases.addresses):
            answer.unknown += bases.unknown or [(ip, "memory behind an unknown pointer")]
            return []
        if effect.index != NONE:
            self._table(effect, bases, listing, index, mask, question)
            return []
        steps = []
        for base in bases.values:
            steps += self._variable((base + effect.displacement) & WORD, effect.size, mask, ip, answer)
        for address in bases.addresses:
            place = (address.place[0], address.place[1] + effect.displacement)
            wanted = self._blocks.at(address.block)
            if wanted is None:
                answer.fail(ip, "memory behind a pointer from an unknown place")
                return []
            steps.append(Step(wanted, address.index, Slot(place, effect.size), mask))
        return steps

    def _register(self, register: int, listing: Listing, index: int, question: Question) -> Answer:
        """Return what a base or index register holds at the load."""
        if register == NONE:
            return Answer(values={0: set()})
        step = Step(listing.block, index, register, WORD, (listing.block.start, index))
        return self._ask(step, Question(question.stop_at, question.depth + 1))

    def _table(  # a load and its circumstances
        self, effect: Load, bases: Answer, listing: Listing, index: int, mask: int, question: Question
    ) -> None:
        """Read an indexed table: at the indices if they are known, else every entry of the object."""
        answer, ip = question.answer, listing.instructions[index].ip
        indices = self._register(effect.index, listing, index, question)
        for base in bases.values:
            address = (base + effect.displacement) & WORD
            if indices.only_numbers():
                places = [(address + number * effect.scale) & WORD for number in indices.values]
            else:
                end = self._objects.reachable_from(address)[-1].stop
                places = list(range(address, end, effect.scale))
            if len(places) > MAX_VALUES:
                answer.fail(ip, f"a table of more than {MAX_VALUES} entries")
                return
            for place in places:
                number = self._memory.word(place, effect.size) if self._memory.constant(place) else None
                if number is None:
                    answer.fail(ip, "a table that the program can change")
                    return
                answer.add(number & mask, ip)

    def _variable(self, address: int, size: int, mask: int, ip: int, answer: Answer) -> list[Step]:
        """Read a variable: what is in the file and everything that is stored there."""
        if address < NULL_PAGES:
            answer.nothing.add(ip)
            return []
        if address in self._assumptions.held and size <= HELD_SIZE:
            answer.add(self._assumptions.held[address] & mask, ip)
            return []
        initial = self._memory.word(address, size)
        if initial is None or address in self._memory.relocations.resolvers:
            answer.fail(ip, "unmapped memory" if initial is None else "a pointer that a resolver chooses")
            return []
        answer.add(initial & mask, ip)
        if self._memory.constant(address):
            return []
        if self._is_pointed_to(address, size):
            answer.fail(ip, "a variable whose address is held elsewhere")
            return []
        return self._stores(address, size, mask, answer)

    def _stores(self, address: int, size: int, mask: int, answer: Answer) -> list[Step]:
        """Return the steps to everything that is stored into a variable."""
        steps = []
        for access in self._accesses_around(address, size):
            if access.use in {Use.ADDRESS, Use.INDEXED}:
                if self._assumptions.separate_variables and not address <= access.address < address + size:
                    continue
                answer.fail(access.ip, "a variable whose address is taken")
                return []
            if access.address + access.size <= address or address + size <= access.address:
                continue
            block = self._blocks.containing(access.ip)
            if block is None:
                answer.fail(access.ip, "a variable that unknown code names")
                return []
            stored = self._stored(access, block, exact=access.address == address and access.size >= size)
            if stored is None:
                continue
            if isinstance(stored, str):
                answer.fail(access.ip, stored)
                return []
            if isinstance(stored, Value):
                answer.add(stored.number & mask, access.ip)
            else:
                index, register = stored
                steps.append(Step(block, index, register, mask))
        return steps

    def _is_pointed_to(self, address: int, size: int) -> bool:
        """Whether data holds an address from which code can get at a variable."""
        extent = range(address, address + size)
        if not self._assumptions.separate_variables:
            extent = self._objects.extent(address)
        pointed = self._graph.pointed
        index = bisect_left(pointed, extent.start)
        return index < len(pointed) and pointed[index] < extent.stop

    def _accesses_around(self, address: int, size: int) -> list[Reference]:
        """Return everything that names the object of a variable, or bytes that overlap it."""
        extent = self._objects.extent(address)
        low = bisect_left(self._graph.reference_addresses, min(extent.start, address - WIDEST_ACCESS))
        high = bisect_left(self._graph.reference_addresses, max(extent.stop, address + size))
        return [
            access
            for access in self._graph.references[low:high]
            if self._graph.alive(access.ip)
            and (access.address in extent or access.use not in {Use.ADDRESS, Use.INDEXED})
        ]

    def _stored(
        self, access: Reference, block: Block, *, exact: bool
    ) -> tuple[int, int] | Value | str | None:
        """Return what an access stores: (index, register), a constant, why unknown; None if it reads."""
        listing = self._listings.listing(block)
        index = listing.index_of(access.ip)
        instruction = listing.instructions[index]
        if access.use == Use.READ and not self._listings.architecture.stores_to_memory(instruction):
            return None
        if access.use == Use.READ or not exact:
            return "a variable changed in place"
        stored = self._listings.architecture.variable_store(instruction, access.address)
        if stored is None:
            return "a variable stored in an unusual way"
        return stored if isinstance(stored, Value) else (index, stored)
