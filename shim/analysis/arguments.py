"""
With which arguments is a call made, where a few constants are all that is ever passed?

Only for arguments that decide what a call can do.  At every instruction that issues the call the register is
asked for; one place where the answer is not a small set of numbers leaves the call without a condition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.registers import WORD
from shim.profile.profile import ArgumentCondition
from shim.syscalls import SyscallTable

MAX_ALTERNATIVES = 48
_INT = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Deciding:
    """An argument that decides what a call can do: its index, and the bits of it that the kernel looks at."""

    index: int
    mask: int


# The types are those of the SYSCALL_DEFINEs: net/socket.c, fs/ioctl.c, fs/fcntl.c, kernel/sys.c,
# kernel/fork.c, arch/x86/kernel/sys_x86_64.c, mm/mprotect.c, mm/madvise.c, ipc/shm.c,
# kernel/seccomp.c, kernel/futex/syscalls.c, v6.12.
DECIDING = {
    "socket": Deciding(0, _INT),
    "socketpair": Deciding(0, _INT),
    "ioctl": Deciding(1, _INT),
    "fcntl": Deciding(1, _INT),
    "prctl": Deciding(0, _INT),
    "arch_prctl": Deciding(0, _INT),
    "clone": Deciding(0, _INT),
    "unshare": Deciding(0, WORD),
    "mmap": Deciding(2, WORD),
    "mprotect": Deciding(2, WORD),
    "madvise": Deciding(2, _INT),
    "shmat": Deciding(2, _INT),
    "seccomp": Deciding(0, _INT),
    "futex": Deciding(1, _INT),
    "personality": Deciding(0, _INT),
}

# Calls that leave a restart block behind, with the argument that is their time limit if 0 means not to sleep,
# or to sleep without a limit: kernel/futex/waitwake.c, fs/select.c, kernel/time/hrtimer.c, v6.12.
_TIMEOUTS: dict[str, int | None] = {"futex": 3, "poll": 2, "nanosleep": None, "clock_nanosleep": None}
# What futex does, and the two that leave one: FUTEX_WAIT and FUTEX_WAIT_BITSET.
_FUTEX_COMMAND = Deciding(1, 0x7F)
_FUTEX_WAITS = {0, 9}

Conditions = tuple[tuple[ArgumentCondition, ...], ...]


def argument_conditions(
    program: Program,
    entries: Iterable[KernelEntry],
    syscalls: SyscallTable,
    loader_passes: Mapping[str, Collection[int]],
) -> dict[int, Conditions]:
    """
    Return for each number the alternatives of its deciding argument, sorted.

    There is no key for a call to which anything may be passed.  `loader_passes` has what the loader's own
    calls pass where its code does not tell, by their names.

    A `syscall` instruction that issues several numbers says nothing about the arguments of any of them.
    """
    loader = program.process.interpreter
    numbers = {
        syscalls.number(name): deciding for name, deciding in DECIDING.items() if name in syscalls.numbers
    }
    found: dict[int, set[int] | None] = {}
    for entry in entries:
        for number in entry.numbers.keys() & numbers.keys():
            known = found.setdefault(number, set())
            if known is None:
                continue
            passed = _passed(program, entry, numbers[number]) if len(entry.numbers) == 1 else None
            if passed is None and loader is not None and program.path(entry.address) == loader.path:
                known_to_loader = loader_passes.get(syscalls.name(number))
                passed = None if known_to_loader is None else set(known_to_loader)
            found[number] = (
                None if passed is None or len(known | passed) > MAX_ALTERNATIVES else known | passed
            )
    return {
        number: tuple((_condition(numbers[number], value),) for value in sorted(values))
        for number, values in found.items()
        if values
    }


def sleeping(program: Program, entries: Iterable[KernelEntry], syscalls: SyscallTable) -> set[str]:
    """Return the names of the calls that may sleep until a time, which the kernel restarts after a signal."""
    numbers = {syscalls.number(name) for name in _TIMEOUTS if name in syscalls.numbers}
    return {
        syscalls.name(number)
        for entry in entries
        for number in entry.numbers.keys() & numbers
        if len(entry.numbers) > 1 or _sleeps(program, entry, syscalls.name(number))
    }


def _sleeps(program: Program, entry: KernelEntry, name: str) -> bool:
    index = _TIMEOUTS[name]
    if index is not None and _passed(program, entry, Deciding(index, WORD)) == {0}:
        return False
    commands = _passed(program, entry, _FUTEX_COMMAND) if name == "futex" else None
    return commands is None or bool(commands & _FUTEX_WAITS)


def _passed(program: Program, entry: KernelEntry, deciding: Deciding) -> set[int] | None:
    """Return the values that the argument can have at one place, or None if they are not all known."""
    block = program.blocks.containing(entry.address)
    if block is None or entry.unresolved:
        return None
    register = program.architecture.conventions.kernel_arguments[deciding.index]
    answer = program.values.before(block, entry.address, register, deciding.mask)
    return set(answer.values) if answer.only_numbers() else None


def _condition(deciding: Deciding, value: int) -> ArgumentCondition:
    if deciding.mask == WORD:
        return ArgumentCondition(deciding.index, "eq", value)
    return ArgumentCondition(deciding.index, "masked_eq", value, deciding.mask)
