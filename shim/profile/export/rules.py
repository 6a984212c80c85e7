"""
Which rules does a foreign format have to say?

Formats of others have one filter for the whole life of a program, so the rules are the union of all phases.
"""

from __future__ import annotations

from collections.abc import Sequence

from shim.profile.phases import rules_from
from shim.profile.profile import Profile, SyscallRule
from shim.syscalls import SyscallTable, table


def exported_rules(profile: Profile, also: Sequence[str] = ()) -> tuple[SyscallRule, ...]:
    """
    Return what the program may call in any phase, and the calls named by `also`, sorted by number.

    Raises:
        UnknownSyscallError: a name of `also` that the architecture lacks.
    """
    syscalls = table(profile.arch)
    rules = {rule.number: rule for rule in rules_from(profile, 0)}
    rules |= {number: SyscallRule(number, name) for name in also for number in [syscalls.number(name)]}
    return tuple(rules[number] for number in sorted(rules))


def refused_names(allowed: Sequence[SyscallRule], syscalls: SyscallTable) -> list[str]:
    """Return the names of all known calls that have no rule, in the order of the table."""
    numbers = {rule.number for rule in allowed}
    return [name for name, number in syscalls.numbers.items() if number not in numbers]
