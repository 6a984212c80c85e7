"""
What follows from taking for granted what programs do not do?

Each assumption is named, found in the program by the shape of its code, and listed in the profile that used
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.reach import Function
from shim.syscalls import table

# What PTHREAD_PRIO_PROTECT needs to know of the own thread: sched_getparam and sched_getscheduler (glibc
# 2.36, nptl/tpp.c, __pthread_tpp_change_priority and __pthread_current_priority).
_OWN_PRIORITY = ("sched_getparam", "sched_getscheduler")
# What sets the limits of such priorities up calls sched_get_priority_max and _min and nothing else (there
# too, __init_sched_fifo_prio).
_PRIORITY_LIMITS = ("sched_get_priority_max", "sched_get_priority_min")
# What the vDSO answers, and for which first arguments if not for all: lib/vdso/gettimeofday.c, v6.12,
# VDSO_HRES, VDSO_COARSE and VDSO_RAW, which are these clocks of include/uapi/linux/time.h.
_CLOCKS = frozenset({0, 1, 4, 5, 6, 7, 11})
_ANSWERED_BY_VDSO = {"gettimeofday": None, "time": None, "clock_gettime": _CLOCKS}
_OTHER = -1
_SMALL = 256
_INVALID_HEADER = b"invalid ELF header\0"


def priority_protection(program: Program, entries: Iterable[KernelEntry]) -> set[int]:
    """Return the functions that ask for and change priorities for mutexes, if nothing makes such mutexes."""
    if _sets_protocol(program):
        return set()
    syscalls = table(program.architecture.name)
    own_priority = set(map(syscalls.number, _OWN_PRIORITY))
    priority_limits = set(map(syscalls.number, _PRIORITY_LIMITS))
    own: dict[int, set[int]] = {}
    for kernel_entry in entries:
        own.setdefault(kernel_entry.function, set()).update(kernel_entry.numbers)
    wrappers = {function: numbers for function, numbers in own.items() if len(numbers) == 1}
    asking = own_priority | priority_limits
    candidates = {
        program.reach.owner_of(ip)
        for wrapper, numbers in wrappers.items()
        if numbers <= asking
        for ip in program.reach.callers.get(wrapper, ())
    }
    found = set()
    for entry in candidates & program.reach.functions.keys():
        function = program.reach.functions[entry]
        called = [wrappers.get(target, {_OTHER}) for target in _calls(function)]
        numbers = {number for wrapped in called for number in wrapped}
        if numbers == priority_limits or (numbers >= own_priority and _asks_for_thread(program, function)):
            found.add(entry)
    return found


def opening_objects(program: Program, _: Iterable[KernelEntry]) -> set[int]:
    """
    Return the functions of a static program that map shared objects.

    They are what calls the function that checks the header of one, which names its complaints (glibc 2.36,
    elf/dl-load.c, open_verify).
    """
    if program.process.interpreter is not None:
        return set()
    complaints = program.reach.named_data.intersection(program.memory.places(_INVALID_HEADER))
    checking = program.questions.naming(complaints)
    callers = {
        program.blocks.owner(block).entry
        for entry in checking
        for block in program.questions.graph.callers(entry)
    }
    return checking | callers


def behind_vdso(program: Program, entries: Iterable[KernelEntry]) -> list[tuple[int, int]]:
    """
    Return the address ranges of the kernel entries that only stand in for functions of the vDSO.

    A C library looks these up by their names and asks the kernel where there are none; the vDSO does for want
    of a clock source that it can read (lib/vdso/gettimeofday.c, v6.12). In an object without such a name the
    call is the program's own.
    """
    syscalls = table(program.architecture.name)
    names = {syscalls.numbers[name]: name for name in _ANSWERED_BY_VDSO if name in syscalls.numbers}
    return [
        (entry.address, entry.address + 1)
        for entry in entries
        if entry.numbers
        and not entry.unresolved
        and entry.numbers.keys() <= names.keys()
        and all(_is_looked_up(program, entry, names[number]) for number in entry.numbers)
        and all(_asks_for(program, entry, _ANSWERED_BY_VDSO[names[number]]) for number in entry.numbers)
    ]


def _is_looked_up(program: Program, entry: KernelEntry, name: str) -> bool:
    """
    Whether a kernel entry stands in for the vDSO's function of that name.

    Then its object has the text to look it up by, or it is the C library's function and the loader has it
    (glibc 2.36, sysdeps/unix/sysv/linux/dl-vdso-setup.c). Texts of Go do not end in NUL.
    """
    text = f"__vdso_{name}".encode() + (b"" if program.functions.is_go(entry.address) else b"\0")
    own = program.path(entry.address)
    holders = {program.path(place) for place in program.memory.places(text)}
    process = program.process
    exported = any(exports.get(name) == entry.function for exports in process.exports)
    loader = process.interpreter.path if process.interpreter else None
    return own in holders or (exported and loader in holders)


def _asks_for(program: Program, entry: KernelEntry, wanted: frozenset[int] | None) -> bool:
    """Whether the first argument at a kernel entry is always one of those wanted; None wants any."""
    if wanted is None:
        return True
    block = program.blocks.containing(entry.address)
    if block is None:
        return False
    first = program.architecture.conventions.kernel_arguments[0]
    answer = program.values.before(block, entry.address, first, 0xFFFF_FFFF)
    return answer.only_numbers() and answer.values.keys() <= wanted


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
            clearing = program.architecture.clears_mutex_protocol(code, segment.address)
            if clearing is None:
                return True
            for address in clearing:
                run = program.reach.containing(address)
                if (
                    run is not None
                    and sum(part.end - part.start for part in program.reach.owner[run.start].runs) < _SMALL
                ):
                    return True
    return False


def _asks_for_thread(program: Program, function: Function) -> bool:
    """Whether the function loads the address of its thread's descriptor."""
    return any(
        program.architecture.loads_thread(instruction)
        for run in function.runs
        for instruction in program.questions.instructions(run)
    )
