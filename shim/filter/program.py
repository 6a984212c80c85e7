"""
What does a filter consist of?  Instructions of the kernel's classic BPF machine, and their bytes.

Source: include/uapi/linux/filter.h and bpf_common.h, v6.12; the opcodes are those that seccomp_check_filter
in kernel/seccomp.c accepts, and no others.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from shim.errors import FilterError

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS in include/uapi/linux/bpf_common.h."""

_SOCK_FILTER = struct.Struct("<HBBI")
"""struct sock_filter: code 16 bits, jt 8, jf 8, k 32; of a little-endian machine."""


class Opcode(IntEnum):
    """The instructions a seccomp filter may use; `_K` compares or computes with `k`, `_X` with register X."""

    LD_IMM = 0x00
    LDX_IMM = 0x01
    ST = 0x02
    STX = 0x03
    ADD_K = 0x04
    JA = 0x05
    RET_K = 0x06
    TAX = 0x07
    ADD_X = 0x0C
    SUB_K = 0x14
    JEQ_K = 0x15
    RET_A = 0x16
    SUB_X = 0x1C
    JEQ_X = 0x1D
    LD_ABS = 0x20
    MUL_K = 0x24
    JGT_K = 0x25
    MUL_X = 0x2C
    JGT_X = 0x2D
    DIV_K = 0x34
    JGE_K = 0x35
    DIV_X = 0x3C
    JGE_X = 0x3D
    OR_K = 0x44
    JSET_K = 0x45
    OR_X = 0x4C
    JSET_X = 0x4D
    AND_K = 0x54
    AND_X = 0x5C
    LD_MEM = 0x60
    LDX_MEM = 0x61
    LSH_K = 0x64
    LSH_X = 0x6C
    RSH_K = 0x74
    RSH_X = 0x7C
    LD_LEN = 0x80
    LDX_LEN = 0x81
    NEG = 0x84
    TXA = 0x87
    XOR_K = 0xA4
    XOR_X = 0xAC


CONDITIONAL_JUMPS = frozenset(
    {
        Opcode.JEQ_K,
        Opcode.JEQ_X,
        Opcode.JGT_K,
        Opcode.JGT_X,
        Opcode.JGE_K,
        Opcode.JGE_X,
        Opcode.JSET_K,
        Opcode.JSET_X,
    }
)
RETURNS = frozenset({Opcode.RET_K, Opcode.RET_A})


@dataclass(frozen=True, slots=True, order=True)
class Instruction:
    """One `struct sock_filter`; `jt` and `jf` count instructions from the next one on."""

    code: int
    jt: int
    jf: int
    k: int


class Moved(IntEnum):
    """
    What of the process an operand waits for, because only the kernel knows where it is.

    What the loader maps has the numbers behind these, in an order that whoever makes the filter chooses.
    """

    PROGRAM = 0
    """The program's own file, by how far it is from the addresses in it."""
    VDSO = 1
    """The kernel's code in the process, from its first byte."""


class Part(IntEnum):
    """What is added to an operand, modulo 2**32; as `enum plan_part` in native/plan.h."""

    LOW = 0
    HIGH = 1
    SIZE = 2


@dataclass(frozen=True, slots=True, order=True)
class Relocation:
    """Before it is installed, the operand `k` of instruction `index` gets `part` of where `moved` is."""

    index: int
    moved: int
    part: int


@dataclass(frozen=True, slots=True)
class FilterProgram:
    """
    The instructions of one seccomp filter, in the order in which the kernel holds them.

    `relocations`, by increasing index, are what is still to be added to operands.
    """

    instructions: tuple[Instruction, ...]
    relocations: tuple[Relocation, ...] = ()

    def __len__(self) -> int:
        """Return the number of instructions."""
        return len(self.instructions)

    def encode(self) -> bytes:
        """
        Return the bytes of the `struct sock_filter` array, 8 for each instruction, little endian.

        Raises:
            FilterError: a field does not fit its width.
        """
        try:
            return b"".join(_SOCK_FILTER.pack(i.code, i.jt, i.jf, i.k) for i in self.instructions)
        except struct.error as error:
            raise FilterError(
                "instruction", str(error), "16, 8, 8 and 32 bits", "struct sock_filter"
            ) from error

    def relocated(self, places: Mapping[int, range]) -> FilterProgram:
        """
        Return the program as it is installed in a process that has what is moved at `places`.

        Raises:
            KeyError: a relocation waits for something else; the caller's bug.
        """
        instructions = list(self.instructions)
        for relocation in self.relocations:
            place = places[relocation.moved]
            added = {
                Part.LOW: place.start,
                Part.HIGH: place.start >> 32,
                Part.SIZE: len(place),
            }[Part(relocation.part)]
            old = instructions[relocation.index]
            instructions[relocation.index] = replace(old, k=(old.k + added) & 0xFFFF_FFFF)
        return FilterProgram(tuple(instructions))

    @classmethod
    def decode(cls, data: bytes) -> FilterProgram:
        """
        Return the program that `data` holds.

        Raises:
            FilterError: the length is not a multiple of 8 bytes.

        Not checked:
            That the kernel would take it: that is `shim.filter.check`.
        """
        if len(data) % _SOCK_FILTER.size:
            raise FilterError("filter", f"{len(data)} bytes", "a multiple of 8 bytes", "struct sock_filter")
        return cls(tuple(Instruction(*fields) for fields in _SOCK_FILTER.iter_unpack(data)))
