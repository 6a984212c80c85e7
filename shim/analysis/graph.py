"""
Who comes before a block: predecessors inside functions, and callers of functions.

Built once, when reachability is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shim.analysis.decode import Block, Ending
from shim.analysis.reach import Reach


@dataclass(slots=True)
class Access:
    """One instruction that names a variable's address, or reads or writes it."""

    address: int
    size: int
    use: int
    block: Block
    ip: int


@dataclass(slots=True)
class Graph:
    """
    The flow between reachable blocks.

    Attributes:
        before: For each block the blocks that control comes from by jump or by falling through.
        after: For each block the blocks that control goes to by jump or by falling through, entries included.
        behind_call: For each block the block whose call it follows.
        callers: For each function entry the blocks that call or jump to it.
        callee: For each block that ends in a call or a jump through a constant pointer, where it goes.
        returns: For each function entry its blocks that end in `ret`.
        tails: For each function entry the functions whose entry it jumps to.
        accesses: Everything that names writable or constant data, sorted by address.
    """

    before: dict[int, list[Block]] = field(default_factory=dict)
    after: dict[int, list[int]] = field(default_factory=dict)
    behind_call: dict[int, list[Block]] = field(default_factory=dict)
    callers: dict[int, list[Block]] = field(default_factory=dict)
    callee: dict[int, int] = field(default_factory=dict)
    returns: dict[int, list[Block]] = field(default_factory=dict)
    tails: dict[int, set[int]] = field(default_factory=dict)
    unknown_tails: dict[int, list[Block]] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list)


_CALLS = (Ending.CALL, Ending.CALL_INDIRECT)


def build_graph(reach: Reach) -> Graph:
    """Return the flow graph of everything that `reach` reached."""
    graph = Graph()
    for start, owner in reach.owner.items():
        block = reach.blocks[start]
        for reference in block.references:
            access = Access(reference.address, reference.size, reference.use, block, reference.ip)
            graph.accesses.append(access)
        _connect(graph, reach, block, owner.entry)
    graph.accesses.sort(key=lambda access: access.address)
    return graph


def _connect(graph: Graph, reach: Reach, block: Block, owner: int) -> None:
    ending = block.ending
    if ending == Ending.FALL:
        _flow(graph, reach, block, block.end, owner)
    elif ending == Ending.BRANCH:
        _flow(graph, reach, block, block.end, owner)
        _flow(graph, reach, block, block.target, owner)
    elif ending == Ending.JUMP:
        _flow(graph, reach, block, block.target, owner)
    elif ending in _CALLS:
        target = block.target if ending == Ending.CALL else reach.constant_pointer(block)
        if target is not None and target != block.end:
            graph.callee[block.start] = target
            graph.callers.setdefault(target, []).append(block)
        if block.end in reach.owner:
            graph.behind_call.setdefault(block.end, []).append(block)
    elif ending == Ending.RETURN:
        graph.returns.setdefault(owner, []).append(block)
    elif ending == Ending.JUMP_INDIRECT:
        target = reach.constant_pointer(block)
        targets = (target,) if target is not None else reach.jump_targets.get(block.start, ())
        for destination in targets:
            _flow(graph, reach, block, destination, owner)
        if not targets:
            graph.unknown_tails.setdefault(owner, []).append(block)


def _flow(graph: Graph, reach: Reach, block: Block, target: int, owner: int) -> None:
    if target not in reach.owner:
        return
    graph.after.setdefault(block.start, []).append(target)
    if target in reach.functions:
        graph.callers.setdefault(target, []).append(block)
        graph.tails.setdefault(owner, set()).add(target)
        return
    graph.before.setdefault(target, []).append(block)
    if reach.owner[target].entry != owner:
        graph.tails.setdefault(owner, set()).add(reach.owner[target].entry)
