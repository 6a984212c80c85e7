"""
By which shortest chain of calls does the program get to a function?
"""

from __future__ import annotations

from collections import deque

from shim.analysis.functions import Functions
from shim.analysis.reach import Edge, Reach

MAX_LINKS = 64


class Chains:
    """Shortest chains from any root to every reached function, breadth first; addresses as in the file."""

    def __init__(self, reach: Reach, functions: Functions, base: int) -> None:
        self._functions = functions
        self._base = base
        outgoing: dict[int, list[Edge]] = {}
        for edge in reach.edges:
            outgoing.setdefault(edge.source, []).append(edge)
        self._first: dict[int, Edge] = {}
        self._distance: dict[int, int] = {0: 0}
        queue = deque([0])
        while queue:
            source = queue.popleft()
            for edge in outgoing.get(source, ()):
                if edge.target not in self._first:
                    self._first[edge.target] = edge
                    self._distance[edge.target] = self._distance[source] + 1
                    queue.append(edge.target)

    def distance(self, entry: int) -> int:
        """Return the number of links to the function at `entry`; a large number where no chain is known."""
        return self._distance.get(entry, 1 << 30)

    def to(self, entry: int) -> tuple[str, ...]:
        """Return the chain to the function at `entry`, outermost first, one link a string."""
        links: list[str] = []
        current = entry
        while current in self._first and len(links) < MAX_LINKS:
            edge = self._first[current]
            place = f" at {edge.ip - self._base:#x}" if edge.ip else ""
            links.append(f"{edge.how}{place}: {self._functions.name(edge.target)}")
            current = edge.source
        return tuple(reversed(links))
