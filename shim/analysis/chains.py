"""
By which shortest chain of uses does the process get to a function?
"""

from __future__ import annotations

from collections import deque

from shim.analysis.functions import Functions
from shim.analysis.uses import Remaining
from shim.elf.memory import Memory

MAX_LINKS = 64


class Chains:
    """
    Shortest chains from any root to every live function and data object, found breadth first.

    Addresses are as in the files.

    Args:
        remaining: What chains may lead over.
    """

    def __init__(
        self,
        remaining: Remaining,
        functions: Functions,
        memory: Memory,
    ) -> None:
        reach = remaining.uses.reach
        self._functions = functions
        self._memory = memory
        self._reach = reach
        # For each function or object what leads to it: (from, by the instruction at, or 0).
        self._first: dict[int, tuple[int, int]] = {}
        self._distance: dict[int, int] = {}
        queue: deque[int] = deque()
        for start in (*reach.roots, *reach.root_objects):
            self._distance[start] = 1
            queue.append(start)
        while queue:
            source = queue.popleft()
            new = [target for target in remaining.targets.get(source, ()) if target not in self._distance]
            if not new:
                continue
            for ip, target in remaining.of(source):
                if target in new and target not in self._distance:
                    self._first[target] = (source, ip)
                    self._distance[target] = self._distance[source] + 1
                    queue.append(target)

    def distance(self, entry: int) -> int:
        """Return the number of links to the function at `entry`; a large number where no chain is known."""
        return self._distance.get(entry, 1 << 30)

    def to(self, entry: int) -> tuple[str, ...]:
        """Return the chain to the function at `entry`, outermost first, one link a string."""
        links: list[str] = []
        current = entry
        while current in self._first and len(links) < MAX_LINKS:
            source, ip = self._first[current]
            if current in self._reach.functions:
                links.append(f"{self._how(source, ip, current)}: {self._name(current)}")
            current = source
        why = self._reach.roots.get(current) or self._reach.root_objects.get(current)
        if why is not None:
            name = self._name(current) if current in self._reach.functions else ""
            links.append(f"{why}: {name}" if name else why)
        return tuple(reversed(links))

    def _name(self, entry: int) -> str:
        """Return the name of a function, with its file where that is not the program's own."""
        image = self._memory.image(entry)
        own = image is None or image is self._memory.images[0]
        name = self._functions.name(entry)
        return name if own or image is None else f"{name} ({image.path.rsplit('/', 1)[-1]})"

    def _how(self, source: int, ip: int, target: int) -> str:
        if ip == 0:
            return "data that points to"
        place = f"at {self._memory.in_file(ip):#x}"
        run = self._reach.containing(ip)
        if run is None or source not in self._reach.functions:
            return f"uses {place}"
        if (ip, target) in run.calls or (
            ip == run.last and target in {run.target, self._reach.constant_pointer(run.target)}
        ):
            called = (ip, target) in run.calls or run.end in self._reach.owner
            return f"calls {place}" if called else f"calls or jumps {place} to"
        if any(reference.ip == ip for reference in run.references):
            return f"takes the address {place} of"
        return f"jumps {place} to"
