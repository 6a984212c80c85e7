"""
What else can a process reach, if everything counts that can be found by its name?

The C library looks functions up in ways of its own that no call of dlsym shows (`_Unwind_ForcedUnwind`, when
a thread ends), and objects that a program opens hand over data as well as functions.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.analysis.program import Program

_LONGEST_NAME = 256


def found_by_name(program: Program) -> None:
    """
    Reach every function and object whose name is a string that reached code or data names.

    Where code looks up names that it computes, everything that the program itself exports counts too, and of
    objects that it opens all that they export.

    Args:
        program: What it reached grows.
    """
    reach, memory = program.reach, program.memory
    for address in _exported(program):
        _reach(program, address, "may be found by its name")
    named: dict[str, list[int]] = {}
    for symbol in program.functions.symbols:
        named.setdefault(symbol.name, []).append(symbol.address)
    seen: set[int] = set()
    while True:
        reach.run()
        new = _pointed_at(program) - seen
        if not new:
            return
        seen |= new
        for address in new:
            text = memory.string(address, _LONGEST_NAME)
            for found in named.get(text.decode("ascii", "replace"), ()) if text else ():
                _reach(program, found, "its name is a string")


def _exported(program: Program) -> Iterator[int]:
    process, modules = program.process, program.modules
    if modules.looks_up_computed and process.exports:
        yield from process.exports[0].values()
    idle = modules.idle
    for module in process.modules:
        if module not in idle:
            yield from module.exports.values()


def _reach(program: Program, address: int, why: str) -> None:
    if program.memory.executable(address):
        program.reach.root(address, why)
    elif program.memory.segment(address) is not None:
        program.reach.root_object(address, why)


def _pointed_at(program: Program) -> set[int]:
    reach = program.reach
    return reach.named_data | reach.pointed | reach.pointer_reads.keys()
