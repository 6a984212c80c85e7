"""
How does a profile become bytes, and bytes a profile?

Writing is canonical: equal profiles give equal bytes.  Reading takes any spelling of the same JSON, checks it
against the schema and then what a schema cannot say, and reports every fault at once.  Nothing is repaired,
and nothing that is missing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from shim.canonical import JsonValue, canonical_bytes
from shim.profile.conform import conform
from shim.profile.problems import Problems
from shim.profile.profile import (
    SCHEMA_VERSION,
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    Site,
    SyscallRule,
    UnresolvedSite,
)
from shim.profile.schema import SAFE_INTEGER, SCHEMA
from shim.syscalls import SyscallTable, UnknownSyscallError, table

MAX_BYTES = 64 * 1024 * 1024
"""Longer texts are refused unread; the profile of a large dynamic server has under 1 MiB."""


def dumps(profile: Profile) -> bytes:
    """
    Return the canonical JSON of `profile`, UTF-8, without a final newline.

    Raises:
        ProfileFormatError: the profile is one that `loads` would refuse.
    """
    value = _profile_value(profile)
    problems = Problems("profile")
    _check(value, problems)
    problems.raise_if_any()
    return canonical_bytes(value)


def loads(data: bytes, where: str) -> Profile:
    """
    Return the profile that `data` holds.

    Args:
        data: JSON, UTF-8, at most `MAX_BYTES` bytes.
        where: What to call it in errors, as a rule the file's name.

    Raises:
        ProfileFormatError: with every fault: not JSON, a key that is missing, unknown or repeated, a value of
            the wrong type or out of range, an unknown syscall, a number that is not its name's, rules that
            are not in order, `complete` that the lists contradict.

    Not checked:
        That the objects exist, or have the digests it names.
    """
    problems = Problems(where)
    value = _parsed(data, problems)
    problems.raise_if_any()
    _check(value, problems)
    problems.raise_if_any()
    return _profile(value)


def _parsed(data: bytes, problems: Problems) -> Any:  # noqa: ANN401  # any JSON value, until it is checked
    if len(data) > MAX_BYTES:
        problems.note("", f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
        return None
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeError as error:
        problems.note("", str(error), "UTF-8", "RFC 8259, section 8.1")
    except RecursionError:
        problems.note("", "JSON nested too deeply", "the nesting of the schema")
    except ValueError as error:
        problems.note("", str(error), "JSON", "RFC 8259")
    else:
        return value
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key that stands twice in one object")
    return keys


def _check(value: Any, problems: Problems) -> None:  # noqa: ANN401
    """Note the departures from the schema, or where there are none, what no schema can say."""
    conform(value, SCHEMA, problems)
    if problems:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        problems.note("", str(error), "text of whole characters", "RFC 8259, section 8.2")
        return
    complete = not value["unresolved"] and not value["foreign_abi"]
    if value["complete"] is not complete:
        problems.note("complete", str(value["complete"]).lower(), f"{complete}, as the lists say".lower())
    _check_phases(value["phases"], problems)
    syscalls = table(value["arch"])
    for number, phase in enumerate(value["phases"]):
        _check_rules(phase["syscalls"], f"phases[{number}].syscalls", syscalls, problems)


def _check_phases(phases: list[Mapping[str, Any]], problems: Problems) -> None:
    names = [phase["name"] for phase in phases]
    if len(set(names)) != len(names):
        problems.note("phases", f"the names {', '.join(names)}", "a name of its own for each phase")
    for position, phase in enumerate(phases):
        if (phase["boundary"] is None) != (position == 0):
            found = "no boundary" if phase["boundary"] is None else "a boundary"
            want = "an address for every phase but the first"
            problems.note(f"phases[{position}].boundary", found, want)


def _check_rules(
    rules: list[Mapping[str, Any]], where: str, syscalls: SyscallTable, problems: Problems
) -> None:
    before = -1
    for position, rule in enumerate(rules):
        here, number = f"{where}[{position}]", rule["number"]
        if number <= before:
            problems.note(here, f"number {number} after {before}", "ascending numbers, each once")
        before = number
        try:
            want = syscalls.number(rule["name"], here)
        except UnknownSyscallError as error:
            problems.note(here, error.found, error.want, error.source)
            continue
        if number != want:
            problems.note(here, f"number {number} for {rule['name']}", str(want), f"Linux {syscalls.kernel}")
        _check_conditions(rule["conditions"], here, problems)


def _check_conditions(alternatives: list[list[Mapping[str, Any]]], where: str, problems: Problems) -> None:
    for outer, conjunction in enumerate(alternatives):
        for inner, condition in enumerate(conjunction):
            here = f"{where}.conditions[{outer}][{inner}]"
            value, mask = _integer(condition["value"]), _integer(condition["mask"])
            if condition["operator"] != "masked_eq" and mask != 2**64 - 1:
                problems.note(here, f"mask 0x{mask:x}", "all 64 bits for every operator but masked_eq")
            if value & ~mask:
                problems.note(here, f"value 0x{value:x}", f"only bits of the mask 0x{mask:x}")


def _integer(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else value


def _integer_value(number: int) -> int | str:
    return number if number <= SAFE_INTEGER else f"0x{number:x}"


def _profile(value: Mapping[str, Any]) -> Profile:
    return Profile(
        arch=value["arch"],
        objects=tuple(AnalysedObject(**entry) for entry in value["objects"]),
        phases=tuple(_phase(entry) for entry in value["phases"]),
        unresolved=tuple(_unresolved(entry) for entry in value["unresolved"]),
        foreign_abi=tuple(_unresolved(entry) for entry in value["foreign_abi"]),
        assumptions=tuple(value["assumptions"]),
        tool_version=value["tool_version"],
    )


def _phase(value: Mapping[str, Any]) -> Phase:
    boundary = value["boundary"]
    return Phase(
        name=value["name"],
        boundary=None if boundary is None else _integer(boundary),
        rules=tuple(_rule(entry) for entry in value["syscalls"]),
    )


def _rule(value: Mapping[str, Any]) -> SyscallRule:
    return SyscallRule(
        number=value["number"],
        name=value["name"],
        conditions=tuple(
            tuple(_condition(entry) for entry in conjunction) for conjunction in value["conditions"]
        ),
        sites=tuple(
            Site(entry["object"], _integer(entry["address"]), entry["function"]) for entry in value["sites"]
        ),
        why=tuple(value["why"]),
    )


def _condition(value: Mapping[str, Any]) -> ArgumentCondition:
    return ArgumentCondition(
        index=value["index"],
        operator=value["operator"],
        value=_integer(value["value"]),
        mask=_integer(value["mask"]),
    )


def _unresolved(value: Mapping[str, Any]) -> UnresolvedSite:
    return UnresolvedSite(**{**value, "address": _integer(value["address"])})


def _profile_value(profile: Profile) -> dict[str, JsonValue]:
    return {
        "schema_version": SCHEMA_VERSION,
        "arch": profile.arch,
        "complete": profile.complete,
        "tool_version": profile.tool_version,
        "objects": [asdict(entry) for entry in profile.objects],
        "phases": [_phase_value(phase) for phase in profile.phases],
        "unresolved": _sites_value(profile.unresolved),
        "foreign_abi": _sites_value(profile.foreign_abi),
        "assumptions": list(profile.assumptions),
    }


def _phase_value(phase: Phase) -> JsonValue:
    return {
        "name": phase.name,
        "boundary": None if phase.boundary is None else _integer_value(phase.boundary),
        "syscalls": [_rule_value(rule) for rule in phase.rules],
    }


def _rule_value(rule: SyscallRule) -> JsonValue:
    return {
        "number": rule.number,
        "name": rule.name,
        "conditions": [
            [
                {**asdict(c), "value": _integer_value(c.value), "mask": _integer_value(c.mask)}
                for c in conjunction
            ]
            for conjunction in rule.conditions
        ],
        "sites": _sites_value(rule.sites),
        "why": list(rule.why),
    }


def _sites_value(sites: Iterable[Site | UnresolvedSite]) -> list[JsonValue]:
    return [{**asdict(site), "address": _integer_value(site.address)} for site in sites]
