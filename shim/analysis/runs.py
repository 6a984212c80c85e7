"""
What is a straight run of instructions, whatever the instruction set?

The vocabulary between the disassemblers, which make runs, and everything that follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

# An instruction as its architecture gives it.  Only its address `ip` and the address behind it, `next_ip`,
# are for everybody; the rest is asked of the `Architecture`.
Instruction: TypeAlias = Any


class Ending:
    """How control leaves a run or a block: plain numbers, for x86 those of `enum x86_control`."""

    FALL: Final = 1
    JUMP: Final = 2
    BRANCH: Final = 3
    CALL: Final = 4
    CALL_INDIRECT: Final = 5
    JUMP_INDIRECT: Final = 6
    RETURN: Final = 7
    STOP: Final = 8
    INVALID: Final = 9


class Use:
    """
    How an instruction names an address: itself, by a scalar access, or with a register; as `enum x86_use`.
    """

    ADDRESS: Final = 1
    READ: Final = 2
    WRITE: Final = 3
    INDEXED: Final = 4


class Abi:
    """Which way into the kernel an instruction takes: the architecture's own, or an older one beside it."""

    SYSCALL: Final = 1
    INT80: Final = 2
    SYSENTER: Final = 3


class Reference(NamedTuple):
    """Instruction `ip` names `address`; `size` in bytes for scalar accesses, else 0."""

    ip: int
    address: int
    use: int
    size: int


@dataclass(slots=True)
class Run:
    """
    Instructions `start`..`end` that follow one another, conditional branches and calls that return included.

    `target` is the direct target of the last instruction, or the address of the pointer it goes through
    when that is a constant, or 0.  `last` is the address of the last instruction, 0 if the run falls through.
    `branches` are (address, target) of conditional branches, `calls` (address, callee) of direct calls whose
    callee was known to return, `indirect_calls` addresses of calls through registers and computed pointers.
    """

    start: int
    end: int
    last: int
    ending: int
    target: int
    branches: list[tuple[int, int]]
    calls: list[tuple[int, int]]
    indirect_calls: list[int]
    references: list[Reference]
    kernel_entries: list[tuple[int, int]]


# What `Region.marks` holds for a byte: 0 where nothing decoded begins, or an instruction, one that something
# jumps to, the first of a run.
MARK: Final = 1
MARK_LEADER: Final = 2
MARK_RUN: Final = 3
MAX_RUN: Final = 4096


class Region(Protocol):
    """The bytes that one executable segment has in its file, and which of them have been decoded."""

    start: int
    end: int
    marks: bytearray


class Disassembler(Protocol):
    """Decodes runs out of the executable segments of one process, each byte once."""

    @property
    def regions(self) -> Sequence[Region]:
        """All regions, by address."""

    def region(self, address: int) -> Region | None:
        """Return the region with `address` inside the bytes that the file has for it, or None."""

    def instructions(self, start: int, end: int) -> list[Instruction]:
        """Return the instructions from `start` up to `end`."""

    def starts(self, start: int, end: int) -> list[int]:
        """Return where the instructions from `start` up to `end` begin."""

    def behind(self, ip: int) -> int:
        """Return the address behind the instruction at `ip`, which was decoded before."""

    def faults(self, start: int) -> bool:
        """Whether code at `start` runs into bytes that are no instruction before it could jump anywhere."""

    def inside_instruction(self, address: int) -> bool:
        """Whether an instruction that was decoded before `address` extends over it."""

    def run(self, start: int, returning: set[int]) -> Run:
        """
        Return the run that begins at `start`, and mark what it covers.

        It ends where control surely leaves, at a call of something that is not in `returning`, before bytes
        that were decoded already, or after `MAX_RUN` bytes.  A run into bytes that are no instruction, or out
        of the segment, ends in INVALID: the processor would fault there.
        """
