"""
What does the analysis ask of an instruction set?

One record per architecture: its calling conventions, and functions that say what an instruction does in words
that are the same for all.  Whatever knows a mnemonic or a register by name is behind this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from shim.analysis.functions import Functions
from shim.analysis.places import Frame, Place
from shim.analysis.registers import NONE
from shim.analysis.runs import Disassembler, Instruction, Run
from shim.analysis.semantics import Effect, Stored, Value
from shim.elf.memory import Memory


@dataclass(frozen=True, slots=True)
class Conventions:
    """
    Which registers calls and kernel entries use.

    Attributes:
        number: Where the kernel takes the syscall number from, of which it uses the bits of `number_mask`.
        kernel_arguments: Where it takes the arguments from, in order.
        arguments: Where functions take integers and pointers from, in order.
        results: Where they return them.
        callee_saved: What they keep.
        stack_pointer: The stack pointer.
        pushed_by_call: Bytes that a call pushes, for its return address.
    """

    number: int
    number_mask: int
    kernel_arguments: tuple[int, ...]
    arguments: tuple[int, ...]
    results: frozenset[int]
    callee_saved: frozenset[int]
    stack_pointer: int
    pushed_by_call: int


class Act:
    """What an instruction does with a pointer, as far as `flow` follows pointers."""

    OTHER: Final = 0
    CALL: Final = 1
    JUMP: Final = 2
    COMPARE: Final = 3
    MOVE: Final = 4
    """A register, or a constant, into a register."""
    ADDRESS: Final = 5
    """The address of what `memory` names into a register."""
    LOAD: Final = 6
    STORE: Final = 7
    PUSH: Final = 8
    POP: Final = 9
    ADD: Final = 10
    """`distance` to a register; None if that is not constant."""


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """
    `size` bytes at base + index + displacement; `address` where that is constant and not thread-local.

    `offset` is how far behind the first byte that the instruction accesses they lie.
    """

    base: int
    index: int
    displacement: int
    size: int
    address: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """
    One thing an instruction does.

    `destination` and `source` are registers, NONE for anything else; `whole` whether all bytes of a pointer
    are moved; of a call or jump `source` is the register it goes through.
    """

    act: int
    destination: int = NONE
    source: int = NONE
    memory: MemoryOperand | None = None
    distance: int | None = None
    whole: bool = True

    @property
    def reads(self) -> tuple[int, ...]:
        """The registers that this needs."""
        return (self.source,) if self.memory is None else (self.source, self.memory.base, self.memory.index)


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    What decides a conditional branch: `register` before the instruction at `ip`, as far as `mask` goes.

    Where `register` is NONE it is the memory operand of that instruction.

    `taken` tells whether the branch is taken for a number there; None where that is not known.
    """

    ip: int
    register: int
    mask: int
    taken: Callable[[int], bool | None]


class JumpTables(Protocol):
    """Resolves the indirect jumps of one process."""

    def resolve(self, run: Run, start: int, came_from: int) -> tuple[int, ...] | None:
        """
        Return where the table behind the indirect jump that ends `run` leads; None for a jump by pointer.

        The path to look at enters the run at `start` and comes from the instruction at or around `came_from`,
        0 if it begins there.

        Raises:
            ComputedJumpError: the target is the result of arithmetic on something other than a table.
        """


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What the search for a jump table may ask about the code around the jump.

    Attributes:
        memory: The mapped images.
        disassembler: For the instructions of runs.
        containing: Returns the run with an address inside, or None.
        came_from: Returns the address from which a run was first reached, or 0 at a function's entry.
        extent: Returns the code range that is believed to be the function around an address.
        begins: Whether an instruction of the function around an address begins there; outside any, it may.
        named: Data addresses that code names: a table of unknown length ends where another object begins.
    """

    memory: Memory
    disassembler: Disassembler
    containing: Callable[[int], Run | None]
    came_from: Callable[[Run], int]
    extent: Callable[[int], range]
    begins: Callable[[int], bool]
    named: set[int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """
    One instruction set.

    Attributes:
        name: As profiles have it.
        conventions: Its registers.
        disassembler: Makes the disassembler of a process.
        named_addresses: Returns the aligned addresses that code, reached or not, puts into registers.
        jump_tables: Makes what resolves indirect jumps.
        writes: Returns the full registers that an instruction writes.
        reads: Whether an instruction reads any part of a full register.
        may_keep: Whether an instruction that writes a full register may leave it as it was.
        step: Returns the frame after an instruction that is no call.
        effect: Returns what an instruction that writes a full register leaves in it.
        loaded: Returns the load of an instruction's memory operand.
        stored: Returns what an instruction stores into the frame, where that is known.
        stores_to_memory: Whether an instruction writes memory that it names.
        outside_frames: Whether what it writes is surely in no frame: a variable, or thread-local.
        place_of_memory: Returns the place in the frame that its memory operand names, or None.
        indexed_place: Returns where an array of the frame begins that its memory operand indexes, or None.
        named_place: Returns the place in the frame whose address it computes, or None.
        mangles: Whether an instruction encrypts the address that the one before it computed, as setjmp() does
            with the stack pointer: nothing is accessed through what is left.
        variable_store: Returns what a plain store puts at an address: a full register, a constant; or None.
        forms: Returns what an instruction does with pointers.
        equality: Returns (register, number) if the instructions end in a branch that goes one way, given as
            whether it is taken, only when they are equal.
        comparison: Returns what decides the branch at the end of instructions, or None.
        equals_address: Whether the branch at the end of instructions is taken when what it compares with an
            address that they name is equal to that; None if it compares with nothing of the kind.
        frame_switches: Returns where code, given with its address, leaves its frame for one that is not its
            caller's.
        keeps_return: Whether an instruction of the function at an entry, with the frame before it, takes the
            address that the function returns to for more than to return.
        loads_thread: Whether an instruction loads the address of its thread's descriptor.
        clears_mutex_protocol: Returns where code, given with its address, clears the protocol's bits in the
            flags of a mutex; None if that is not recognised.
    """

    name: str
    conventions: Conventions
    disassembler: Callable[[Memory, Functions], Disassembler]
    named_addresses: Callable[[Memory], set[int]]
    jump_tables: Callable[[Surroundings], JumpTables]
    writes: Callable[[Instruction], frozenset[int]]
    reads: Callable[[Instruction, int], bool]
    may_keep: Callable[[Instruction, int], bool]
    step: Callable[[Frame, Instruction], Frame]
    effect: Callable[[Instruction, int, Frame], Effect]
    loaded: Callable[[Instruction, Frame], Effect]
    stored: Callable[[Instruction, Frame], tuple[Stored, ...]]
    stores_to_memory: Callable[[Instruction], bool]
    outside_frames: Callable[[Instruction], bool]
    place_of_memory: Callable[[Frame, Instruction], Place | None]
    indexed_place: Callable[[Frame, Instruction], Place | None]
    named_place: Callable[[Frame, Instruction], Place | None]
    mangles: Callable[[Instruction, Instruction], bool]
    variable_store: Callable[[Instruction, int], int | Value | None]
    forms: Callable[[Instruction], tuple[Form, ...]]
    equality: Callable[[Sequence[Instruction], bool], tuple[int, int] | None]
    comparison: Callable[[Sequence[Instruction]], Comparison | None]
    equals_address: Callable[[Sequence[Instruction], int], bool | None]
    frame_switches: Callable[[bytes, int], Iterable[int]]
    keeps_return: Callable[[int, Instruction, Frame], bool]
    loads_thread: Callable[[Instruction], bool]
    clears_mutex_protocol: Callable[[bytes, int], Iterable[int] | None]
