"""
A profile that also allows what was traced: for what static analysis cannot bound.

It stays as complete or incomplete as it was: a trace shows what a place did, never all that it can do.
"""

from __future__ import annotations

from dataclasses import replace

from shim.profile.phases import rules_from
from shim.profile.profile import AnalysedObject, ArgumentCondition, Profile, Site, SyscallRule
from shim.profile.trace import Arguments, Trace, TracedCall, require_same_file
from shim.profile.trace_check import allows


def with_trace(profile: Profile, trace: Trace) -> Profile:
    """
    Return `profile` with every call, argument and place of `trace` that it lacks, in its last phase.

    What a phase has, all earlier ones allow as well, and nothing says when a call was made; so the last is
    where it can go.  What was added says so in `why`.  Calls of other ABIs and numbers without a name cannot
    be expressed, and are not added.

    Raises:
        ProfileError: they are of different files.
    """
    require_same_file("trace", trace.program, profile.program)
    paths = _paths(profile, trace)
    known = {rule.number: rule for rule in rules_from(profile, 0)}
    *earlier, last = profile.phases
    rules = {rule.number: rule for rule in last.rules}
    for call in trace.calls:
        sites = tuple(replace(site, object=paths.get(site.object, site.object)) for site in call.sites)
        if call.number not in known:
            rules[call.number] = _rule(call, sites, trace)
            continue
        widened = _widened(known[call.number], call, sites)
        if widened != known[call.number]:
            rules[call.number] = widened
    known_digests = {entry.sha256 for entry in profile.objects}
    added = tuple(entry for entry in trace.objects if entry.sha256 and entry.sha256 not in known_digests)
    return replace(
        profile,
        objects=(*profile.objects, *added),
        phases=(*earlier, replace(last, rules=tuple(rules[number] for number in sorted(rules)))),
    )


def _paths(profile: Profile, trace: Trace) -> dict[str, str]:
    """Return what the profile calls the trace's objects."""
    named: dict[str, AnalysedObject] = {entry.sha256: entry for entry in profile.objects}
    return {entry.path: named[entry.sha256].path for entry in trace.objects if entry.sha256 in named}


def _rule(call: TracedCall, sites: tuple[Site, ...], trace: Trace) -> SyscallRule:
    runs = "one run" if trace.runs == 1 else f"{trace.runs} runs"
    return SyscallRule(call.number, call.name, sites=sites, why=(f"traced: {call.count} times in {runs}",))


def _widened(rule: SyscallRule, call: TracedCall, sites: tuple[Site, ...]) -> SyscallRule:
    conditions = rule.conditions
    if conditions and call.arguments_dropped:
        conditions = ()  # the arguments that were not kept may be any
    for arguments in call.arguments:
        verdict = allows(conditions, arguments)
        if verdict is None:
            conditions = ()
        elif verdict is False:
            conditions = tuple(sorted({*conditions, _exactly(conditions, arguments)}))
    return replace(rule, conditions=conditions, sites=_united_sites(rule, sites))


def _united_sites(rule: SyscallRule, sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """Add the places that are not there yet; the profile's own name of a function wins."""
    listed = {(site.object, site.address) for site in rule.sites}
    return tuple(sorted((*rule.sites, *(s for s in sites if (s.object, s.address) not in listed))))


def _exactly(
    conditions: tuple[tuple[ArgumentCondition, ...], ...], arguments: Arguments
) -> tuple[ArgumentCondition, ...]:
    """Return the condition that the arguments which the rule looks at are just these."""
    looked_at = sorted({condition.index for conjunction in conditions for condition in conjunction})
    return tuple(
        ArgumentCondition(index, "eq", value)
        for index in looked_at
        if (value := arguments[index]) is not None
    )
