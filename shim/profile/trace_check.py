"""
Does a profile have everything that a trace has?

What it lacks is a fault of the profile, or of the analysis that made it, and is never left out: a call, an
argument, or a place that makes a call and is not listed for it, which a filter that pins calls to places
would kill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shim.profile.implication import holds
from shim.profile.phases import rules_from
from shim.profile.profile import ArgumentCondition, Profile, Site, SyscallRule
from shim.profile.trace import (
    NOT_RECORDED,
    VDSO,
    Arguments,
    ForeignCall,
    Trace,
    TracedCall,
    require_same_file,
)

_CONTINUED: Final = frozenset({"restart_syscall"})  # comes with the address of the call that it continues
_VDSO_CALLS: Final = frozenset(
    {"clock_gettime", "clock_getres", "gettimeofday", "time", "getcpu", "getrandom"}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that the trace has and the profile lacks.

    Attributes:
        kind: The whole call, these arguments of it, these places that make it, or a whole ABI.
        number: Of the call.
        name: Its name, or its ABI and number.
        arguments: The arguments for `arguments`, else empty.
        sites: Where it was made.
        admitted: True if the profile itself says of all those places that it could not bound them.
    """

    kind: Literal["call", "arguments", "site", "abi"]
    number: int
    name: str
    arguments: Arguments
    sites: tuple[Site, ...]
    admitted: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    A trace held against a profile.

    Attributes:
        lacking: What the profile lacks.
        untraced: The rules that no run needed, by number; without those that are never recorded.
        unchecked: What could not be compared, a sentence each.
    """

    lacking: tuple[Finding, ...]
    untraced: tuple[SyscallRule, ...]
    unchecked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Places:
    """The places of a profile, by what stays the same when a file is found under another path."""

    digests: Mapping[str, str]
    listed: bool
    admitted: frozenset[tuple[str, int]]

    def key(self, site: Site) -> tuple[str, int]:
        return self.digests.get(site.object) or site.object, site.address


def compare(trace: Trace, profile: Profile) -> Comparison:
    """
    Return what either of them has and the other lacks; phases count together.

    Raises:
        ProfileError: they are of different files.

    Not checked:
        That a call came in its phase.
    """
    require_same_file("trace", trace.program, profile.program)
    rules = {rule.number: rule for rule in rules_from(profile, 0)}
    places = _places(trace, profile)
    traced = {call.number for call in trace.calls}
    lacking = [finding for call in trace.calls for finding in _call_findings(call, rules, places)]
    lacking += [_foreign_finding(call, places) for call in trace.foreign if call.abi != "unknown"]
    return Comparison(
        lacking=tuple(lacking),
        untraced=tuple(
            rule for number, rule in rules.items() if number not in traced and rule.name not in NOT_RECORDED
        ),
        unchecked=tuple(_unchecked(trace, profile, rules, listed=places.listed)),
    )


def allows(conditions: tuple[tuple[ArgumentCondition, ...], ...], arguments: Arguments) -> bool | None:
    """Return whether a rule with `conditions` allows `arguments`; None if that hangs on one not kept."""
    if not conditions:
        return True
    verdicts = [_conjunction(conjunction, arguments) for conjunction in conditions]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _conjunction(conditions: tuple[ArgumentCondition, ...], arguments: Arguments) -> bool | None:
    verdicts = []
    for condition in conditions:
        value = arguments[condition.index]
        verdicts.append(None if value is None else holds(condition, value))
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _places(trace: Trace, profile: Profile) -> _Places:
    # Both name their objects by paths of their own; the digest says which are the same.
    digests = {entry.path: entry.sha256 for entry in (*trace.objects, *profile.objects)}
    places = _Places(
        digests, any(rule.sites for phase in profile.phases for rule in phase.rules), frozenset()
    )
    open_places = (*profile.unresolved, *profile.foreign_abi)
    admitted = frozenset(places.key(Site(open_.object, open_.address, "")) for open_ in open_places)
    return _Places(digests, places.listed, admitted)


def _call_findings(call: TracedCall, rules: Mapping[int, SyscallRule], places: _Places) -> Iterator[Finding]:
    rule = rules.get(call.number)
    if rule is None:
        yield _finding("call", call, call.sites, places)
        return
    for arguments in call.arguments:
        if allows(rule.conditions, arguments) is False:
            yield _finding("arguments", call, call.sites, places, arguments)
    if not places.listed or call.name in _CONTINUED:
        return
    listed = {places.key(site) for site in rule.sites}
    unlisted = tuple(
        site
        for site in call.sites
        if places.key(site) not in listed and not (site.object == VDSO and call.name in _VDSO_CALLS)
    )
    if unlisted:
        yield _finding("site", call, unlisted, places)


def _finding(
    kind: Literal["call", "arguments", "site"],
    call: TracedCall,
    sites: tuple[Site, ...],
    places: _Places,
    arguments: Arguments = (),
) -> Finding:
    admitted = bool(sites) and all(places.key(site) in places.admitted for site in sites)
    return Finding(kind, call.number, call.name, arguments, sites, admitted)


def _foreign_finding(call: ForeignCall, places: _Places) -> Finding:
    admitted = bool(call.sites) and all(places.key(site) in places.admitted for site in call.sites)
    return Finding("abi", call.number, f"{call.abi} call {call.number}", (), call.sites, admitted)


def _unchecked(
    trace: Trace, profile: Profile, rules: Mapping[int, SyscallRule], *, listed: bool
) -> Iterator[str]:
    if not listed:
        yield "the profile lists no places, so those of the trace were not compared"
    for call in trace.calls:
        rule = rules.get(call.number)
        if rule is None or not rule.conditions:
            continue
        if call.arguments_dropped:
            yield f"{call.name}: too many different arguments to keep all of them"
        if any(allows(rule.conditions, arguments) is None for arguments in call.arguments):
            yield f"{call.name}: the profile has conditions on an argument that was not recorded"
    for foreign in trace.foreign:
        if foreign.abi == "unknown":
            yield f"number {foreign.number} has no name here; a filter answers it with ENOSYS"
    if trace.lost:
        yield f"{trace.lost} calls did not fit into the recorder's tables"
    if not profile.complete:
        yield "the profile is incomplete, and says where"
