"""
One static program made ready for questions: mapped, its functions known, its reachable code followed.

The recipe of the analysis up to the point where numbers are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.analysis.assumptions import Assumptions
from shim.analysis.blocks import Blocks
from shim.analysis.decode import Disassembler
from shim.analysis.flow import Flow
from shim.analysis.frames import Listings
from shim.analysis.functions import Functions
from shim.analysis.graph import Graph
from shim.analysis.objects import DataObjects, named_addresses
from shim.analysis.reach import Reach
from shim.analysis.values import Values
from shim.elf.image import ElfImage
from shim.elf.memory import Memory
from shim.elf.relocations import relocations
from shim.errors import UnsupportedElfError

# What the startup code walks or copies without a reference that the analysis could follow.
_ROOT_ARRAYS = (".preinit_array", ".init_array", ".fini_array", ".tdata", ".ctors", ".dtors")
_ROOT_CODE = (".init", ".fini")


@dataclass(frozen=True, slots=True)
class Program:
    """A program with its reachable code; `values` answers what a location can hold."""

    image: ElfImage
    memory: Memory
    functions: Functions
    reach: Reach
    blocks: Blocks
    graph: Graph
    values: Values
    assumptions: Assumptions

    def in_file(self, address: int) -> int:
        """Return `address` as the file that it lies in has it."""
        image = self.memory.image(address)
        return address - (image.base if image else 0)


def load_program(image: ElfImage) -> Program:
    """
    Return the analysed form of a static program.

    Raises:
        UnsupportedElfError: a dynamic program or a shared object.
        MalformedElfError: tables inside the file that contradict it.
    """
    refuse_dynamic(image)
    memory = Memory((image,), relocations(image))
    functions = Functions(memory)
    disassembler = Disassembler(memory)
    objects = DataObjects(memory, functions.symbols, named_addresses(memory), packed=not functions.go)
    reach = Reach(memory, functions, disassembler, objects)
    _add_roots(reach, image, memory, functions)
    reach.run()
    blocks = Blocks(reach, disassembler)
    graph = Graph(reach, blocks)
    listings = Listings(blocks, disassembler)
    go = bool(functions.go)
    assumptions = Assumptions()
    flow = Flow(reach, blocks, graph, listings, objects, assumptions, go=go)
    values = Values(
        memory, reach, blocks, graph, listings, objects, flow.callers_of, assumptions, callee_saved=not go
    )
    return Program(image, memory, functions, reach, blocks, graph, values, assumptions)


def refuse_dynamic(image: ElfImage) -> None:
    """
    Raise for programs whose code is not all in this file.

    A static-PIE has PT_DYNAMIC too; what makes a program dynamic is an interpreter or a library it needs.
    """
    want = "a static program (dynamic programs are not supported yet)"
    if image.interpreter is not None:
        raise UnsupportedElfError(f"{image.path}: PT_INTERP", image.interpreter, want)
    needed = sum(1 for tag, _ in image.dynamic if tag == "DT_NEEDED")
    if needed:
        raise UnsupportedElfError(f"{image.path}: PT_DYNAMIC", f"{needed} needed libraries", want)


def _add_roots(reach: Reach, image: ElfImage, memory: Memory, functions: Functions) -> None:
    reach.root(image.entry, "entry point")
    for section in image.sections:
        if section.name in _ROOT_ARRAYS:
            reach.root_data(range(section.address, section.address + section.size), section.name)
        elif section.name in _ROOT_CODE and memory.executable(section.address):
            reach.root(section.address, section.name)
    tags = dict(image.dynamic)
    for array in ("DT_PREINIT_ARRAY", "DT_INIT_ARRAY", "DT_FINI_ARRAY"):
        if array in tags:
            start = tags[array]
            reach.root_data(range(start, start + tags.get(array + "SZ", 0)), array)
    for tag in ("DT_INIT", "DT_FINI"):
        if memory.executable(tags.get(tag, 0)):
            reach.root(tags[tag], tag)
    for resolver in memory.relocations.resolvers.values():
        reach.root(resolver, "IRELATIVE resolver")
    for function in functions.go:
        reach.root(function.start, "Go line table")
