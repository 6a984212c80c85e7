"""
What does a loader only do when it is itself the program?

A loader that a user executes by hand finds its own first instruction where the kernel says the program's is
(AT_ENTRY), and then takes commands, lists libraries, or executes a static program (glibc 2.36, elf/rtld.c,
dl_main).  A loader that the kernel starts for a program never does.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.analysis.blocks import Block
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program


def only_by_hand(program: Program, _: Iterable[KernelEntry]) -> dict[int, set[int]]:
    """Return for each function the starts of blocks that only run where the loader is the program."""
    loader = program.process.interpreter
    found: dict[int, set[int]] = {}
    if loader is None:
        return found
    for address in program.reach.address_taken.get(loader.entry, ()):
        block = program.blocks.containing(address)
        start = None if block is None else _where_equal(program, block, loader.entry)
        if block is not None and start is not None:
            found.setdefault(program.blocks.owner(block).entry, set()).add(start)
    return found


def _where_equal(program: Program, block: Block, entry: int) -> int | None:
    """Return the start of the block that only a comparison with `entry` that holds leads to, or None."""
    instructions = program.questions.listings.listing(block).instructions
    taken = program.architecture.equals_address(instructions, entry)
    if taken is None:
        return None
    start, other = (block.target, block.end) if taken else (block.end, block.target)
    behind = program.blocks.at(start)
    if behind is None or start == other:
        return None
    alone = [before.start for before in program.questions.graph.before(behind)] == [block.start]
    reach = program.reach
    entered = start in reach.functions or start in reach.entered or reach.came_from_outside(start)
    return start if alone and not entered else None
