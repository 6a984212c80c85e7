"""
Which uses of a function never happen, because a branch before them is decided by constants?

Asked only where it matters: for each call of the kernel, along the functions through which every way to it
leads. Where all uses of one of them are refuted, it and what only it reaches is dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shim.analysis.blocks import Block
from shim.analysis.closure import leading_to, reversed_edges
from shim.analysis.dead import Dead
from shim.analysis.decided import only_successor
from shim.analysis.decode import Ending
from shim.analysis.dominators import ROOT, dominators
from shim.analysis.narrow import alive_in
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.reach import Function
from shim.analysis.uses import Remaining

MAX_USES = 4
MAX_ROUNDS = 4


def refuted(program: Program, entries: list[KernelEntry], dead: Dead) -> Dead:
    """Return `dead` and what else never runs because constants decide so."""
    search = _Refutation(program, entries, dead)
    for _ in range(MAX_ROUNDS):
        if not search.round():
            break
    return search.dead


class _Refutation:
    """The search; it remembers which uses have been tried."""

    def __init__(self, program: Program, entries: list[KernelEntry], dead: Dead) -> None:
        self._program = program
        self._entries = entries
        self.dead = Dead(set(dead.functions), list(dead.ranges))
        self._tried: dict[tuple[int, int], bool] = {}

    def round(self) -> bool:
        """Refute what can be refuted now; return whether anything was."""
        reach = self._program.reach
        remaining = self._program.uses.without(self.dead)
        living = remaining.live
        self._program.questions.narrow(alive_in(self._program, living, self.dead))
        above = dominators(
            (root for root in (*reach.roots, *reach.root_objects) if root in living), remaining.targets
        )
        users = reversed_edges(remaining.targets.items())
        found = False
        for entry in self._on_all_ways(above, living):
            sources = self._sources(entry, users.get(entry, ()), remaining)
            if 0 < len(sources) <= MAX_USES and all(self._never(owner, ip) for owner, ip in sources):
                self.dead.functions.add(entry)
                found = True
        self._tried = {use: never for use, never in self._tried.items() if never}
        return found

    def _sources(self, entry: int, users: Sequence[int], remaining: Remaining) -> list[tuple[int, int]]:
        """Return the (function, instruction) that use a function; (0, 0) for data and roots."""
        reach = self._program.reach
        sources = [(0, 0)] if entry in reach.roots else []
        for user in users[: MAX_USES + 1]:
            if user in reach.functions:
                sources += [(user, ip) for ip, target in remaining.of(user) if target == entry]
            else:
                sources.append((0, 0))
        return sources

    def _on_all_ways(self, above: dict[int, int], living: set[int]) -> Iterable[int]:
        """Return the functions through which every way to some number leads, nearest to the root first."""
        reach = self._program.reach
        places: dict[int, set[int]] = {}
        for entry in self._entries:
            for number, origins in entry.numbers.items():
                owners = {self._owner(place) for place in origins}
                places.setdefault(number, set()).update(owners & living)
        found: dict[int, int] = {}
        for owners in places.values():
            chains = [self._chain(owner, above) for owner in owners]
            if not chains:
                continue
            common = set(chains[0]).intersection(*chains[1:])
            for depth, node in enumerate(reversed(chains[0])):
                if node in common and node in reach.functions:
                    found.setdefault(node, depth)
        return sorted(found, key=lambda node: (found[node], node))

    def _owner(self, place: int) -> int:
        return self._program.questions.owner_of(place)

    def _chain(self, node: int, above: dict[int, int]) -> list[int]:
        chain = []
        while node != ROOT and node in above:
            chain.append(node)
            node = above[node]
        return chain

    def _never(self, owner: int, ip: int) -> bool:
        """Whether the instruction at `ip` of a function never runs."""
        if not owner:
            return False
        if (owner, ip) not in self._tried:
            self._tried[owner, ip] = self._refute(self._program.reach.functions[owner], ip)
        return self._tried[owner, ip]

    def _refute(self, function: Function, ip: int) -> bool:
        program = self._program
        wanted = program.blocks.containing(ip)
        if wanted is None:
            return False
        blocks = program.blocks.of(function)
        flow = {block.start: list(program.questions.graph.onward(block)) for block in blocks}
        leading = leading_to([wanted.start], flow.items())
        decisive = [
            block
            for block in blocks
            if block.ending == Ending.BRANCH
            and block.start in leading
            and len(leading & set(flow[block.start])) == 1
            and len(set(flow[block.start])) > 1
        ]
        for block in decisive:
            only = only_successor(block, program.questions.listings, program.values)
            if only is not None and only not in leading:
                flow[block.start] = [only]
        return leading_to([wanted.start], flow.items()).isdisjoint(self._begins(blocks))

    def _begins(self, blocks: list[Block]) -> Iterator[int]:
        """Yield the blocks of a function that something else than its own code leads to."""
        reach = self._program.reach
        for block in blocks:
            entered = block.start in reach.functions or block.start in reach.entered
            if entered or reach.came_from_outside(block.start):
                yield block.start
