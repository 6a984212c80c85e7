"""
What follows from taking for granted what programs do not do?

Each assumption is named, found in the program by the shape of its code, and listed in the profile that used
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from iced_x86 import OpKind, Register

from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.reach import Function

# What PTHREAD_PRIO_PROTECT needs to know of the own thread: sched_getparam and sched_getscheduler (glibc
# 2.36, nptl/tpp.c, __pthread_tpp_change_priority and __pthread_current_priority).
_OWN_PRIORITY = frozenset({143, 145})
# What sets the limits of such priorities up calls sched_get_priority_max and _min and nothing else (there
# too, __init_sched_fifo_prio).
_PRIORITY_LIMITS = frozenset({146, 147})
_OTHER = -1
# The protocol's bits in the flags of mutex attributes, cleared: nptl/pthread_mutexattr_setprotocol.c.
_CLEARS_PROTOCOL = re.compile(re.escape((0xCFFF_FFFF).to_bytes(4, "little")))
_SMALL = 256
_THREAD_SELF = 0x10


def priority_protection(program: Program, entries: Iterable[KernelEntry]) -> set[int]:
    """Return the functions that ask for and change priorities for mutexes, if nothing makes such mutexes."""
    if _sets_protocol(program):
        return set()
    own: dict[int, set[int]] = {}
    for entry in entries:
        own.setdefault(entry.function, set()).update(entry.numbers)
    wrappers = {function: numbers for function, numbers in own.items() if len(numbers) == 1}
    found = set()
    for function in program.reach.functions.values():
        called = [wrappers.get(target, {_OTHER}) for target in _calls(function)]
        numbers = {number for wrapped in called for number in wrapped}
        if numbers == _PRIORITY_LIMITS or (numbers >= _OWN_PRIORITY and _asks_for_thread(program, function)):
            found.add(function.entry)
    return found


def _calls(function: Function) -> Iterator[int]:
    return (target for _, target in function.uses)


def _sets_protocol(program: Program) -> bool:
    """
    Whether pthread_mutexattr_setprotocol is reached.

    A dynamic program has its name; in a static one it is a small function that clears the protocol's bits.
    """
    if program.process.interpreter is not None:
        setters = [exports.get("pthread_mutexattr_setprotocol", 0) for exports in program.process.exports]
        return any(setter in program.reach.functions for setter in setters if setter)
    for image in program.process.images:
        for segment in image.segments:
            if not segment.executable:
                continue
            code = program.memory.read(segment.address, segment.file_size)
            for match in _CLEARS_PROTOCOL.finditer(code):
                run = program.reach.containing(segment.address + match.start())
                if (
                    run is not None
                    and sum(part.end - part.start for part in program.reach.owner[run.start].runs) < _SMALL
                ):
                    return True
    return False


def _asks_for_thread(program: Program, function: Function) -> bool:
    """Whether the function loads the address of its thread's descriptor."""
    return any(
        instruction.op_count == 2
        and instruction.op1_kind == OpKind.MEMORY
        and instruction.segment_prefix == Register.FS
        and instruction.memory_displacement == _THREAD_SELF
        for run in function.runs
        for instruction in program.questions.instructions(run)
    )
