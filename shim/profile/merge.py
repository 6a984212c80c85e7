"""
What may a program do that two profiles of it allow together?

For profiles of one program made in different ways: of two kinds of analysis, with and without modules, from a
trace.  (What a trace itself adds is `shim.profile.trace_merge`.)  What came from the other one says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shim.errors import ProfileError
from shim.profile.phases import union
from shim.profile.profile import AnalysedObject, Phase, Profile, SyscallRule


def merged(profile: Profile, other: Profile, reason: str) -> Profile:
    """
    Return `profile` with everything that `other` allows besides, or leaves unresolved.

    The phases have to be the same, or `other` has a single one: its rules then go into every phase, because
    nothing says when they are needed.

    Args:
        profile: What to add to; its call chains are kept.
        other: A profile of the same program.
        reason: What stands first in `why` of each rule that only `other` has: "traced", a file's name.

    Raises:
        ProfileError: they are of different programs or architectures, or of objects of one path with
            different digests, or their phases differ.
    """
    _require_same(profile, other)
    return replace(
        profile,
        objects=_objects(profile.objects, other.objects),
        phases=tuple(
            replace(phase, rules=_rules(phase.rules, added.rules, reason))
            for phase, added in zip(profile.phases, _aligned(profile, other), strict=True)
        ),
        unresolved=tuple(sorted({*profile.unresolved, *other.unresolved})),
        foreign_abi=tuple(sorted({*profile.foreign_abi, *other.foreign_abi})),
        assumptions=tuple(dict.fromkeys((*profile.assumptions, *other.assumptions))),
    )


def _require_same(profile: Profile, other: Profile) -> None:
    if other.arch != profile.arch:
        raise ProfileError("architecture", other.arch, profile.arch)
    if other.program.sha256 != profile.program.sha256:
        found = f"{other.program.path} sha256 {other.program.sha256}"
        raise ProfileError("program", found, f"{profile.program.path} sha256 {profile.program.sha256}")


def _aligned(profile: Profile, other: Profile) -> tuple[Phase, ...]:
    """Return the phase of `other` that goes with each phase of `profile`."""
    if len(other.phases) == 1:
        return other.phases * len(profile.phases)
    found = [(phase.name, phase.boundary) for phase in other.phases]
    want = [(phase.name, phase.boundary) for phase in profile.phases]
    if found != want:
        raise ProfileError("phases", _named(other.phases), f"{_named(profile.phases)}, or a single phase")
    return other.phases


def _named(phases: Iterable[Phase]) -> str:
    return ", ".join(
        phase.name if phase.boundary is None else f"{phase.name} from {phase.boundary:#x}" for phase in phases
    )


def _objects(
    objects: tuple[AnalysedObject, ...], others: tuple[AnalysedObject, ...]
) -> tuple[AnalysedObject, ...]:
    """Return all objects; the program may have been called by two paths and stands once."""
    known = {entry.path: entry for entry in objects}
    for entry in others[1:]:
        same = known.setdefault(entry.path, entry)
        if same.sha256 != entry.sha256:
            raise ProfileError(f"object {entry.path}", f"sha256 {entry.sha256}", f"sha256 {same.sha256}")
    return tuple(known.values())


def _rules(
    rules: tuple[SyscallRule, ...], added: tuple[SyscallRule, ...], reason: str
) -> tuple[SyscallRule, ...]:
    known = {rule.number: rule for rule in rules}
    for rule in added:
        if rule.number in known:
            known[rule.number] = union(known[rule.number], rule)
        else:
            known[rule.number] = replace(rule, why=(reason, *rule.why))
    return tuple(known[number] for number in sorted(known))
