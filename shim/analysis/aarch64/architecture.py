"""The AArch64 instruction set, as the analysis asks about it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from shim.analysis.aarch64.branches import comparison, equality, equals_address
from shim.analysis.aarch64.decode import Disassembler, named_addresses
from shim.analysis.aarch64.forms import forms
from shim.analysis.aarch64.frames import (
    indexed_place,
    may_keep,
    named_place,
    outside_frames,
    place_of_memory,
    reads,
    step,
    stores_to_memory,
    writes,
)
from shim.analysis.aarch64.instruction import Instruction, Op
from shim.analysis.aarch64.jumptables import JumpTables
from shim.analysis.aarch64.registers import ARGUMENTS, CALLEE_SAVED, FP, LR, RESULTS, SP, X8
from shim.analysis.aarch64.semantics import effect_of, memory_operand, stored_operands, variable_store
from shim.analysis.architecture import Architecture, Conventions
from shim.analysis.places import Frame

# add sp, xN, #imm, but for x29 and sp itself: where a frame is left for one that is not the caller's.
_SETS_STACK, _SETS_STACK_MASK = 0x9100_001F, 0xFF80_001F
_OWN_FRAME = frozenset({29, 31})


def _frame_switches(code: bytes, start: int) -> Iterable[int]:
    words = struct.unpack_from(f"<{len(code) // 4}I", code)
    return (
        start + 4 * number
        for number, word in enumerate(words)
        if word & _SETS_STACK_MASK == _SETS_STACK and word >> 5 & 31 not in _OWN_FRAME
    )


def _keeps_return(_entry: int, instruction: Instruction, _frame: Frame) -> bool:
    if instruction.op == Op.XOR:  # pointer mangling
        return LR in {instruction.first, instruction.second}
    return instruction.op == Op.STORE and LR in instruction.transfers and instruction.first not in {SP, FP}


def _loads_thread(instruction: Instruction) -> bool:
    return instruction.op == Op.THREAD


def _clears_mutex_protocol(_code: bytes, _start: int) -> Iterable[int] | None:
    return None


# The kernel takes the number from w8 and ignores the constant of svc: arch/arm64/kernel/syscall.c,
# do_el0_svc and invoke_syscall, v6.12.
AARCH64: Final = Architecture(
    name="aarch64",
    conventions=Conventions(
        number=X8,
        number_mask=0xFFFF_FFFF,
        kernel_arguments=ARGUMENTS[:6],
        arguments=ARGUMENTS,
        results=RESULTS,
        callee_saved=CALLEE_SAVED,
        stack_pointer=SP,
        pushed_by_call=0,
    ),
    disassembler=Disassembler,
    named_addresses=named_addresses,
    jump_tables=JumpTables,
    writes=writes,
    reads=reads,
    may_keep=may_keep,
    step=step,
    effect=effect_of,
    loaded=memory_operand,
    stored=stored_operands,
    stores_to_memory=stores_to_memory,
    outside_frames=outside_frames,
    place_of_memory=place_of_memory,
    indexed_place=indexed_place,
    named_place=named_place,
    mangles=lambda _computed, _following: False,
    variable_store=variable_store,
    forms=forms,
    equality=equality,
    comparison=comparison,
    equals_address=equals_address,
    frame_switches=_frame_switches,
    keeps_return=_keeps_return,
    loads_thread=_loads_thread,
    clears_mutex_protocol=_clears_mutex_protocol,
)
