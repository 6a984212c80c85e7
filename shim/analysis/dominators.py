"""
Through which functions does every way to a place lead?

Immediate dominators by the algorithm of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm",
2001).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

ROOT = -1


def dominators(roots: Iterable[int], following: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """
    Return the immediate dominator of every node that `roots` reach; `ROOT` is above all roots.

    Nodes are non-negative numbers; one that is no key of `following` leads nowhere.
    """
    begun = list(dict.fromkeys(roots))
    order = _postorder(begun, following)
    # From here on a node is its place in that order, in which what dominates it comes later.
    place = {node: index for index, node in enumerate(order)}
    root = len(order)
    before: list[list[int]] = [[] for _ in order]
    for node in begun:
        before[place[node]].append(root)
    for index, node in enumerate(order):
        for target in following.get(node, ()):
            before[place[target]].append(index)
    above = [-1] * root + [root]
    changed = True
    while changed:
        changed = False
        for node in range(root - 1, -1, -1):
            best = -1
            for source in before[node]:
                if above[source] < 0:
                    continue
                if best < 0:
                    best = source
                other = source
                while other != best:
                    if other < best:
                        other = above[other]
                    else:
                        best = above[best]
            if above[node] != best:
                above[node] = best
                changed = True
    order.append(ROOT)
    return {order[node]: order[best] for node, best in enumerate(above)}


def _postorder(begun: list[int], following: Mapping[int, Sequence[int]]) -> list[int]:
    order: list[int] = []
    seen: set[int] = set()
    for start in begun:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(following.get(start, ())))]
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(following.get(target, ()))))
                    break
            else:
                order.append(node)
                stack.pop()
    return order
