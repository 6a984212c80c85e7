"""
Which rules does the filter of a phase need?

Filters of one process only ever tighten, so a phase's filter must allow whatever any later phase allows.
"""

from __future__ import annotations

from shim.profile.profile import Profile, SyscallRule


def rules_from(profile: Profile, phase: int) -> tuple[SyscallRule, ...]:
    """
    Return the union of the rules of `profile.phases[phase]` and of all later phases, sorted by number.

    Where one phase allows a call with any arguments, so does the union; else it allows what either does.

    Raises:
        IndexError: the profile has no such phase.
    """
    if not 0 <= phase < len(profile.phases):
        raise IndexError(f"phase {phase}: the profile has {len(profile.phases)}")
    united: dict[int, SyscallRule] = {}
    for later in profile.phases[phase:]:
        for rule in later.rules:
            known = united.get(rule.number)
            united[rule.number] = rule if known is None else union(known, rule)
    return tuple(united[number] for number in sorted(united))


def union(first: SyscallRule, second: SyscallRule) -> SyscallRule:
    """Return a rule for the calls that either of two rules of one syscall allows; the first says why."""
    conditional = first.conditions and second.conditions
    return SyscallRule(
        number=first.number,
        name=first.name,
        conditions=tuple(sorted({*first.conditions, *second.conditions})) if conditional else (),
        sites=tuple(sorted({*first.sites, *second.sites})),
        why=first.why,
    )
