"""
Which of the reached code never runs, and how is that known?

Proofs come first: code behind a call of the kernel, or of a function, that never returns.  Then what follows
from named assumptions, each found by the shape of the code and never by a name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from shim.analysis.assumptions import (
    C_LOCALE,
    HEADER_RIGHTS,
    MAIN_RETURNS,
    NO_ABORT,
    NO_MODULES,
    NO_TUNABLES,
    NO_USERDB,
    NOT_SECURE,
    OPAQUE_MUTEXES,
    STARTED_BY_KERNEL,
    VDSO_CLOCKS,
    Assumption,
)
from shim.analysis.blocks import Block
from shim.analysis.dead import Dead
from shim.analysis.doom import doomed
from shim.analysis.habits import behind_vdso, opening_objects, priority_protection
from shim.analysis.header_rights import only_with_executable_stack
from shim.analysis.localisation import localised
from shim.analysis.lone_exit import behind_lone_exit
from shim.analysis.noreturn import never_returning
from shim.analysis.numbers import KernelEntry, never_return
from shim.analysis.own_start import only_by_hand
from shim.analysis.program import Program
from shim.analysis.reach import Function
from shim.analysis.secure import only_secure
from shim.analysis.tunables import untuned
from shim.analysis.userdb import event_loops
from shim.syscalls import table


def narrowed(
    program: Program, entries: list[KernelEntry], assume: Collection[Assumption]
) -> tuple[Dead, set[Assumption]]:
    """
    Return the code that never runs, and the assumptions among `assume` that this and the numbers rest on.
    """
    dead = proved_dead(program, entries)
    dead.add_ranges(behind_calls(program, never_returning(program)))
    program.questions.narrow(alive_in(program, program.uses.without(dead).live, dead))
    used = {entry.assumed for entry in entries if entry.assumed is not None}
    for assumption, find in _RANGES:
        ranges = find(program, entries) if assumption in assume else []
        dead.add_ranges(ranges)
        used |= {assumption} if ranges else set()
    for assumption, find_functions in _FUNCTIONS:
        functions = find_functions(program, entries) if assumption in assume else set()
        dead.functions |= functions
        used |= {assumption} if functions else set()
    dead.add_ranges(behind_calls(program, _calls_of(program, dead.functions)))
    return dead, used


def _calls_of(program: Program, functions: Iterable[int]) -> list[Block]:
    """Return the blocks that end with a call of one of `functions`: who never enters it never calls it."""
    graph = program.questions.graph
    return [block for entry in functions for block in graph.calls_of_only(entry)]


def proved_dead(program: Program, entries: Iterable[KernelEntry]) -> Dead:
    """Return the code behind calls that end the thread or the process."""
    final = never_return(table(program.architecture.name))
    stops: dict[int, set[int]] = {}
    for entry in entries:
        if entry.numbers and not entry.unresolved and set(entry.numbers) <= final:
            stops.setdefault(entry.function, set()).add(entry.address)
    dead = Dead()
    dead.add_ranges(all_unreached(program, stops))
    return dead


def behind_calls(program: Program, blocks: Iterable[Block]) -> list[tuple[int, int]]:
    """Return the address ranges that control only gets to behind the calls that end `blocks`."""
    calls: dict[int, set[int]] = {}
    for block in blocks:
        calls.setdefault(program.blocks.owner(block).entry, set()).add(block.last)
    return all_unreached(program, calls)


def all_unreached(
    program: Program, stops: Mapping[int, set[int]], *, passing: bool = True
) -> list[tuple[int, int]]:
    """Return what is `unreached` in each of the functions that have stops."""
    functions = program.reach.functions
    return [
        extent
        for function, addresses in stops.items()
        for extent in unreached(program, functions[function], addresses, passing=passing)
    ]


def unreached(
    program: Program, function: Function, stops: set[int], *, passing: bool = True
) -> list[tuple[int, int]]:
    """
    Return the address ranges of `function` that control does not get to without passing a stop.

    `stops` are addresses of instructions; where not `passing`, starts of blocks that never run themselves.
    """
    blocks = program.blocks.of(function)
    reach, graph = program.reach, program.questions.graph
    visited: dict[int, int] = {}
    pending = [
        block
        for block in blocks
        if block.start in reach.functions
        or block.start in reach.entered
        or reach.came_from_outside(block.start)
    ]
    while pending:
        block = pending.pop()
        if block.start in visited:
            continue
        stop = min((address for address in stops if block.start <= address < block.end), default=None)
        visited[block.start] = block.end if stop is None else stop + passing
        if stop is None:
            onward = map(program.blocks.at, graph.onward(block))
            pending += [target for target in onward if target is not None]
    return [
        (visited.get(block.start, block.start), block.end)
        for block in blocks
        if visited.get(block.start, block.start) < block.end
    ]


def _behind_secure(program: Program, entries: list[KernelEntry]) -> list[tuple[int, int]]:
    return all_unreached(program, only_secure(program, entries), passing=False)


def _loader_as_program(program: Program, entries: list[KernelEntry]) -> list[tuple[int, int]]:
    return all_unreached(program, only_by_hand(program, entries), passing=False)


def _executable_stack(program: Program, _: list[KernelEntry]) -> list[tuple[int, int]]:
    return all_unreached(program, only_with_executable_stack(program), passing=False)


# What each assumption takes out: address ranges, or functions that are never entered.
_RANGES = (
    (NOT_SECURE, _behind_secure),
    (STARTED_BY_KERNEL, _loader_as_program),
    (HEADER_RIGHTS, _executable_stack),
    (VDSO_CLOCKS, behind_vdso),
    (MAIN_RETURNS, behind_lone_exit),
)
_FUNCTIONS = (
    (OPAQUE_MUTEXES, priority_protection),
    (NO_MODULES, opening_objects),
    (NO_ABORT, doomed),
    (NO_TUNABLES, untuned),
    (NO_USERDB, event_loops),
    (C_LOCALE, localised),
)


def alive_in(program: Program, living: set[int], dead: Dead) -> Callable[[int], bool]:
    """Return what tells whether the instruction at an address may run."""

    def lives(address: int) -> bool:
        return program.questions.owner_of(address) in living and not dead.covers(address)

    return lives


def surviving(
    program: Program, entries: Iterable[KernelEntry], living: set[int], dead: Dead
) -> list[KernelEntry]:
    """Return the kernel entries that still run, each with the numbers that live code gives it."""
    lives = alive_in(program, living, dead)
    found = []
    for entry in entries:
        if not lives(entry.address):
            continue
        numbers = {
            number: kept
            for number, places in entry.numbers.items()
            if (kept := tuple(place for place in places if lives(place)))
        }
        found.append(replace(entry, numbers=numbers))
    return found
