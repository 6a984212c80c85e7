"""
How is one allowed call shown, and where on the page?

Calls stand in the groups of `shim.syscalls.effects`, the riskiest first.  A call opens to the reasons of each
phase; phases with the same reasons share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from shim.profile.conditions import alternatives_text
from shim.profile.export.markup import Markup, element, joined
from shim.profile.profile import Profile, Site, SyscallRule
from shim.syscalls.effects import EFFECTS, GROUPS, Effect

MOST_SITES, MOST_ALTERNATIVES = 24, 48
"""A libc has hundreds of futex sites; the JSON has them all."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One call that some phase allows: its rule in each phase, by the phase's position."""

    number: int
    name: str
    effect: Effect
    rules: tuple[tuple[int, SyscallRule], ...]


def allowed_calls(profile: Profile) -> tuple[Allowed, ...]:
    """Return every allowed call of every phase, sorted by number."""
    rules: dict[int, list[tuple[int, SyscallRule]]] = {}
    for position, phase in enumerate(profile.phases):
        for rule in phase.rules:
            rules.setdefault(rule.number, []).append((position, rule))
    return tuple(
        Allowed(number, found[0][1].name, EFFECTS[found[0][1].name], tuple(found))
        for number, found in sorted(rules.items())
    )


def group_sections(profile: Profile, calls: Sequence[Allowed]) -> Iterator[Markup]:
    """Yield a section for each group that has allowed calls, in the order of the groups."""
    for group in GROUPS:
        members = [call for call in calls if call.effect.group == group.key]
        if members:
            members.sort(key=lambda call: (-call.effect.risk, call.name))
            yield element(
                "section",
                element("h2", group.title, " ", element("span", str(len(members)), class_="count")),
                *(_call(profile, call) for call in members),
                class_="group",
                id=f"group-{group.key}",
            )


def _call(profile: Profile, call: Allowed) -> Markup:
    risk = call.effect.risk.name.lower()
    phases = " ".join(f"in-{position}" for position, _ in call.rules)
    several = len(profile.phases) > 1
    return element(
        "details",
        element(
            "summary",
            element("span", risk, class_=f"chip {risk}"),
            element("code", call.name, class_="syscall"),
            element("span", call.effect.summary, class_="phrase"),
            element("span", *_marks(profile, call), class_="marks"),
        ),
        element("div", *_reasons(profile, call, several=several), class_="reasons"),
        class_=f"call is-{risk} {phases}",
        id=f"call-{call.name}",
    )


def _marks(profile: Profile, call: Allowed) -> Iterator[Markup]:
    if all(rule.conditions for _, rule in call.rules):
        yield element("span", "certain arguments", class_="mark narrow")
    if len(profile.phases) > 1:
        positions = {position for position, _ in call.rules}
        for position, phase in enumerate(profile.phases):
            if position in positions:
                yield element("span", phase.name, class_="mark phase")
    yield element("span", f"nr {call.number}", class_="mark nr")


def _reasons(profile: Profile, call: Allowed, *, several: bool) -> Iterator[Markup]:
    """Yield one block for each set of phases that share their reasons."""
    blocks: dict[tuple[object, ...], list[tuple[int, SyscallRule]]] = {}
    for position, rule in call.rules:
        blocks.setdefault((rule.conditions, rule.sites, rule.why), []).append((position, rule))
    for block in blocks.values():
        if several:
            names = ", ".join(profile.phases[position].name for position, _ in block)
            yield element("h3", f"In {names}", class_="phases")
        yield _reason(profile, block[0][1])


def _reason(profile: Profile, rule: SyscallRule) -> Markup:
    return joined(_arguments(rule), _chain(rule), _sites(profile, rule))


def _arguments(rule: SyscallRule) -> Markup:
    if not rule.conditions:
        return Markup()
    texts = alternatives_text(rule)
    shown = [element("li", element("code", text)) for text in texts[:MOST_ALTERNATIVES]]
    title = "Only if" if len(texts) == 1 else "Only if one of these holds"
    return joined(
        element("h4", title), element("ul", *shown, *_more(len(texts) - len(shown)), class_="conditions")
    )


def _chain(rule: SyscallRule) -> Markup:
    if not rule.why:
        return Markup()
    links = [element("li", _link(link)) for link in rule.why]
    return joined(element("h4", "Why: the shortest way there"), element("ol", *links, class_="chain"))


def _link(link: str) -> Markup:
    """A link reads `how at where: function`; the function is what the eye looks for."""
    how, separator, function = link.rpartition(": ")
    if not separator:
        return joined(link)
    return joined(element("span", f"{how}: ", class_="dim"), element("code", function))


def _sites(profile: Profile, rule: SyscallRule) -> Markup:
    if not rule.sites:
        return Markup()
    rows = [_site(profile, site) for site in rule.sites[:MOST_SITES]]
    title = "Issued at one place" if len(rule.sites) == 1 else f"Issued at {len(rule.sites)} places"
    return joined(
        element("h4", title), element("ul", *rows, *_more(len(rule.sites) - len(rows)), class_="sites")
    )


def _site(profile: Profile, site: Site) -> Markup:
    where = (
        "" if site.object == profile.program.path else f" in {PurePosixPath(site.object).name or site.object}"
    )
    place = f" at {site.address:#x}{where}"
    return element("li", element("code", site.function or "code"), element("span", place, class_="dim"))


def _more(count: int) -> list[Markup]:
    return [element("li", f"and {count} more, in the JSON", class_="dim")] if count > 0 else []
