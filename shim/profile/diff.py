"""
What may the program do now that it could not do before?

Two profiles are compared by what their filters allow, phase by phase: the filter of a phase also allows what
later phases need.  A phase that only one of them has is compared with what the other enforces at that time,
the nearest earlier phase that both have.  Addresses change with every build and are no difference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, Literal, TypeVar

from shim.errors import ProfileError
from shim.profile.implication import covers
from shim.profile.phases import rules_from
from shim.profile.profile import AnalysedObject, Profile, SyscallRule, UnresolvedSite

Item = TypeVar("Item")
Kind = Literal["added", "widened", "narrowed", "removed"]
KINDS: tuple[Kind, ...] = ("added", "widened", "narrowed", "removed")
_GROWTH = frozenset({"added", "widened"})
_ADDRESS = re.compile(r"0x[0-9a-f]+|(?<=sub_)[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class SyscallChange:
    """
    One call that some phases allow differently.

    Attributes:
        kind: `widened` allows arguments that were refused, whether or not it refuses others now.
        number: Of the syscall.
        name: Of the syscall.
        phases: The names of the phases where this is so, in their order.
        everywhere: Whether these are all phases.
        before: The rule of the old profile in the first of them; None where it has none.
        after: The rule of the new profile there.
    """

    kind: Kind
    number: int
    name: str
    phases: tuple[str, ...]
    everywhere: bool
    before: SyscallRule | None
    after: SyscallRule | None


@dataclass(frozen=True, slots=True)
class Change(Generic[Item]):
    """Items of a list that only the new or only the old profile has."""

    added: tuple[Item, ...]
    removed: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything in which two profiles differ, addresses and reasons aside."""

    syscalls: tuple[SyscallChange, ...]
    unresolved: Change[UnresolvedSite]
    foreign_abi: Change[UnresolvedSite]
    phases: Change[str]
    assumptions: Change[str]
    objects: Change[str]
    was_complete: bool
    is_complete: bool

    @property
    def grew(self) -> bool:
        """Whether the new profile may ask for more than the old one, or knows less of what it may ask."""
        return (
            any(change.kind in _GROWTH for change in self.syscalls)
            or bool(self.unresolved.added or self.foreign_abi.added)
            or (self.was_complete and not self.is_complete)
        )

    @property
    def shrank(self) -> bool:
        """Whether the old profile allowed, or left open, something that the new one does not."""
        return any(change.kind not in _GROWTH for change in self.syscalls) or bool(
            self.unresolved.removed or self.foreign_abi.removed
        )


def diff(before: Profile, after: Profile) -> Difference:
    """
    Return in what `after` differs from `before`.

    Raises:
        ProfileError: the profiles are of different architectures.
    """
    if before.arch != after.arch:
        raise ProfileError("architecture", after.arch, before.arch)
    return Difference(
        syscalls=_syscalls(before, after),
        unresolved=_places(before, after, before.unresolved, after.unresolved),
        foreign_abi=_places(before, after, before.foreign_abi, after.foreign_abi),
        phases=_listed([p.name for p in before.phases], [p.name for p in after.phases]),
        assumptions=_listed(before.assumptions, after.assumptions),
        objects=_listed(_digests(before.objects), _digests(after.objects)),
        was_complete=before.complete,
        is_complete=after.complete,
    )


def _syscalls(before: Profile, after: Profile) -> tuple[SyscallChange, ...]:
    pairs = _aligned(before, after)
    names = list(pairs)
    found: dict[tuple[int, Kind], list[tuple[str, SyscallRule | None, SyscallRule | None]]] = {}
    for name, (old_phase, new_phase) in pairs.items():
        old = {rule.number: rule for rule in rules_from(before, old_phase)}
        new = {rule.number: rule for rule in rules_from(after, new_phase)}
        for number in old.keys() | new.keys():
            kind = _kind(old.get(number), new.get(number))
            if kind is not None:
                found.setdefault((number, kind), []).append((name, old.get(number), new.get(number)))
    return tuple(
        _change(kind, number, found[number, kind], names)
        for number, kind in sorted(found, key=lambda key: (KINDS.index(key[1]), key[0]))
    )


def _change(
    kind: Kind,
    number: int,
    where: list[tuple[str, SyscallRule | None, SyscallRule | None]],
    names: list[str],
) -> SyscallChange:
    _, before, after = where[0]
    named = after or before
    if named is None:
        raise ValueError(f"syscall {number}: a change between nothing and nothing")
    phases = tuple(name for name, _, _ in where)
    return SyscallChange(kind, number, named.name, phases, len(phases) == len(names), before, after)


def _aligned(before: Profile, after: Profile) -> dict[str, tuple[int, int]]:
    """Return for each name of a phase its position, or that of what is in force then, in both profiles."""
    old = {phase.name: position for position, phase in enumerate(before.phases)}
    new = {phase.name: position for position, phase in enumerate(after.phases)}
    aligned: dict[str, tuple[int, int]] = {}
    for names, other in ((list(new), old), (list(old), new)):
        for position, name in enumerate(names):
            earlier = [other[known] for known in names[: position + 1] if known in other]
            there = earlier[-1] if earlier else 0
            aligned.setdefault(name, (there, position) if other is old else (position, there))
    return aligned


def _kind(before: SyscallRule | None, after: SyscallRule | None) -> Kind | None:
    """Return how the rule of a call changed; None where it allows the same."""
    if before is None:
        return "added"
    if after is None:
        return "removed"
    if not covers(before.conditions, after.conditions):
        return "widened"
    return None if covers(after.conditions, before.conditions) else "narrowed"


def _places(
    before: Profile,
    after: Profile,
    old: Sequence[UnresolvedSite],
    new: Sequence[UnresolvedSite],
) -> Change[UnresolvedSite]:
    """Compare places by object, function and reason, as often as each occurs, without their addresses."""
    return Change(_surplus(after, new, before, old), _surplus(before, old, after, new))


def _surplus(
    profile: Profile, sites: Sequence[UnresolvedSite], other: Profile, others: Sequence[UnresolvedSite]
) -> tuple[UnresolvedSite, ...]:
    known = Counter(_place(other, site) for site in others)
    surplus = []
    for site in sites:
        key = _place(profile, site)
        if known[key]:
            known[key] -= 1
        else:
            surplus.append(site)
    return tuple(surplus)


def _place(profile: Profile, site: UnresolvedSite) -> tuple[str, str, str]:
    """Return what a place is recognised by in another build, in which the program may have another path."""
    in_program = site.object == profile.program.path
    name = "" if in_program else PurePosixPath(site.object).name
    return name, _ADDRESS.sub("*", site.function), _ADDRESS.sub("*", site.reason)


def _digests(objects: Iterable[AnalysedObject]) -> list[str]:
    return [f"{entry.path} sha256 {entry.sha256}" for entry in objects]


def _listed(before: Sequence[str], after: Sequence[str]) -> Change[str]:
    return Change(
        tuple(item for item in after if item not in before),
        tuple(item for item in before if item not in after),
    )
