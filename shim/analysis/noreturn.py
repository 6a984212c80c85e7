"""
Which functions never return, although one of their paths ends in a return?

A compiler that knows this ends a function with the call of such a one, so that what it put next is another
function.  Reachability takes the callee to return, because it takes all branches, and falls into that other
function.  Here the branches of the callees of such calls are decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from shim.analysis.blocks import Block
from shim.analysis.decided import only_successor
from shim.analysis.program import Program
from shim.analysis.runs import Ending

MAX_BLOCKS = 160
MAX_CALL = 8
MAX_PADDING = 16
# Bytes that a direct call has, and one through a linkage table; and what an instruction that fills space can
# begin with, on x86-64 and on AArch64.
_CALL_SIZES = (4, 5, 6)
_FILLS = frozenset(bytes((byte,)) for byte in (0x90, 0x66, 0x0F, 0x2E, 0xCC, 0x1F))
_CALLS = (Ending.CALL, Ending.CALL_INDIRECT)


def never_returning(program: Program) -> list[Block]:
    """Return the blocks that call functions that never return although they were taken to."""
    found: set[int] = set()
    candidates = _called_last(program)
    while new := {entry for entry in candidates if not _returns(program, entry, found)}:
        found |= new
        candidates -= new
    graph = program.questions.graph
    return [block for entry in sorted(found) for block in graph.calls_of_only(entry)]


def _called_last(program: Program) -> set[int]:
    """Return the functions that seem to return and that some function ends with a call of."""
    functions, callers = program.reach.functions, program.reach.callers
    return {
        entry
        for entry, function in functions.items()
        if function.returns and any(_ends_function(program, ip) for ip in callers.get(entry, ()))
    }


def _ends_function(program: Program, ip: int) -> bool:
    """Whether another function begins behind the call at `ip`, and what fills the space before that."""
    starts = program.functions.starts
    if starts.isdisjoint(range(ip + 2, ip + MAX_CALL + MAX_PADDING)):
        return False
    following = program.memory.read(ip, MAX_CALL)
    if not any(ip + size in starts or following[size : size + 1] in _FILLS for size in _CALL_SIZES):
        return False
    block = program.blocks.containing(ip)
    if block is None or block.ending not in _CALLS or block.last != ip:
        return False
    behind = program.blocks.at(block.end)
    padded = behind is not None and behind.ending == Ending.FALL and behind.end - behind.start < MAX_PADDING
    return block.end in starts or (padded and behind is not None and behind.end in starts)


def _returns(program: Program, entry: int, found: set[int]) -> bool:
    """Whether control may leave the function at `entry`, as far as constants decide its branches."""
    function = program.reach.functions[entry]
    first = program.blocks.at(entry)
    if first is None or len(program.blocks.of(function)) > MAX_BLOCKS:
        return True
    graph, seen, pending = program.questions.graph, set(), [first]
    while pending:
        block = pending.pop()
        if block.start in seen:
            continue
        seen.add(block.start)
        if program.blocks.owner(block).entry != entry or block.ending == Ending.RETURN:
            return True
        if block.ending in {Ending.STOP, Ending.INVALID}:
            continue
        if block.ending in _CALLS:
            callee = graph.callee(block)
            called = program.reach.functions.get(callee) if callee is not None else None
            if callee in found or (called is not None and not called.returns):
                continue
            targets: Sequence[int] = (block.end,)
        else:
            only = only_successor(block, program.questions.listings, program.values)
            targets = graph.after(block) if only is None else (only,)
        following = [program.blocks.at(target) for target in targets]
        if not following or None in following:
            return True
        pending += [block for block in following if block is not None]
    return False
