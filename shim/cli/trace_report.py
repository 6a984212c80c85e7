"""A trace and what came of comparing it, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict

from shim.canonical import JsonValue, canonical_bytes
from shim.errors import one_line
from shim.profile.profile import Profile, Site
from shim.profile.trace import Trace
from shim.profile.trace_check import Comparison, Finding

_SHOWN_SITES = 4


def render(
    trace: Trace, profile: Profile, comparison: Comparison, statuses: tuple[str, ...], form: str
) -> str:
    """Return the report as text, `form` being "table" or "json"; `statuses` says how each run ended."""
    if form == "json":
        return _json(trace, comparison, statuses)
    lines = _table(trace)
    lines += [f"{_shown(other.path) or 'unknown image'}: {other.count} calls while a descendant executed it"
              for other in trace.others]  # fmt: skip
    lines += [""] if lines else []
    lines += [f"run {number}: {status}" for number, status in enumerate(statuses, start=1)]
    lines += [f"not compared: {one_line(reason)}" for reason in comparison.unchecked]
    if comparison.untraced:
        names = " ".join(rule.name for rule in comparison.untraced)
        lines.append(f"in the profile, not in the trace ({len(comparison.untraced)}): {names}")
    calls = sum(call.count for call in trace.calls)
    rules = len({rule.number for phase in profile.phases for rule in phase.rules})
    lines.append(
        f"{_shown(trace.program.path)}: {calls} calls, {len(trace.calls)} syscalls; "
        f"{rules} in the profile; sha256 {trace.program.sha256}"
    )
    if comparison.lacking:
        lines += ["", "NOT IN THE PROFILE:"]
        lines += [f"shim: {_loud(finding)}" for finding in comparison.lacking]
        lines.append(
            f"shim: {len(comparison.lacking)} findings: a filter of this profile would have killed it; "
            "where the profile admits no open place, that is a bug of the analysis: please report it"
        )
    return "\n".join(lines) + "\n"


def _table(trace: Trace) -> list[str]:
    rows = [("syscall", "nr", "count", "made at")]
    rows += [(call.name, str(call.number), str(call.count), _places(call.sites)) for call in trace.calls]
    rows += [(call.abi, str(call.number), str(call.count), _places(call.sites)) for call in trace.foreign]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{name:<{widths[0]}}  {number:>{widths[1]}}  {count:>{widths[2]}}  {places}"
        for name, number, count, places in rows
    ]


def _places(sites: tuple[Site, ...]) -> str:
    first = sites[0]
    more = f" +{len(sites) - 1}" if len(sites) > 1 else ""
    where = first.function or first.object.rsplit("/", 1)[-1]
    return f"{_shown(where)} {first.address:#x}{more}"


def _loud(finding: Finding) -> str:
    """Return one line: what, with which arguments, from where, and whether the profile knew."""
    what = {
        "call": "the profile does not have it",
        "arguments": "the profile does not allow these arguments",
        "site": "the profile does not list these places for it",
        "abi": "the profile knows no call of that ABI there",
    }[finding.kind]
    call = finding.name if finding.kind == "abi" else f"{finding.name} [{finding.number}]"
    if finding.kind == "arguments":
        call += f"({', '.join('_' if value is None else hex(value) for value in finding.arguments)})"
    shown = [f"{_shown(site.function or '?')} at {site.address:#x} of {_shown(site.object)}"
             for site in finding.sites[:_SHOWN_SITES]]  # fmt: skip
    if len(finding.sites) > _SHOWN_SITES:
        shown.append(f"and {len(finding.sites) - _SHOWN_SITES} more places")
    admitted = "; the profile says that it could not bound this" if finding.admitted else ""
    return f"{call}: {what}: {', '.join(shown)}{admitted}"


def _json(trace: Trace, comparison: Comparison, statuses: tuple[str, ...]) -> str:
    value: dict[str, JsonValue] = {
        "program": trace.program.path,
        "sha256": trace.program.sha256,
        "runs": list(statuses),
        "lacking": [_finding_value(finding) for finding in comparison.lacking],
        "untraced": [rule.name for rule in comparison.untraced],
        "unchecked": list(comparison.unchecked),
        "traced": [call.name for call in trace.calls],
    }
    return canonical_bytes(value).decode() + "\n"


def _finding_value(finding: Finding) -> dict[str, JsonValue]:
    return {
        **asdict(finding),
        "arguments": [None if value is None else hex(value) for value in finding.arguments],
        "sites": [{**asdict(site), "address": hex(site.address)} for site in finding.sites],
    }


def _shown(text: str) -> str:
    return one_line(text)
