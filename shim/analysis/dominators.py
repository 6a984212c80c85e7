"""
Through which functions does every way to a place lead?

Immediate dominators by the algorithm of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm",
2001).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

ROOT = -1


def dominators(roots: Iterable[int], following: Callable[[int], Iterable[int]]) -> dict[int, int]:
    """
    Return the immediate dominator of every node that `roots` reach; `ROOT` is above all roots.

    Nodes are non-negative numbers.
    """
    begun = list(dict.fromkeys(roots))
    order = _postorder(begun, following)
    position = {node: index for index, node in enumerate(order)}
    position[ROOT] = len(order)
    before: dict[int, list[int]] = {}
    for node in order:
        for target in following(node):
            if target in position:
                before.setdefault(target, []).append(node)
    for node in begun:
        before.setdefault(node, []).append(ROOT)
    above: dict[int, int] = {ROOT: ROOT}
    changed = True
    while changed:
        changed = False
        for node in reversed(order):
            known = [source for source in before.get(node, ()) if source in above]
            best = known[0]
            for source in known[1:]:
                best = _meet(source, best, above, position)
            if above.get(node) != best:
                above[node] = best
                changed = True
    return above


def _postorder(begun: list[int], following: Callable[[int], Iterable[int]]) -> list[int]:
    order: list[int] = []
    seen: set[int] = set()
    for start in begun:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(following(start)))]
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(following(target))))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def _meet(first: int, second: int, above: dict[int, int], position: dict[int, int]) -> int:
    while first != second:
        while position[first] < position[second]:
            first = above[first]
        while position[second] < position[first]:
            second = above[second]
    return first
