"""
Would the kernel take this filter?

The rules of bpf_check_classic and check_load_and_stores in net/core/filter.c and of seccomp_check_filter in
kernel/seccomp.c, v6.12, no stricter and no laxer: what passes here is not refused with EINVAL there, and the
other way round.  Fields that an instruction does not use are not looked at, as in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shim.errors import FilterError
from shim.filter.data import SIZE
from shim.filter.program import (
    CONDITIONAL_JUMPS,
    MAX_INSTRUCTIONS,
    RETURNS,
    FilterProgram,
    Instruction,
    Opcode,
)

SCRATCH_CELLS = 16
"""BPF_MEMWORDS in include/uapi/linux/filter.h."""

_ALL_CELLS = (1 << SCRATCH_CELLS) - 1
_CLASSIC = "bpf_check_classic, net/core/filter.c, v6.12"
_SECCOMP = "seccomp_check_filter, kernel/seccomp.c, v6.12"
_OPCODES = frozenset(int(code) for code in Opcode)


def check(program: FilterProgram) -> None:
    """
    Return if the kernel takes `program` as a seccomp filter.

    Raises:
        FilterError: the first reason for which it answers EINVAL.

    Not checked:
        Whether the caller may install a filter at all (no_new_privs), and the limit on the length of all
        filters of a process together.
    """
    length = len(program)
    if not 1 <= length <= MAX_INSTRUCTIONS:
        want = f"1 to {MAX_INSTRUCTIONS}"
        raise FilterError("filter", f"{length} instructions", want, "BPF_MAXINSNS")
    for position, instruction in enumerate(program.instructions):
        _check_instruction(instruction, position, length)
    last = program.instructions[-1]
    if last.code not in RETURNS:
        raise FilterError(f"instruction {length - 1}", f"opcode 0x{last.code:02x}", "a return", _CLASSIC)
    _check_scratch(program)


def _check_instruction(instruction: Instruction, position: int, length: int) -> None:
    where = f"instruction {position}"
    if instruction.code not in _OPCODES:
        raise FilterError(where, f"opcode 0x{instruction.code:02x}", "an opcode of seccomp", _SECCOMP)
    for distance in _jump_distances(instruction):
        if position + 1 + distance >= length:
            raise FilterError(where, f"a jump by {distance}", "a target inside the filter", _CLASSIC)
    limit = _OPERAND_LIMITS.get(instruction.code)
    if limit is not None and not limit[0](instruction.k):
        raise FilterError(where, f"operand {instruction.k}", limit[1], limit[2])


_Limit = tuple[Callable[[int], bool], str, str]
_CELL: _Limit = (lambda k: k < SCRATCH_CELLS, "a scratch cell, 0 to 15", _CLASSIC)
_SHIFT: _Limit = (lambda k: k < 32, "a shift of at most 31", _CLASSIC)
_OPERAND_LIMITS: dict[int, _Limit] = {
    Opcode.DIV_K: (lambda k: k != 0, "a divisor other than 0", _CLASSIC),
    Opcode.LSH_K: _SHIFT,
    Opcode.RSH_K: _SHIFT,
    Opcode.ST: _CELL,
    Opcode.STX: _CELL,
    Opcode.LD_MEM: _CELL,
    Opcode.LDX_MEM: _CELL,
    Opcode.LD_ABS: (lambda k: k < SIZE and k % 4 == 0, "an aligned offset below 64", _SECCOMP),
}


def _jump_distances(instruction: Instruction) -> Iterator[int]:
    if instruction.code == Opcode.JA:
        yield instruction.k
    elif instruction.code in CONDITIONAL_JUMPS:
        yield instruction.jt
        yield instruction.jf


def _check_scratch(program: FilterProgram) -> None:
    """
    Refuse a load from a scratch cell that some way to it has not stored.

    As in the kernel, what is stored before an instruction is carried past a return to the one after it,
    although nothing runs that way, and is forgotten only after a jump.
    """
    stored_before = [_ALL_CELLS] * len(program)
    stored = 0
    for position, instruction in enumerate(program.instructions):
        stored &= stored_before[position]
        if instruction.code in (Opcode.ST, Opcode.STX):
            stored |= 1 << instruction.k
        elif instruction.code in (Opcode.LD_MEM, Opcode.LDX_MEM) and not stored >> instruction.k & 1:
            where, found = f"instruction {position}", f"a load of scratch cell {instruction.k}"
            raise FilterError(where, found, "a store on every way to it", "check_load_and_stores, v6.12")
        distances = tuple(_jump_distances(instruction))
        for distance in distances:
            stored_before[position + 1 + distance] &= stored
        if distances:
            stored = _ALL_CELLS
