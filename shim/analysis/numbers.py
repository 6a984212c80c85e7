"""
Which syscall numbers can each instruction that enters the kernel pass?

Every reachable site ends as a set of numbers with the places they come from, or as unresolved with a
reason.  None is dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shim.analysis.assumptions import SEPARATE_VARIABLES, Assumption
from shim.analysis.blocks import Block
from shim.analysis.program import Program
from shim.analysis.runs import Abi
from shim.analysis.vsyscall import vsyscalls
from shim.syscalls import SyscallTable

_NEVER_RETURN = ("exit", "exit_group")
FOREIGN = {Abi.INT80: "int 0x80: the i386 ABI", Abi.SYSENTER: "sysenter: the i386 ABI"}


@dataclass(frozen=True, slots=True)
class KernelEntry:
    """
    One reachable site: `numbers` maps a number to the addresses where it is put into a register.

    `unresolved` says why the numbers are not all known, `foreign` which other ABI the instruction belongs
    to; both are "" for a plain, bounded `syscall`.  `assumed` is the assumption that bounded it.
    """

    address: int
    function: int
    numbers: dict[int, tuple[int, ...]]
    unresolved: str
    foreign: str
    assumed: Assumption | None


def never_return(syscalls: SyscallTable) -> frozenset[int]:
    """
    Return the calls that end the thread or the process: kernel/exit.c, do_exit and do_group_exit, v6.12.
    """
    return frozenset(map(syscalls.number, _NEVER_RETURN))


def kernel_entries(program: Program, *, assume: Collection[Assumption]) -> list[KernelEntry]:
    """
    Return every reachable kernel entry by address; bounded by an assumption of `assume` where not otherwise.
    """
    entries = []
    for address, abi in program.reach.kernel_entries():
        block = program.blocks.containing(address)
        if block is not None:
            entry = program.blocks.owner(block).entry
            entries.append(_entry(program, block, address, abi, entry, assume=assume))
    unique = {entry.address: entry for entry in entries}
    through_page = [
        KernelEntry(address, program.reach.owner[run.start].entry, {number: (address,)}, "", "", None)
        for address, number in vsyscalls(program)
        if (run := program.reach.containing(address)) is not None
    ]
    return sorted([*unique.values(), *through_page], key=lambda entry: entry.address)


def _entry(
    program: Program, block: Block, address: int, abi: int, function: int, *, assume: Collection[Assumption]
) -> KernelEntry:
    if abi != Abi.SYSCALL:
        return KernelEntry(address, function, {}, "", FOREIGN[abi], None)
    conventions = program.architecture.conventions
    number, mask = conventions.number, conventions.number_mask
    answer = program.values.before(block, address, number, mask)
    assumed = None
    if answer.unknown and SEPARATE_VARIABLES in assume:
        program.questions.assumptions.separate_variables = True
        second = program.values.before(block, address, number, mask)
        program.questions.assumptions.separate_variables = False
        if not second.unknown:
            answer, assumed = second, SEPARATE_VARIABLES
    reason = ""
    if answer.unknown:
        place, why = answer.unknown[0]
        reason = f"{why} at {program.memory.in_file(place):#x} in {program.functions.name(place)}"
    elif answer.addresses or answer.entry:
        reason = "the number would be an address"
    elif not answer.values and not answer.nothing:
        reason = "no value reaches it"
    numbers = {number: tuple(sorted(origins)) for number, origins in sorted(answer.values.items())}
    return KernelEntry(address, function, numbers, reason, "", assumed)
