"""
What does a launch plan say, in words and numbers that people know?

A reading for people and for `--format json`; what decides a launch is the plan's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntFlag

from shim.canonical import JsonValue
from shim.filter import FilterProgram
from shim.filter.actions import TRACE, USER_NOTIF
from shim.filter.reading import let_through
from shim.launch.confinement import NAMESPACES, RESOURCES, UNLIMITED, Files, Network, Scopes
from shim.launch.decode import quoted
from shim.launch.plan import Landlock, LaunchPlan, PlanFlag
from shim.syscalls import table

_LAUNCHED = "x86_64"
_FILE_RIGHTS = (
    *("execute", "write-file", "read-file", "read-dir", "remove-dir", "remove-file", "make-char", "make-dir"),
    *("make-reg", "make-sock", "make-fifo", "make-block", "make-sym", "refer", "truncate", "ioctl-dev"),
)
"""LANDLOCK_ACCESS_FS_* by bit: include/uapi/linux/landlock.h, v6.18."""

_ANSWERS = {
    PlanFlag.NO_EVENTS: "the kernel kills the process, and nobody reports it",
    PlanFlag.ERRNO: "it fails with EPERM, and is reported",
    PlanFlag.AUDIT: "it is made, and is reported",
}


def facts(plan: LaunchPlan, names: Mapping[str, str]) -> dict[str, JsonValue]:
    """
    Return what a plan says, as JSON.

    Args:
        plan: The plan.
        names: Paths by the digests of files, to name the shared objects that it measures.

    Raises:
        FilterError: a filter that the kernel would not take.
    """
    return {
        "program": _text(plan.program),
        "sha256": plan.digest.hex(),
        "arguments": [_text(one) for one in plan.argv],
        "further_arguments": "appended" if plan.flags & PlanFlag.ARGUMENTS else "refused",
        "environment": [_text(one) for one in plan.environment],
        "refused_call": next(
            (words for flag, words in _ANSWERS.items() if plan.flags & flag),
            "it is reported, and the program killed",
        ),
        "flags": [str(flag.name).lower().replace("_", "-") for flag in PlanFlag if flag & plan.flags],
        "filters": list(_filters(plan)),
        "sealed_bytes": sum(map(len, plan.sealed)),
        "objects": [
            {"sha256": one.digest.hex(), "path": names.get(one.digest.hex(), "")} for one in plan.objects
        ],
        "landlock": None if plan.landlock is None else _landlock(plan.landlock),
        "identity": None if plan.identity is None else {"uid": plan.identity.uid, "gid": plan.identity.gid},
        "namespaces": [name for name, bit in NAMESPACES.items() if bit & plan.namespaces],
        "limits": {
            name: [_amount(limit.soft), _amount(limit.hard)]
            for limit in plan.limits
            for name, number in RESOURCES.items()
            if number == limit.resource
        },
        "timeout_ns": plan.timeout,
        "cgroup": None
        if plan.cgroup is None
        else {
            "parent": _text(plan.cgroup.parent),
            "memory": plan.cgroup.memory,
            "processes": plan.cgroup.processes,
            "cpu_quota_us": plan.cgroup.cpu_quota,
            "cpu_period_us": plan.cgroup.cpu_period,
        },
    }


def _filters(plan: LaunchPlan) -> Iterator[JsonValue]:
    """Yield what holds from the first instruction on, and from each boundary on."""
    known = table(_LAUNCHED)
    refused = frozenset() if plan.flags & PlanFlag.AUDIT else frozenset({USER_NOTIF, TRACE})
    parts = (
        (None, plan.filter, plan.relocations),
        *((s.boundary, s.filter, s.relocations) for s in plan.stages),
    )
    for boundary, encoded, relocations in parts:
        program = FilterProgram.decode(encoded)
        rules = let_through(program, known, refused)
        yield {
            "from": "its first instruction" if boundary is None else _place(plan, boundary),
            "instructions": len(program),
            "pinned": bool(relocations),
            "calls": [rule.name for rule in rules],
            "with_certain_arguments": [rule.name for rule in rules if rule.conditions],
        }


def _place(plan: LaunchPlan, boundary: int) -> str:
    entry = " (the loader is done)" if boundary == plan.entry_point else ""
    return f"{boundary:#x} in the program{entry}"


def _landlock(rules: Landlock) -> dict[str, JsonValue]:
    return {
        "denied": {
            "files": _bits(rules.files, _FILE_RIGHTS),
            "network": _members(Network, rules.network),
            "scopes": _members(Scopes, rules.scopes),
        },
        "paths": [
            {"path": _text(one.path), "rights": _bits(one.rights, _FILE_RIGHTS)} for one in rules.paths
        ],
        "ports": [{"port": one.port, "rights": _members(Network, one.rights)} for one in rules.ports],
    }


def _bits(value: int, names: Sequence[str]) -> list[JsonValue]:
    if value == Files.ALL:
        return ["all"]
    return [name for bit, name in enumerate(names) if value >> bit & 1]


def _members(kind: type[IntFlag], value: int) -> list[JsonValue]:
    single = (member for member in kind if member & value and int(member).bit_count() == 1)
    return [str(member.name).lower().replace("_", "-") for member in single]


def _amount(value: int) -> JsonValue:
    return "unlimited" if value == UNLIMITED else value


def _text(value: bytes) -> str:
    return quoted(value)[1:-1]
