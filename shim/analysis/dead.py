"""
What of the reached code is known never to run?

Reachability follows everything once.  Each narrowing, proved or assumed, only takes away functions that are
never entered and code that is never run; `uses` tells what remains.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field


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
