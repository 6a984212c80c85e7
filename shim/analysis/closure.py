"""What does one get to, step by step?"""

from __future__ import annotations

from collections.abc import Callable, Iterable


def closure(starts: Iterable[int], following: Callable[[int], Iterable[int]]) -> set[int]:
    """Return `starts` and everything that is reached from them by steps to what `following` says."""
    found: set[int] = set()
    pending = list(starts)
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += following(current)
    return found


def reversed_edges(onward: Iterable[tuple[int, Iterable[int]]]) -> dict[int, list[int]]:
    """Return for each target of (source, targets) its sources."""
    sources: dict[int, list[int]] = {}
    for source, targets in onward:
        for target in targets:
            sources.setdefault(target, []).append(source)
    return sources


def leading_to(targets: Iterable[int], onward: Iterable[tuple[int, Iterable[int]]]) -> set[int]:
    """Return `targets` and everything from which the edges (source, targets) lead to one of them."""
    sources = reversed_edges(onward)
    return closure(targets, lambda target: sources.get(target, ()))
