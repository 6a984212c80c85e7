"""
What does a filter answer to a call, and at what cost?

The kernel's classic BPF machine for seccomp, in Python, for tests and for people who want to ask before they
launch.  Anything it does not know raises; it never guesses.

Source: net/core/filter.c and kernel/seccomp.c, v6.12.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from shim.errors import FilterError
from shim.filter.actions import ALLOW, KILL_THREAD
from shim.filter.check import SCRATCH_CELLS
from shim.filter.data import ARCH_OFFSET, NR_OFFSET, SIZE, SeccompData
from shim.filter.program import CONDITIONAL_JUMPS, FilterProgram, Instruction, Opcode

_WORD = 0xFFFF_FFFF
_SOURCE = "kernel/seccomp.c, v6.12"

_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "ADD": operator.add,
    "SUB": operator.sub,
    "MUL": operator.mul,
    "DIV": operator.floordiv,
    "AND": operator.and_,
    "OR": operator.or_,
    "XOR": operator.xor,
    # Shifts by register X use its low five bits, as the machine code that the kernel makes of them does.
    "LSH": lambda a, b: a << (b & 31),
    "RSH": lambda a, b: a >> (b & 31),
}
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "JEQ": operator.eq,
    "JGT": operator.gt,
    "JGE": operator.ge,
    "JSET": lambda a, b: bool(a & b),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a filter returned, all 32 bits, and how many instructions it ran for that."""

    action: int
    cost: int


@dataclass(slots=True)
class _Machine:
    """Registers A and X, the scratch cells, and the words of the call."""

    words: tuple[int, ...]
    a: int
    x: int
    cells: list[int | None]


def simulate(program: FilterProgram, data: SeccompData) -> Answer:
    """
    Return what `program` answers to the call `data`.

    Raises:
        FilterError: an instruction that the machine does not have, a scratch cell read before it was written,
        a
            run past the end.  None of these can happen in a program that `shim.filter.check` takes.

    Not checked:
        What the kernel decides without the filter: uretprobe and uprobe pass on x86_64, and with several
        filters the strictest answer counts.
    """
    machine = _Machine(words=data.words(), a=0, x=0, cells=[None] * SCRATCH_CELLS)
    position = cost = 0
    while position < len(program):
        instruction = program.instructions[position]
        cost += 1
        code = _opcode(instruction, position)
        if code == Opcode.RET_K:
            return Answer(instruction.k, cost)
        if code == Opcode.RET_A:
            return Answer(machine.a, cost)
        if code == Opcode.DIV_X and machine.x == 0:
            return Answer(KILL_THREAD, cost)  # bpf_convert_filter makes it a return of 0
        position += 1 + _distance(machine, code, instruction)
        _step(machine, code, instruction)
    raise FilterError(f"instruction {position}", "the end of the filter", "a return before it", _SOURCE)


def _opcode(instruction: Instruction, position: int) -> Opcode:
    try:
        return Opcode(instruction.code)
    except ValueError as error:
        where, found = f"instruction {position}", f"opcode 0x{instruction.code:02x}"
        raise FilterError(where, found, "an opcode of seccomp", _SOURCE) from error


def _distance(machine: _Machine, code: Opcode, instruction: Instruction) -> int:
    if code == Opcode.JA:
        return instruction.k
    if code not in CONDITIONAL_JUMPS:
        return 0
    name, source = code.name.split("_")
    holds = _COMPARISONS[name](machine.a, instruction.k if source == "K" else machine.x)
    return instruction.jt if holds else instruction.jf


def _step(machine: _Machine, code: Opcode, instruction: Instruction) -> None:
    """Change the registers and cells as `code` does; jumps change none."""
    name, _, source = code.name.partition("_")
    if name in _ARITHMETIC:
        operand = instruction.k if source == "K" else machine.x
        machine.a = _ARITHMETIC[name](machine.a, operand) & _WORD
        return
    match code:
        case Opcode.NEG:
            machine.a = -machine.a & _WORD
        case Opcode.TAX:
            machine.x = machine.a
        case Opcode.TXA:
            machine.a = machine.x
        case Opcode.ST:
            machine.cells[instruction.k] = machine.a
        case Opcode.STX:
            machine.cells[instruction.k] = machine.x
        case _ if name == "LD":
            machine.a = _loaded(machine, source, instruction.k)
        case _ if name == "LDX":
            machine.x = _loaded(machine, source, instruction.k)


def _loaded(machine: _Machine, mode: str, k: int) -> int:
    match mode:
        case "IMM":
            return k
        case "LEN":
            return SIZE
        case "ABS" if k % 4 == 0 and k < SIZE:
            return machine.words[k // 4]
        case "MEM" if k < SCRATCH_CELLS:
            cell = machine.cells[k]
            if cell is not None:
                return cell
    raise FilterError(f"load {mode}", str(k), "a word of the call or a written scratch cell", _SOURCE)


def is_constant_allow(program: FilterProgram, nr: int, arch: int) -> bool:
    """
    Return whether the kernel answers `nr` from its bitmap of allowed numbers and never runs the filter.

    The kernel follows loads of `nr` and `arch`, `AND` and comparisons with constants, and jumps, to a return
    of exactly SECCOMP_RET_ALLOW; at anything else it gives up.

    Source:
        kernel/seccomp.c, seccomp_is_const_allow, v6.12.
    """
    machine = _Machine(words=SeccompData(nr, arch).words(), a=0, x=0, cells=[])
    position = 0
    while position < len(program):
        instruction = program.instructions[position]
        match instruction.code:
            case Opcode.RET_K:
                return instruction.k == ALLOW
            case Opcode.LD_ABS if instruction.k in (NR_OFFSET, ARCH_OFFSET):
                machine.a = machine.words[instruction.k // 4]
            case Opcode.AND_K:
                machine.a &= instruction.k
            case Opcode.JA | Opcode.JEQ_K | Opcode.JGE_K | Opcode.JGT_K | Opcode.JSET_K:
                position += _distance(machine, Opcode(instruction.code), instruction)
            case _:
                return False
        position += 1
    return False
