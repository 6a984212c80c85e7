"""The x86-64 instruction set, as the analysis asks about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from iced_x86 import Instruction, Mnemonic, OpKind, Register

from shim.analysis.architecture import Architecture, Conventions
from shim.analysis.decode import Disassembler
from shim.analysis.objects import named_addresses
from shim.analysis.places import Frame
from shim.analysis.x86_64.branches import comparison, equality, equals_address
from shim.analysis.x86_64.forms import forms, variable_store
from shim.analysis.x86_64.frames import (
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
from shim.analysis.x86_64.jumptables import JumpTables
from shim.analysis.x86_64.registers import ARGUMENTS, CALLEE_SAVED, RAX, RDX, RSP
from shim.analysis.x86_64.semantics import effect_of, memory_operand, stored_operands

# mov rsp, r64 but for rbp, in both encodings: where a frame is left for one that is not the caller's.
_MOVES_STACK = re.compile(
    rb"[\x48\x4c]\x89[\xc4\xcc\xd4\xdc\xf4\xfc]|\x48\x8b[\xe0-\xe4\xe6\xe7]|\x49\x8b[\xe0-\xe7]"
)
# The protocol's bits in the flags of mutex attributes, cleared: nptl/pthread_mutexattr_setprotocol.c.
_CLEARS_PROTOCOL = re.compile(re.escape((0xCFFF_FFFF).to_bytes(4, "little")))
_THREAD_SELF = 0x10
_POINTER_GUARD = 0x30


def _frame_switches(code: bytes, start: int) -> Iterable[int]:
    return (start + match.start() for match in _MOVES_STACK.finditer(code))


def _clears_mutex_protocol(code: bytes, start: int) -> Iterable[int] | None:
    return (start + match.start() for match in _CLEARS_PROTOCOL.finditer(code))


def _mangles(computed: Instruction, following: Instruction) -> bool:
    """PTR_MANGLE of glibc 2.36, sysdeps/unix/sysv/linux/x86_64/pointer_guard.h."""
    return (
        following.mnemonic == Mnemonic.XOR
        and following.op0_register == computed.op0_register != Register.NONE
        and following.op1_kind == OpKind.MEMORY
        and following.segment_prefix == Register.FS
        and following.memory_displacement == _POINTER_GUARD
    )


def _keeps_return(entry: int, instruction: Instruction, frame: Frame) -> bool:
    if instruction.mnemonic == Mnemonic.POP:
        return frame.sp == (entry, 0)
    read = instruction.op_count == 2 and instruction.op1_kind == OpKind.MEMORY
    pushed = instruction.mnemonic == Mnemonic.PUSH and instruction.op0_kind == OpKind.MEMORY
    return (
        (read or pushed)
        and instruction.mnemonic != Mnemonic.LEA
        and place_of_memory(frame, instruction) == (entry, 0)
    )


def _loads_thread(instruction: Instruction) -> bool:
    return (
        instruction.op_count == 2
        and instruction.op1_kind == OpKind.MEMORY
        and instruction.segment_prefix == Register.FS
        and instruction.memory_displacement == _THREAD_SELF
    )


# The kernel takes the number from the low half of rax: arch/x86/entry/syscall_64.c, do_syscall_64, v6.12; the
# arguments: arch/x86/entry/entry_64.S, entry_SYSCALL_64.
X86_64: Final = Architecture(
    name="x86_64",
    conventions=Conventions(
        number=RAX,
        number_mask=0xFFFF_FFFF,
        kernel_arguments=(*ARGUMENTS[:3], Register.R10, *ARGUMENTS[4:]),
        arguments=ARGUMENTS,
        results=frozenset({RAX, RDX}),
        callee_saved=CALLEE_SAVED,
        stack_pointer=RSP,
        pushed_by_call=8,
    ),
    disassembler=lambda memory, _functions: Disassembler(memory),
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
    mangles=_mangles,
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
