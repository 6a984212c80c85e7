"""
Which functions are over and done with when a program reaches main(), and when it starts to serve?

A function belongs to what is over if its address is nowhere held, and everything that calls it is over.  What
is over is never entered again, so that what only it asks of the kernel can be refused from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from shim.analysis.blocks import Block
from shim.analysis.closure import closure
from shim.analysis.dead import Dead
from shim.analysis.decode import Ending
from shim.analysis.handover import before_main, callee_of, calling, main_function
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.reach import Function
from shim.analysis.roots import GO_ROOT
from shim.syscalls import table

# What a server waits with.
_WAITS = frozenset({"accept", "epoll_wait", "epoll_pwait", "accept4", "epoll_pwait2"})
_NEVER = -1
MAX_DESCENT = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """
    A stage of the program's life: its name, the address it begins at, and the functions that are over then.

    Of functions that neither enter the kernel nor give a number to what does, `over` need not have all.
    """

    name: str
    boundary: int
    over: frozenset[int]


def stages(program: Program, entries: Collection[KernelEntry]) -> tuple[Stage, ...]:
    """
    Return the stages behind the startup, in their order; none where main() is not found.

    Not checked:
        Jumps back into what is over by longjmp, other than the C library's own around main().
    """
    main = main_function(program)
    if main is None:
        return ()
    entry, begun = main
    asked = {
        _owner(program, place)
        for kernel_entry in entries
        for place in (kernel_entry.address, *chain.from_iterable(kernel_entry.numbers.values()))
    }
    first = Stage("main", entry, frozenset(_over(program, asked, begun, lambda _: False)))
    serving = _serving(program, entry, entries, (asked, first.over))
    return (first,) if serving is None else (first, serving)


def _over(
    program: Program, asked: Iterable[int], begun: Iterable[int], before: Callable[[int], bool]
) -> set[int]:
    """
    Return which of the functions `asked` for are over, and those that this follows from.

    Given the functions `begun`, which surely are, and the instructions that never run again.
    """
    functions = program.reach.functions
    over = {entry for entry in begun if entry in functions}
    # What each function that is not over keeps from being over.
    waiting: dict[int, list[int]] = {}
    held = _held(program)
    seen = set(asked)
    pending = list(seen)
    while pending:
        entry = pending.pop()
        if entry in over or entry in held or entry not in functions:
            continue
        obstacle = _obstacle(program, entry, over, before)
        if obstacle is None:
            over.add(entry)
            pending += waiting.pop(entry, ())
        else:
            waiting.setdefault(obstacle, []).append(entry)
            if obstacle not in seen:
                seen.add(obstacle)
                pending.append(obstacle)
    return over


def _obstacle(program: Program, entry: int, over: set[int], before: Callable[[int], bool]) -> int | None:
    """
    Return a function that has to be over before the one at `entry` can be, `_NEVER` if it never can.

    None if it is over.
    """
    reach = program.reach
    sources, makers = reach.callers.get(entry, ()), reach.address_taken.get(entry, ())
    if not sources and not makers:
        return _NEVER

    def open_among(places: Iterable[tuple[int, int]]) -> int | None:
        """Return who owns the first (instruction, address in its function) that may still run."""
        for ip, inside in places:
            owner = _owner(program, inside)
            if owner not in over and not before(ip):
                return owner
        return None

    obstacle = open_among((ip, ip) for ip in (*sources, *makers))
    if obstacle is None and makers:  # the address exists: where does it go?
        sites = program.questions.flow.callers_of(entry)
        obstacle = _NEVER if sites is None else open_among((block.last, block.start) for block, _ in sites)
    if obstacle is not None:
        return obstacle
    final = reach.functions[entry].returns or all(_is_jump(program, ip) for ip in sources)
    return None if final else _NEVER


def _is_jump(program: Program, ip: int) -> bool:
    """Whether the instruction at `ip` is a plain jump: its function is over once it has jumped."""
    run = program.reach.containing(ip)
    return run is not None and run.last == ip and run.ending == Ending.JUMP


def _owner(program: Program, ip: int) -> int:
    return program.questions.owner_of(ip)


def _held(program: Program) -> set[int]:
    """
    Return the functions whose address is in data other than early initialisers' tables, or known outside.
    """
    reach = program.reach
    roots, tables = before_main(program)
    held: set[int] = set()
    for start, targets in reach.holds.items():
        if start not in tables:
            held.update(targets)
    held.update(entry for entry, why in reach.roots.items() if why != GO_ROOT and entry not in roots)
    held.update(function.start for function in program.functions.go if _is_method(function.name))
    return held


def _is_method(name: str) -> bool:
    """Whether a Go function has a receiver, so that an interface or reflection may call it."""
    path = name.rsplit("/", 1)[-1]
    return "(" in path or path.count(".") > 1


def _serving(
    program: Program, main: int, entries: Collection[KernelEntry], first: tuple[set[int], frozenset[int]]
) -> Stage | None:
    """Return the stage that begins where everything that waits for clients lies ahead."""
    syscalls = table(program.architecture.name)
    waits = {syscalls.numbers[name] for name in _WAITS & syscalls.numbers.keys()}
    waiting = calling(program, {entry.function for entry in entries if waits & entry.numbers.keys()})
    path: list[tuple[Function, Block]] = []
    function = program.reach.functions.get(main)
    while function is not None and function.entry in waiting and len(path) < MAX_DESCENT:
        block = _last_before(program, function, waiting)
        if block is None:
            break
        path.append((function, block))
        callee = program.questions.graph.callee(block)
        function = program.reach.functions.get(callee) if callee in waiting else None
    if not path:
        return None
    passed: set[tuple[int, int]] = set()
    for function, block in path:
        passed |= _never_again(program, function, block)
    behind = Dead()
    behind.add_ranges(passed)
    asked, over = first
    ended = _over(program, asked, over, behind.covers)
    boundary = path[-1][1]
    return Stage("serving", boundary.start, frozenset(ended))


def _last_before(program: Program, function: Function, waiting: set[int]) -> Block | None:
    """Return the last block through which every way to a waiting call leads, itself in no loop."""
    blocks = program.blocks.of(function)
    calls = {block.start for block in blocks if callee_of(program, block) in waiting}
    first = program.blocks.at(function.entry)
    if not calls or first is None:
        return None
    candidate, best = first, None
    following = {block.start: program.questions.graph.onward(block) for block in blocks}
    for block in blocks:
        without = _reachable([function.entry], following, block.start)
        again = _reachable(following[block.start], following, _NEVER)
        once = not calls & without and block.start not in again
        if once and (best is None or best.start in without):
            best = block
    return best or candidate


def _reachable(starts: Iterable[int], following: Mapping[int, Sequence[int]], without: int) -> set[int]:
    """Return the blocks of a function that control gets to from `starts`, but not through `without`."""

    def inside(blocks: Iterable[int]) -> Iterator[int]:
        return (block for block in blocks if block != without and block in following)

    return closure(inside(starts), lambda block: inside(following[block]))


def _never_again(program: Program, function: Function, block: Block) -> set[tuple[int, int]]:
    """Return the blocks of a function that do not run any more once `block` has begun."""
    following = {b.start: program.questions.graph.onward(b) for b in program.blocks.of(function)}
    ahead = _reachable([block.start], following, _NEVER)
    return {(b.start, b.end) for b in program.blocks.of(function) if b.start not in ahead}
