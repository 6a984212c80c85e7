"""
What uses what among the reached functions and data objects, and what is left when parts never run?

Reachability follows everything once; whatever asks about the whole of it afterwards walks these edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from shim.analysis.dead import Dead
from shim.analysis.reach import Reach


class Uses:
    """
    The edges of one process, made once when `reach` has finished.

    Attributes:
        targets: For each function entry and start of a data object what it uses, each once.
    """

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.targets: dict[int, tuple[int, ...]] = {
            start: tuple(dict.fromkeys(held)) for start, held in reach.holds.items()
        }
        for entry, function in reach.functions.items():
            self.targets[entry] = tuple({target: None for _, target in function.uses})

    def without(self, dead: Dead) -> Remaining:
        """Return what is left of the edges when what is `dead` never runs."""
        return Remaining(self, dead)

    def of(self, node: int) -> list[tuple[int, int]]:
        """Return (instruction, target) of what a function uses, in order; 0 for a data object's."""
        function = self.reach.functions.get(node)
        if function is not None:
            return function.uses
        return [(0, target) for target in self.reach.holds.get(node, ())]


class Remaining:
    """
    The edges that are left, and who is reached over them.

    Attributes:
        targets: For each live function and object what it uses, dead functions left out.
        live: The entries of functions and starts of objects that the roots reach.
    """

    def __init__(self, uses: Uses, dead: Dead) -> None:
        self.uses = uses
        self.dead = dead
        # Only functions with dead code inside differ from what `uses` has.
        self._changed = {
            owner: self._filtered(owner) for owner in {uses.reach.owner_of(low) for low, _ in dead.ranges}
        }
        self.live = self.reached([*uses.reach.roots, *uses.reach.root_objects])
        changed, everything, dying = self._changed, uses.targets, dead.functions
        self.targets: dict[int, tuple[int, ...]] = {}
        for node in self.live:
            targets = changed[node] if node in changed else everything.get(node, ())
            if not dying.isdisjoint(targets):
                targets = tuple(target for target in targets if target not in dying)
            self.targets[node] = targets

    def _filtered(self, node: int) -> tuple[int, ...]:
        return tuple({target: None for _, target in self.of(node)})

    def of(self, node: int) -> list[tuple[int, int]]:
        """Return (instruction, target) of what a node uses where it runs, in order."""
        edges = self.uses.of(node)
        covers = self.dead.covers
        return [edge for edge in edges if not covers(edge[0])] if self.dead.ranges else edges

    def reached(self, roots: Iterable[int]) -> set[int]:
        """Return what is reached from `roots`, themselves included."""
        dead, changed, targets = self.dead.functions, self._changed, self.uses.targets
        found: set[int] = set()
        frontier = set(roots) - dead
        while frontier:
            found |= frontier
            following: list[Collection[int]] = [
                changed[node] if node in changed else targets.get(node, ()) for node in frontier
            ]
            frontier = set().union(*following) - found - dead
        return found
