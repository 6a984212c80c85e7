"""
Which constants can a register or a stack slot hold at an instruction?

Asked backward from the place of use, over copies, arithmetic on constants, memory, results of calls, and the
callers of a function whose parameter it is.  The answer is a finite set or "unknown" with a reason; every
question has a budget, and running out of it is "unknown", never a smaller set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from shim.analysis.answers import MAX_VALUES, Address, Answer, Location, Question, Slot, Step
from shim.analysis.assumptions import InForce
from shim.analysis.blocks import Block, Blocks
from shim.analysis.frames import REACH_OF_ADDRESS, Listing, Listings
from shim.analysis.graph import Graph
from shim.analysis.loads import Loads
from shim.analysis.objects import DataObjects
from shim.analysis.reach import Reach
from shim.analysis.registers import NONE, WORD
from shim.analysis.runs import Ending
from shim.analysis.semantics import (
    Copy,
    Effect,
    Flag,
    Load,
    Merge,
    Opaque,
    Operation,
    Value,
    part_of,
)
from shim.analysis.twice import Twice
from shim.elf.memory import Memory

MAX_STEPS = 60_000
MAX_DEPTH = 48


class Values:
    """
    Answers questions about one program; keeps listings between questions.

    Args:
        callers_of: Returns every block that calls or jumps to a function, with whether it pushes a return
            address, or None if they are not all known.
        go: Whether an address is in Go code, whose functions keep no register but the stack pointer.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of a program, each its own type
        self,
        memory: Memory,
        reach: Reach,
        blocks: Blocks,
        graph: Graph,
        listings: Listings,
        objects: DataObjects,
        callers_of: Callable[[int], list[tuple[Block, bool]] | None],
        assumptions: InForce,
        *,
        go: Callable[[int], bool],
    ) -> None:
        self._reach = reach
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._callers_of = callers_of
        self._architecture = listings.architecture
        conventions = listings.architecture.conventions
        self._go = go
        self._saved = conventions.callee_saved
        self._saved_by_go = frozenset({conventions.stack_pointer})
        self._pushed = conventions.pushed_by_call
        self._loads = Loads(memory, blocks, graph, listings, objects, self._ask, assumptions)
        self._twice = Twice(blocks, graph, listings)
        self._active: set[tuple[int, int, Location, int]] = set()
        self._steps = 0
        self._limit = MAX_STEPS

    def before(
        self, block: Block, ip: int, location: Location, mask: int = WORD, limit: int = MAX_STEPS
    ) -> Answer:
        """Return what `location` can hold before the instruction at `ip`, which is in `block`."""
        self._steps, self._limit = 0, limit
        self._active.clear()
        index = self._listings.listing(block).index_of(ip)
        return self._ask(Step(block, index, location, mask), Question(0, 0))

    def loaded(self, block: Block, ip: int, limit: int = MAX_STEPS) -> Answer:
        """
        Return what the memory operand of the instruction at `ip`, which is in `block`, can hold before it.
        """
        self._steps, self._limit = 0, limit
        self._active.clear()
        listing = self._listings.listing(block)
        index = listing.index_of(ip)
        effect = self._architecture.loaded(listing.instructions[index], listing.frames[index])
        return self._answers(effect, listing, index, WORD, Question(0, 0))

    def _ask(self, first: Step, question: Question) -> Answer:
        """Answer one question that begins at `first`."""
        answer = question.answer
        key = (first.block.start, first.index, first.location, question.stop_at)
        if question.depth > MAX_DEPTH or key in self._active:
            answer.fail(first.block.start, "the value depends on itself")
            return answer
        self._active.add(key)
        pending = [first]
        while pending and not answer.unknown:
            self._steps += 1
            if self._steps > self._limit or len(answer.values) > MAX_VALUES:
                answer.fail(
                    first.block.start, f"no answer within {self._limit} steps and {MAX_VALUES} values"
                )
                break
            pending += self._back(pending.pop(), question)
        self._active.discard(key)
        return answer

    def _back(self, step: Step, question: Question) -> list[Step]:
        """Go back to what defines the location in this block, or to what comes before the block."""
        listing = self._listings.listing(step.block)
        if isinstance(step.location, Slot):
            return self._back_to_store(listing, step, step.location, question)
        for index in range(step.index - 1, -1, -1):
            if step.location in listing.writes[index]:
                effect = self._architecture.effect(
                    listing.instructions[index], step.location, listing.frames[index]
                )
                return self._follow(effect, listing, index, step, question)
        return self._enter(step, question)

    def _back_to_store(self, listing: Listing, step: Step, slot: Slot, question: Question) -> list[Step]:
        for index in range(step.index - 1, -1, -1):
            instruction = listing.instructions[index]
            written = self._architecture.stored(instruction, listing.frames[index])
            if not written and self._may_reach(listing, index, slot):
                question.answer.fail(instruction.ip, "a stack slot that may be written through a pointer")
                return []
            for stored in written:
                if stored.place[0] != slot.place[0]:
                    continue
                low, high = stored.place[1], stored.place[1] + stored.size
                if high <= slot.place[1] or slot.place[1] + slot.size <= low:
                    continue
                if slot.place[1] < low or high < slot.place[1] + slot.size:
                    question.answer.fail(instruction.ip, "a stack slot is written in parts")
                    return []
                effect = part_of(stored.effect, slot.place[1] - low)
                return self._follow(effect, listing, index, step, question)
        return self._enter(step, question)

    def _may_reach(self, listing: Listing, index: int, slot: Slot) -> bool:
        """Whether a store whose place is not known may be one to `slot`."""
        instruction = listing.instructions[index]
        architecture = self._architecture
        if not architecture.stores_to_memory(instruction) or architecture.outside_frames(instruction):
            return False
        indexed = architecture.indexed_place(listing.frames[index], instruction)
        if indexed is not None:
            return indexed[0] == slot.place[0] and 0 <= slot.place[1] - indexed[1] < REACH_OF_ADDRESS
        return self._listings.address_taken(self._blocks.owner(listing.block), slot.place)

    def _follow(
        self, effect: Effect, listing: Listing, index: int, step: Step, question: Question
    ) -> list[Step]:
        """Apply what an instruction does to the location: a leaf goes into the answer, the rest goes on."""
        ip = listing.instructions[index].ip
        if isinstance(effect, Value):
            question.answer.add(effect.number & effect.mask & step.mask, ip)
            return []
        if isinstance(effect, Opaque):
            question.answer.fail(ip, effect.reason)
            return []
        if isinstance(effect, Copy):
            mask = step.mask & effect.mask
            return [Step(listing.block, index, register, mask, step.point) for register in effect.registers]
        if isinstance(effect, Load):
            return self._loads.load(effect, listing, index, step, question)
        if isinstance(effect, Merge):
            self._merge(effect, listing, index, step, question)
        elif effect.place is not None:
            self._place(effect, ip, step, question)
        else:
            self._operate(effect, listing, index, step, question)
        return []

    def _place(self, effect: Operation, ip: int, step: Step, question: Question) -> None:
        if step.point is None or effect.place is None:
            question.answer.fail(ip, "the address of a local variable")
        else:
            question.answer.addresses.add(Address(effect.place, *step.point))

    def _operate(
        self, effect: Operation, listing: Listing, index: int, step: Step, question: Question
    ) -> None:
        """Combine the answers for all operands."""
        ip = listing.instructions[index].ip
        operands = []
        for operand in effect.operands:
            partial = self._operand(operand, listing, index, question)
            if partial.only_numbers():
                operands.append(set(partial.values))
            elif effect.bound:
                break
            else:
                question.answer.unknown += partial.unknown or [
                    (ip, "arithmetic on a parameter or an address")
                ]
                return
        combined: Collection[int] | None = (
            effect.bound if len(operands) < len(effect.operands) or effect.fixed else None
        )
        if combined is None:
            combined = effect.combine(operands, MAX_VALUES)
        if combined is None:
            question.answer.fail(ip, f"more than {MAX_VALUES} combinations")
            return
        for number in combined:
            question.answer.add(number & step.mask, ip)

    def _operand(
        self, operand: Copy | Load | Value | Flag, listing: Listing, index: int, question: Question
    ) -> Answer:
        if isinstance(operand, Flag):
            return Answer(values={0: set(), 1: set()})
        return self._answers(operand, listing, index, WORD, question)

    def _answers(self, effect: Effect, listing: Listing, index: int, mask: int, question: Question) -> Answer:
        """Return all that an effect can yield, as an answer of its own."""
        inner = Question(question.stop_at, question.depth + 1)
        step = Step(listing.block, index, NONE, mask)
        for follow in self._follow(effect, listing, index, step, inner):
            inner.answer.join(self._ask(follow, Question(question.stop_at, question.depth + 1)))
        return inner.answer

    def _merge(self, effect: Merge, listing: Listing, index: int, step: Step, question: Question) -> None:
        """Put new low bits under the old high bits of a register."""
        low = self._answers(effect.low, listing, index, effect.mask, question)
        high = Answer(values={0: set()})
        if step.mask & ~effect.mask:
            old = Step(listing.block, index, step.location, step.mask & ~effect.mask)
            high = self._ask(old, Question(question.stop_at, question.depth + 1))
        if not low.only_numbers() or not high.only_numbers():
            ip = listing.instructions[index].ip
            reason = "a parameter or an address merged into part of a register"
            question.answer.unknown += low.unknown or high.unknown or [(ip, reason)]
            return
        for upper in high.values:
            for lower in low.values:
                question.answer.add((upper | lower) & step.mask, listing.instructions[index].ip)

    def _enter(self, step: Step, question: Question) -> list[Step]:
        """Go on before the start of a block: predecessors, the call it follows, callers of its function."""
        start = step.block.start
        key = (start, step.location, step.mask)
        if key in question.seen:
            return []
        question.seen.add(key)
        steps = list(self._predecessors(step, question))
        if start in self._reach.functions:
            steps += self._callers(start, step, question)
        elif start in self._reach.address_taken or not self._is_followed(step.block):
            question.answer.fail(start, "code that is entered from an unknown place")
        return steps

    def _is_followed(self, block: Block) -> bool:
        return bool(self._graph.before(block) or self._graph.behind_call(block))

    def _predecessors(self, step: Step, question: Question) -> Iterator[Step]:
        start = step.block.start
        for block in self._graph.before(step.block):
            listing = self._listings.listing(block)
            equal = self._equality_on_edge(listing, start)
            if equal is not None and equal[0] == step.location:
                question.answer.add(equal[1] & step.mask, block.last)
            else:
                yield Step(block, len(listing.instructions), step.location, step.mask, step.point)
        for block in self._graph.behind_call(step.block):
            yield from self._over_call(block, step, question)

    def _equality_on_edge(self, listing: Listing, target: int) -> tuple[int, int] | None:
        """Return (register, number) if control only goes from the block to `target` when they are equal."""
        block = listing.block
        if block.ending != Ending.BRANCH or block.end == block.target:
            return None
        return self._architecture.equality(listing.instructions, target == block.target)

    def _callers(self, entry: int, step: Step, question: Question) -> list[Step]:
        location = step.location
        if isinstance(location, Slot) and location.place[0] == entry and location.place[1] < 0:
            question.answer.fail(entry, "a stack slot that is not written before")
            return []
        if entry == question.stop_at:
            question.answer.entry.add((location, step.mask))
            return []
        callers = self._callers_of(entry)
        if callers is None:
            question.answer.fail(entry, "a parameter of a function whose callers are not all known")
            return []
        if not callers:
            question.answer.nothing.add(entry)
        steps = []
        for block, pushed in callers:
            translated = self._in_caller(block, location, pushed=pushed)
            if translated is None:
                question.answer.fail(block.last, "a caller whose stack depth is unknown")
                return []
            last = self._listings.listing(block).last_index
            steps.append(Step(block, last, translated, step.mask, (block.start, last)))
        return steps

    def _in_caller(self, block: Block, location: Location, *, pushed: bool) -> Location | None:
        """Translate a location at a function's entry into the frame of the block that calls it."""
        if isinstance(location, int):
            return location
        sp = self._listings.listing(block).frames[-1].sp
        if sp is None:
            return None
        return Slot((sp[0], sp[1] + location.place[1] - (self._pushed if pushed else 0)), location.size)

    def _over_call(self, block: Block, step: Step, question: Question) -> list[Step]:
        """Go on before a call: slots and saved registers pass by, others are results of the callee."""
        location, last = step.location, self._listings.listing(block).last_index
        if isinstance(location, Slot):
            if self._listings.address_taken(self._blocks.owner(block), location.place):
                question.answer.fail(block.last, "a stack slot whose address a call may have been given")
                return []
            if self._returns_again(block) and not self._twice.is_stored_once(block, location.place):
                question.answer.fail(block.last, "a stack slot that is written before a call returns again")
                return []
            return [Step(block, last, location, step.mask, step.point)]
        if location in (self._saved_by_go if self._go(block.start) else self._saved):
            return [Step(block, last, location, step.mask, step.point)]
        target = self._graph.callee(block)
        if target is None:
            question.answer.fail(block.last, "the result of a call through a pointer")
            return []
        return self._left_by(target, block, (location, step.mask), question, pushed=True)

    def _left_by(
        self, target: int, block: Block, asked: tuple[int, int], question: Question, *, pushed: bool
    ) -> list[Step]:
        """
        Add what the function at `target` leaves in a register, with a mask, to the answer of a question.

        Returns what is still to be asked before the end of `block`, which calls the function or ends in it.
        """
        result = self._result(target, *asked, question.depth + 1)
        opened, result.entry = result.entry, set()
        question.answer.join(result)
        last = self._listings.listing(block).last_index
        steps = []
        for at_entry, mask in opened:
            translated = self._in_caller(block, at_entry, pushed=pushed)
            if translated is None:
                question.answer.fail(block.last, "a caller whose stack depth is unknown")
                return []
            steps.append(Step(block, last, translated, mask))
        return steps

    def _returns_again(self, block: Block) -> bool:
        target = self._graph.callee(block)
        return target is not None and self._twice.returns_again(target)

    def _result(self, entry: int, register: int, mask: int, depth: int) -> Answer:
        """Return what `register` holds when the function at `entry` returns, in terms of its entry."""
        question = Question(entry, depth)
        answer = question.answer
        if self._twice.returns_again(entry):
            answer.fail(entry, "the result of a function that returns again")
            return answer
        returns, tails = self._graph.returns(entry), self._graph.tail_calls(entry)
        if tails is None or not (returns or tails) or depth > MAX_DEPTH:
            answer.fail(entry, "the result of a function that ends in another")
            return answer
        for block, target in tails:
            for step in self._left_by(target, block, (register, mask), question, pushed=False):
                answer.join(self._ask(step, Question(entry, depth + 1)))
            if answer.unknown:
                return answer
        for block in returns:
            last = self._listings.listing(block).last_index
            answer.join(self._ask(Step(block, last, register, mask), Question(entry, depth)))
            if answer.unknown:
                break
        return answer
