"""
What does a C library only do when the kernel says AT_SECURE?

Where a program gained privileges by being executed, libcs look after the standard descriptors and the
debugging of setuid programs.  Found by what that code names and passes, in glibc and in musl.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.analysis.blocks import Block
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.syscalls import table

# glibc 2.36: elf/dl-tunables.c and elf/rtld.c, and csu/check_fds.c.
_SUID_DEBUG, _FULL, _NULL = "/etc/suid-debug", "/dev/full", "/dev/null"
_STRINGS = frozenset({_SUID_DEBUG, _FULL, _NULL})
# musl 1.2.3, src/env/__libc_start_main.c: poll(pfd, 3, 0) asks which of the standard descriptors are open.
_POLL = "poll"
_STANDARD_DESCRIPTORS = 3


def only_secure(program: Program, entries: Iterable[KernelEntry]) -> dict[int, set[int]]:
    """Return for each function the starts of blocks that only run under AT_SECURE."""
    found: dict[int, set[int]] = {}
    naming = _naming(program)
    for block in naming[_SUID_DEBUG]:
        found.setdefault(program.blocks.owner(block).entry, set()).add(block.start)
    poll = table(program.architecture.name).numbers.get(_POLL)
    null = {program.blocks.owner(block).entry for block in naming[_NULL]}
    for block in naming[_FULL]:
        function = program.blocks.owner(block).entry
        if function in null:
            found.setdefault(function, set()).add(function)
    for entry in entries:
        if entry.function in null and set(entry.numbers) == {poll}:
            polling = program.blocks.containing(entry.address)
            if polling is not None and _asks_for_standard(program, polling, entry.address):
                found.setdefault(entry.function, set()).add(polling.start)
    return found


def _naming(program: Program) -> dict[str, list[Block]]:
    """Return the blocks that take the addresses of the strings."""
    found: dict[str, list[Block]] = {string: [] for string in _STRINGS}
    for string, blocks in found.items():
        places = program.reach.named_data.intersection(program.memory.places(string.encode() + b"\0"))
        named = map(program.blocks.containing, program.questions.graph.naming(places))
        blocks += [block for block in named if block is not None]
    return found


def _asks_for_standard(program: Program, block: Block, address: int) -> bool:
    _, count, timeout = program.architecture.conventions.kernel_arguments[:3]
    wanted = {count: _STANDARD_DESCRIPTORS, timeout: 0}
    for register, number in wanted.items():
        answer = program.values.before(block, address, register)
        if not answer.only_numbers() or set(answer.values) != {number}:
            return False
    return True
