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
from shim.analysis.decode import Abi
from shim.analysis.program import Program
from shim.analysis.registers import RAX

# The kernel takes the number from the low half of rax: arch/x86/entry/syscall_64.c, do_syscall_64, v6.12.
NUMBER_MASK = 0xFFFF_FFFF
# exit and exit_group: kernel/exit.c, do_exit and do_group_exit, v6.12.
NEVER_RETURN = frozenset({60, 231})
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


def kernel_entries(program: Program, *, assume: Collection[Assumption]) -> list[KernelEntry]:
    """
    Return every reachable kernel entry by address; bounded by an assumption of `assume` where not otherwise.
    """
    entries = []
    for run in program.reach.runs.values():
        for address, abi in run.kernel_entries:
            block = program.blocks.containing(address)
            if block is not None:
                entry = program.blocks.owner(block).entry
                entries.append(_entry(program, block, address, abi, entry, assume=assume))
    unique = {entry.address: entry for entry in entries}
    return sorted(unique.values(), key=lambda entry: entry.address)


def _entry(
    program: Program, block: Block, address: int, abi: int, function: int, *, assume: Collection[Assumption]
) -> KernelEntry:
    if abi != Abi.SYSCALL:
        return KernelEntry(address, function, {}, "", FOREIGN[abi], None)
    answer = program.values.before(block, address, RAX, NUMBER_MASK)
    assumed = None
    if answer.unknown and SEPARATE_VARIABLES in assume:
        program.questions.assumptions.separate_variables = True
        second = program.values.before(block, address, RAX, NUMBER_MASK)
        program.questions.assumptions.separate_variables = False
        if not second.unknown:
            answer, assumed = second, SEPARATE_VARIABLES
    reason = ""
    if answer.unknown:
        place, why = answer.unknown[0]
        reason = f"{why} at {program.memory.in_file(place):#x} in {program.functions.name(place)}"
    elif answer.addresses or answer.entry:
        reason = "the number would be an address"
    elif not answer.values and not answer.faults:
        reason = "no value reaches it"
    numbers = {number: tuple(sorted(origins)) for number, origins in sorted(answer.values.items())}
    return KernelEntry(address, function, numbers, reason, "", assumed)
