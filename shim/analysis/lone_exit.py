"""
Where does the main thread end itself and not the process?

glibc calls main() behind a setjmp() to which pthread_exit() and cancellation go back; what is there ends the
thread (glibc 2.36, sysdeps/nptl/libc_start_call_main.h).
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.analysis.closure import leading_to
from shim.analysis.handover import main_function
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.syscalls import table


def behind_lone_exit(program: Program, entries: Iterable[KernelEntry]) -> list[tuple[int, int]]:
    """Return the blocks of what calls main() that only lead to the end of the thread."""
    handover = main_function(program)
    sites = program.questions.flow.callers_of(handover[0]) if handover else None
    if not sites:
        return []
    number = table(program.architecture.name).number("exit")
    found = []
    for function in {program.blocks.owner(site).entry for site, _ in sites}:
        ends = {
            block.start
            for entry in entries
            if entry.function == function and entry.numbers.keys() == {number} and not entry.unresolved
            if (block := program.blocks.containing(entry.address)) is not None
        }
        blocks = program.blocks.of(program.reach.functions[function])
        onward = [(block.start, program.questions.graph.onward(block)) for block in blocks]
        only = leading_to(ends, onward) - leading_to((site.start for site, _ in sites), onward)
        found += [(block.start, block.end) for block in blocks if block.start in only]
    return found
