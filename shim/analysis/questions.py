"""
Everything that is needed to ask what a location can hold, over what has been reached so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shim.analysis.architecture import Architecture
from shim.analysis.assumptions import InForce
from shim.analysis.blocks import Blocks
from shim.analysis.flow import Flow
from shim.analysis.frames import Listings
from shim.analysis.functions import Functions
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects
from shim.analysis.reach import Reach
from shim.analysis.runs import Disassembler, Instruction, Run
from shim.analysis.values import Values
from shim.elf.memory import Memory


@dataclass(frozen=True, slots=True)
class Questions:
    """The blocks of what was reached, how control flows between them, and what locations can hold."""

    reach: Reach
    blocks: Blocks
    graph: Graph
    listings: Listings
    flow: Flow
    values: Values
    assumptions: InForce
    disassembler: Disassembler
    owners: dict[int, int]

    def owner_of(self, address: int) -> int:
        """Return the entry of the function that first reached the instruction at `address`, 0 for none."""
        owner = self.owners.get(address)
        if owner is None:
            owner = self.owners[address] = self.reach.owner_of(address)
        return owner

    def naming(self, addresses: Iterable[int]) -> set[int]:
        """Return the entries of the functions whose code names one of `addresses`."""
        return {self.owner_of(ip) for ip in self.graph.naming(addresses)} - {0}

    def narrow(self, alive: Callable[[int], bool]) -> None:
        """Take into account that only instructions whose address is `alive` ever run."""
        self.graph.alive = alive
        self.flow.forget()

    def instructions(self, run: Run) -> list[Instruction]:
        """Return the instructions of a run."""
        return self.disassembler.instructions(run.start, run.end)


def questions(  # the parts of a process, each its own type
    memory: Memory,
    functions: Functions,
    disassembler: Disassembler,
    objects: DataObjects,
    reach: Reach,
    architecture: Architecture,
) -> Questions:
    """Return what can be asked now; when more is reached later, ask again for a new one."""
    blocks = Blocks(reach)
    graph = Graph(reach, blocks)
    listings = Listings(blocks, disassembler, architecture)
    assumptions = InForce()
    flow = Flow(reach, blocks, graph, listings, objects, assumptions, go=functions.is_go)
    values = Values(
        memory, reach, blocks, graph, listings, objects, flow.callers_of, assumptions, go=functions.is_go
    )
    return Questions(reach, blocks, graph, listings, flow, values, assumptions, disassembler, {})
