"""
What of the reached code and data is still reached when parts of it are known never to run?

Reachability follows everything once.  Each narrowing, proved or assumed, only takes away functions that are
never entered and code that is never run; what remains is asked here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from shim.analysis.reach import Reach


@dataclass(slots=True)
class Dead:
    """Code that never runs: `functions` by entry, and `ranges` of addresses inside others."""

    functions: set[int] = field(default_factory=set)
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add_ranges(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Add (first, behind) address ranges."""
        self.ranges = sorted({*self.ranges, *ranges})

    def covers(self, address: int) -> bool:
        """Whether the instruction at `address` never runs."""
        index = bisect_right(self.ranges, (address, 1 << 64)) - 1
        return index >= 0 and address < self.ranges[index][1]


def live(reach: Reach, dead: Dead, roots: Collection[int] | None = None) -> set[int]:
    """
    Return the entries of functions and the starts of data objects that are reached without what is `dead`.

    `roots` are where to begin: functions and objects; those of `reach` if not given.
    """
    found: set[int] = set()
    pending = [*reach.roots, *reach.root_objects] if roots is None else list(roots)
    while pending:
        current = pending.pop()
        if current in found or current in dead.functions:
            continue
        found.add(current)
        function = reach.functions.get(current)
        if function is None:
            pending += reach.holds.get(current, ())
        elif dead.ranges:
            pending += [target for ip, target in function.uses if not dead.covers(ip)]
        else:
            pending += [target for _, target in function.uses]
    return found
