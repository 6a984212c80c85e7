"""
One process made ready for questions: mapped, its functions known, its reachable code followed.

The recipe of the analysis up to the point where numbers are asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shim.analysis.architecture import Architecture
from shim.analysis.assumptions import DEFAULT, Assumption
from shim.analysis.blocks import Blocks
from shim.analysis.functions import Functions
from shim.analysis.machines import architecture_of
from shim.analysis.modules import Modules
from shim.analysis.objects import DataObjects
from shim.analysis.questions import Questions, questions
from shim.analysis.reach import Reach
from shim.analysis.roots import add_roots
from shim.analysis.uses import Uses
from shim.analysis.values import Values
from shim.elf.image import ElfImage
from shim.elf.memory import Memory
from shim.elf.process import Process


@dataclass(frozen=True, slots=True)
class Program:
    """A program with its reachable code; `values` answers what a location can hold."""

    process: Process
    architecture: Architecture
    functions: Functions
    reach: Reach
    questions: Questions
    modules: Modules
    uses: Uses

    @property
    def blocks(self) -> Blocks:
        """The blocks of everything reached."""
        return self.questions.blocks

    @property
    def values(self) -> Values:
        """What locations can hold."""
        return self.questions.values

    @property
    def memory(self) -> Memory:
        """The mapped images."""
        return self.process.memory

    @property
    def image(self) -> ElfImage:
        """The program's own file."""
        return self.process.images[0]

    def path(self, address: int) -> str:
        """Return the path of the file that `address` lies in; the program's own where nothing is mapped."""
        return (self.memory.image(address) or self.image).path


def load_program(process: Process, assume: Collection[Assumption] = DEFAULT) -> Program:
    """
    Return the analysed form of everything that is mapped for a program.

    Of the assumptions `assume`, those are made here that say which modules are opened.

    Raises:
        MalformedElfError: tables inside a file that contradict it.
    """
    memory = process.memory
    architecture = architecture_of(process.images[0])
    functions = Functions(memory)
    disassembler = architecture.disassembler(memory, functions)
    named = architecture.named_addresses(memory)
    objects = DataObjects(memory, functions.symbols, named, packed=not functions.go)
    reach = Reach(memory, functions, disassembler, objects, architecture)
    add_roots(reach, process, functions)

    def ask() -> Questions:
        return questions(memory, functions, disassembler, objects, reach, architecture)

    modules = Modules(process, reach, ask, assume)
    reach.run()
    while modules.add_roots():
        reach.run()
    return Program(process, architecture, functions, reach, ask(), modules, Uses(reach))
