"""
Who comes before a block: predecessors inside functions, and callers of functions.

Filled in function by function, when a question about one comes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shim.analysis.blocks import Block, Blocks
from shim.analysis.explore import Edge
from shim.analysis.reach import Function, Reach
from shim.analysis.runs import Ending, Reference


@dataclass(slots=True)
class _Flow:
    """The flow inside one function."""

    before: dict[int, list[Block]] = field(default_factory=dict)
    after: dict[int, list[int]] = field(default_factory=dict)
    behind_call: dict[int, list[Block]] = field(default_factory=dict)
    returns: list[Block] = field(default_factory=list)
    tail_calls: list[tuple[Block, int]] = field(default_factory=list)
    into_others: bool = False
    inward: dict[int, list[Block]] = field(default_factory=dict)
    unknown_tails: list[Block] = field(default_factory=list)


_CALLS = (Ending.CALL, Ending.CALL_INDIRECT)


class Graph:
    """
    The flow between the blocks of everything that `reach` reached; ask only when it has finished.

    `alive` says of the address of an instruction whether it may run; callers that never run are none.
    """

    def __init__(self, reach: Reach, blocks: Blocks) -> None:
        self._reach = reach
        self._blocks = blocks
        self._flows: dict[int, _Flow] = {}
        self.alive: Callable[[int], bool] = lambda _: True

    def before(self, block: Block) -> Sequence[Block]:
        """Return the blocks that control comes from by jump or by falling through, entries apart."""
        return self._flow_of(self._blocks.owner(block)).before.get(block.start, ())

    def after(self, block: Block) -> Sequence[int]:
        """
        Return the starts of blocks that control goes to by jump or by falling through, entries included.
        """
        return self._flow_of(self._blocks.owner(block)).after.get(block.start, ())

    def onward(self, block: Block) -> Sequence[int]:
        """Return where a function goes on behind a block: behind a call that returns, or as `after`."""
        if block.ending not in _CALLS:
            return self.after(block)
        callee = self.callee(block)
        called = None if callee is None else self._reach.functions.get(callee)
        return () if called is not None and not called.returns else (block.end,)

    def behind_call(self, block: Block) -> Sequence[Block]:
        """Return the blocks behind whose call `block` lies."""
        return self._flow_of(self._blocks.owner(block)).behind_call.get(block.start, ())

    def callers(self, entry: int) -> list[Block]:
        """Return the blocks that call, jump to or fall into the function at `entry`."""
        sources = filter(self.alive, dict.fromkeys(self._reach.callers.get(entry, ())))
        blocks = {}
        for ip in sources:
            block = self._blocks.containing(ip)
            if block is not None:
                blocks[block.start] = block
        run = self._reach.containing(entry)
        if run is not None and run.start != entry:
            above = self._blocks.containing(entry - 1)
            if above is not None and self._falls_into(above, entry):
                blocks[above.start] = above
        if run is not None:
            # Jumps that were followed before a call showed that a function begins here.
            owner = self._flow_of(self._reach.owner[run.start])
            inward = owner.inward.get(entry, ())
            blocks.update((block.start, block) for block in inward if self.alive(block.start))
        return list(blocks.values())

    def call_sites(self, entry: int) -> Iterator[Block]:
        """Yield the blocks that call the function at `entry`, themselves or through a linkage table."""
        for block in self.callers(entry):
            if block.ending == Ending.JUMP_INDIRECT and block.start in self._reach.functions:
                yield from self.callers(block.start)
            else:
                yield block

    def calls_of_only(self, entry: int) -> Iterator[Block]:
        """Yield the blocks that end with a call of the function at `entry` and of nothing else."""
        for block in self.callers(entry):
            if self.callee(block) == entry:
                yield block

    def _falls_into(self, block: Block, entry: int) -> bool:
        falls = block.end == entry and block.ending in {Ending.FALL, Ending.BRANCH}
        return falls and self.alive(block.start)

    def callee(self, block: Block) -> int | None:
        """
        Return what the call that ends `block` calls; None where that is not a constant, or it is no call.
        """
        if block.ending == Ending.CALL:
            return block.target if block.target != block.end else None
        if block.ending == Ending.CALL_INDIRECT:
            return self._reach.constant_pointer(block.target)
        return None

    def returns(self, entry: int) -> list[Block]:
        """Return the blocks of the function at `entry` that end in `ret`."""
        return self._at(entry).returns

    def tail_calls(self, entry: int) -> list[tuple[Block, int]] | None:
        """
        Return the blocks of the function at `entry` that end in another function, with its entry.

        None if not all of these others are known, or not all are entered at their beginning.
        """
        flow = self._at(entry)
        return None if flow.unknown_tails or flow.into_others else flow.tail_calls

    @cached_property
    def references(self) -> list[Reference]:
        """Everything that names writable or constant data, sorted by address."""
        found = self._reach.references_of_all()
        found.sort(key=lambda reference: reference.address)
        return found

    @cached_property
    def reference_addresses(self) -> list[int]:
        """The addresses of `references`."""
        return [reference.address for reference in self.references]

    def naming(self, addresses: Iterable[int]) -> Iterator[int]:
        """Yield the instructions that name one of `addresses`."""
        for address in addresses:
            for at in range(bisect_left(self.reference_addresses, address), len(self.references)):
                if self.references[at].address != address:
                    break
                yield self.references[at].ip

    @cached_property
    def pointed(self) -> list[int]:
        """
        The data addresses that are held somewhere, so that code can get at them without naming them; sorted.
        """
        return sorted({*self._reach.pointed, *self._reach.pointer_reads})

    def pointer_reads(self, extent: range) -> list[tuple[int, int]]:
        """Return (address, instruction) where code reads a pointer into `extent` out of a slot."""
        low, high = bisect_left(self.pointed, extent.start), bisect_left(self.pointed, extent.stop)
        return [
            (address, ip)
            for address in self.pointed[low:high]
            for ip in self._reach.pointer_reads.get(address, ())
        ]

    def _at(self, entry: int) -> _Flow:
        function = self._reach.functions.get(entry)
        return _Flow() if function is None else self._flow_of(function)

    def _flow_of(self, function: Function) -> _Flow:
        flow = self._flows.get(function.entry)
        if flow is None:
            flow = self._flows[function.entry] = _Flow()
            blocks = self._blocks.of(function)
            numbers = iter(self._reach.edges_of(function))
            for number, target, kind, _ in zip(*[numbers] * 4, strict=True):
                self._flow(flow, blocks[number], target, kind)
            for block in blocks:
                self._leave(flow, block, function)
                for source in self._reach.entered.get(block.start, ()):
                    jump = self._blocks.containing(source)
                    if jump is not None:
                        flow.before.setdefault(block.start, []).append(jump)
        return flow

    def _leave(self, flow: _Flow, block: Block, function: Function) -> None:
        """Add what the last instruction of a block does other than jump to an address that it names."""
        ending = block.ending
        if ending in _CALLS:
            flow.behind_call.setdefault(block.end, []).append(block)
        elif ending == Ending.RETURN:
            flow.returns.append(block)
        elif ending == Ending.JUMP_INDIRECT:
            targets = self._reach.jump_targets.get(block.last, ())
            for destination in targets:
                owner = self._reach.owner_of(destination)
                if destination in self._reach.functions:
                    self._flow(flow, block, destination, Edge.ENTRY)
                elif owner:
                    kind = Edge.INSIDE if owner == function.entry else Edge.ELSEWHERE
                    self._flow(flow, block, destination, kind)
            if not targets:
                flow.unknown_tails.append(block)

    def _flow(self, flow: _Flow, block: Block, target: int, kind: int) -> None:
        flow.after.setdefault(block.start, []).append(target)
        if kind == Edge.INSIDE:
            flow.before.setdefault(target, []).append(block)
        elif kind == Edge.ENTRY:
            flow.tail_calls.append((block, target))
            flow.inward.setdefault(target, []).append(block)
        else:
            flow.into_others = True
