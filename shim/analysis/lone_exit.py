"""
Where does the main thread end itself and not the process?

glibc calls main() behind a setjmp() to which pthread_exit() and cancellation go back; what is there ends the
thread (glibc 2.36, sysdeps/nptl/libc_start_call_main.h).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
        before: dict[int, list[int]] = {}
        for block in blocks:
            for target in program.questions.graph.onward(block):
                before.setdefault(target, []).append(block.start)
        calling = _leading({site.start for site, _ in sites}, before)
        only = _leading(ends, before) - calling
        found += [(block.start, block.end) for block in blocks if block.start in only]
    return found


def _leading(targets: set[int], before: Mapping[int, Sequence[int]]) -> set[int]:
    """Return the blocks from which control can get to one of `targets`, these included."""
    found: set[int] = set()
    pending = list(targets)
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += before.get(current, ())
    return found
