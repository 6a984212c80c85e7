"""
What a program may call, as a manifest records it: phases, calls and conditions, no addresses and no reasons.

Enough to say what another build of the program may do more; the reasons are in the profile of that build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from shim.canonical import JsonValue
from shim.profile.profile import Arch, ArgumentCondition, Phase, Profile, SyscallRule
from shim.syscalls import table

_ALL_BITS = (1 << 64) - 1


def bare(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Return phases without addresses, places and reasons: what is the same for every build of one source."""
    return tuple(
        Phase(
            phase.name,
            None,
            tuple(SyscallRule(rule.number, rule.name, rule.conditions) for rule in phase.rules),
        )
        for phase in phases
    )


def profile_of(arch: str, phases: Iterable[Phase]) -> Profile:
    """
    Return a profile that allows this and says nothing else, to be compared with another.

    Raises:
        ValueError: an architecture that profiles do not have.
    """
    if arch not in get_args(Arch):
        raise ValueError(arch)
    return Profile(cast("Arch", arch), (), bare(phases), (), (), (), "")


def phases_value(phases: Iterable[Phase]) -> list[JsonValue]:
    """Return phases as JSON: for each call the lists of conditions of which one has to hold."""
    return [
        {
            "name": phase.name,
            "syscalls": {
                rule.name: [[_condition(one) for one in every] for every in rule.conditions]
                for rule in phase.rules
            },
        }
        for phase in phases
    ]


def phases_of(value: object, arch: str) -> tuple[Phase, ...]:
    """
    Return the phases that `phases_value` wrote.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it did not write this.
        ShimError: a call that the table of syscalls does not have.
    """
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(Phase(_text(row["name"]), None, _rules(row["syscalls"], arch)) for row in value)


def _rules(value: Mapping[str, Any], arch: str) -> tuple[SyscallRule, ...]:
    numbers = table(arch)
    rules = (
        SyscallRule(
            numbers.number(name, name),
            name,
            tuple(tuple(_read_condition(one) for one in every) for every in conditions),
        )
        for name, conditions in value.items()
    )
    return tuple(sorted(rules, key=lambda rule: rule.number))


def _condition(one: ArgumentCondition) -> list[JsonValue]:
    # Numbers of 64 bits are text: readers of JSON do not agree on them.
    masked: list[JsonValue] = [] if one.mask == _ALL_BITS else [f"0x{one.mask:x}"]
    return [one.index, one.operator, f"0x{one.value:x}", *masked]


def _read_condition(row: list[Any]) -> ArgumentCondition:
    index, operator, value, *mask = row
    if type(index) is not int or operator not in ("eq", "ne", "lt", "le", "gt", "ge", "masked_eq"):
        raise TypeError(row)
    return ArgumentCondition(index, operator, int(value, 16), int(mask[0], 16) if mask else _ALL_BITS)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
