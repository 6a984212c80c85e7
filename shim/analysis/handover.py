"""
Where does the startup code hand the process over to main(), and what ran before?
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.analysis.blocks import Block
from shim.analysis.closure import closure
from shim.analysis.decode import Ending
from shim.analysis.program import Program

# How far behind the entry point the call that hands main() over is looked for.
_START_DEPTH = 3
# What the kernel and the loader enter once, as `Reach.roots` has it.
ONCE = frozenset({"entry point", "loader", "DT_INIT", ".init", "IRELATIVE resolver"})


def main_function(program: Program) -> tuple[int, set[int]] | None:
    """Return the address of main(), and the functions that run before it and never return into."""
    for listed in program.functions.go:
        if listed.name == "main.main":
            return listed.start, set(_entries(program))
    first = program.architecture.conventions.arguments[0]
    frontier = [program.image.entry]
    for _ in range(_START_DEPTH):
        following = []
        for entry in frontier:
            function = program.reach.functions.get(entry)
            for block in program.blocks.of(function) if function else ():
                if block.ending not in {Ending.CALL, Ending.CALL_INDIRECT, Ending.JUMP}:
                    continue
                handed = program.values.before(block, block.last, first)
                if handed.only_numbers() and len(handed.values) == 1:
                    (main,) = handed.values
                    sites = (
                        program.questions.flow.callers_of(main) if main in program.reach.functions else None
                    )
                    if sites and program.memory.executable(main):
                        callers = {program.blocks.owner(site).entry for site, _ in sites}
                        return main, {*_entries(program), *_on_the_way(program, entry, callers)}
                callee = callee_of(program, block)
                if callee is not None and callee in program.reach.functions:
                    following.append(callee)
        frontier = following
    return None


def before_main(program: Program) -> tuple[set[int], set[int]]:
    """
    Return the roots that are entered once, before main(), and the tables of initialisers that run there.

    The initialisers of an object that the program opens run when it does that, at any time.
    """
    process, reach = program.process, program.reach
    early = {image.path for image in (process.images[0], process.interpreter, *process.started) if image}

    def is_early(address: int) -> bool:
        image = program.memory.image(address)
        return image is not None and image.path in early

    roots = {entry for entry, why in reach.roots.items() if why in ONCE and is_early(entry)}
    tables = {
        start
        for start, why in reach.root_objects.items()
        if "init" in why.lower() and "fini" not in why.lower() and is_early(start)
    }
    return roots, tables


def _entries(program: Program) -> Iterable[int]:
    """Return what the kernel and the loader enter once, before main(): entries and initialisers."""
    reach = program.reach
    roots, tables = before_main(program)
    held = {target for start in tables for target in reach.holds.get(start, ())}
    return roots | (held & reach.functions.keys())


def _on_the_way(program: Program, start: int, callers: set[int]) -> set[int]:
    """Return the functions between the entry point and those that call main(), without these."""
    leading = calling(program, callers) - callers
    functions = program.reach.functions
    return {entry for entry in {start, *leading} & functions.keys() - callers if not functions[entry].returns}


def calling(program: Program, targets: set[int]) -> set[int]:
    """Return the functions that get to one of `targets` by calls alone."""
    owner_of, callers = program.questions.owner_of, program.reach.callers
    return closure(targets, lambda entry: map(owner_of, callers.get(entry, ())))


def callee_of(program: Program, block: Block) -> int | None:
    """Return what a block calls or jumps to at its end, None where that is not constant."""
    callee = program.questions.graph.callee(block)
    if callee is None and block.ending in {Ending.JUMP, Ending.BRANCH}:
        return block.target
    return callee
