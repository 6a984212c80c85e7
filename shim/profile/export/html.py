"""
What does a profile look like?

One page: what the program may do by what that reaches, how far, and why, each call opening to its call chain.
Nothing runs and nothing is loaded: no script, no font, no image, one style sheet in the page, allowed by its
digest; the content security policy forbids everything else.  Choosing phases and risks is done by the style
sheet alone, and without one the page still reads from top to bottom.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from pathlib import PurePosixPath

from shim.profile.export.html_calls import Allowed, allowed_calls, group_sections
from shim.profile.export.html_style import style_sheet
from shim.profile.export.markup import Markup, element, joined
from shim.profile.phases import rules_from
from shim.profile.profile import Profile, UnresolvedSite
from shim.syscalls import SyscallTable, table
from shim.syscalls.effects import EFFECTS, GROUPS, Risk


def html(profile: Profile) -> str:
    """Return the page, UTF-8 when written; equal profiles give equal text."""
    syscalls = table(profile.arch)
    calls = allowed_calls(profile)
    style = style_sheet(len(profile.phases))
    body = joined(
        _header(profile),
        element(
            "main",
            _open_ends(profile),
            _overview(profile, calls, syscalls),
            _choices(profile, calls),
            _contents(calls),
            *group_sections(profile, calls),
            element("p", "No call that is allowed meets this choice.", class_="nothing"),
            _refused(calls, syscalls),
            _foundations(profile),
        ),
        element(
            "footer", f"shim {profile.tool_version} · risks: systemd's sets and Docker's default profile"
        ),
    )
    return f"<!DOCTYPE html>\n{element('html', _head(profile, style), element('body', body), lang='en')}\n"


def _head(profile: Profile, style: Markup) -> Markup:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{_short(profile.program.path)}: syscall profile"),
        element("style", style),
    )


def _header(profile: Profile) -> Markup:
    state = ("complete", "Complete") if profile.complete else ("incomplete", "Incomplete")
    return element(
        "header",
        element("p", "Syscall profile", class_="kind"),
        element(
            "h1", _short(profile.program.path), " ", element("span", state[1], class_=f"state {state[0]}")
        ),
        element(
            "dl",
            *_fact("Program", profile.program.path),
            *_fact("SHA-256", profile.program.sha256),
            *(_fact("Build ID", profile.program.build_id) if profile.program.build_id else ()),
            *_fact("Machine", f"{profile.arch}, syscalls up to Linux {table(profile.arch).kernel}"),
        ),
    )


def _fact(term: str, text: str) -> tuple[Markup, Markup]:
    return element("dt", term), element("dd", element("code", text))


def _open_ends(profile: Profile) -> Markup:
    """What makes the profile incomplete stands first, before anybody believes the rest."""
    if profile.complete:
        return Markup()
    return element(
        "section",
        element("h2", "What could not be bounded"),
        element("p", "At these places the program may ask for more than this page shows."),
        _places("Unresolved", profile.unresolved),
        _places("Another ABI", profile.foreign_abi),
        class_="warning",
    )


def _places(title: str, places: tuple[UnresolvedSite, ...]) -> Markup:
    if not places:
        return Markup()
    rows = [
        element(
            "li",
            element("code", f"{place.function or 'code'} at {place.address:#x}"),
            f" in {_short(place.object)}: {place.reason}",
        )
        for place in places
    ]
    return joined(element("h3", f"{title}: {len(places)}"), element("ul", *rows))


def _overview(profile: Profile, calls: tuple[Allowed, ...], syscalls: SyscallTable) -> Markup:
    risks = Counter(call.effect.risk for call in calls)
    tiles = [_tile(f"risk-{risk.name.lower()}", risks[risk], risk) for risk in sorted(Risk, reverse=True)]
    total = element(
        "p",
        element("strong", str(len(calls))),
        f" of {len(syscalls.numbers)} syscalls allowed, {len(syscalls.numbers) - len(calls)} refused",
        class_="total",
    )
    return element("section", total, _bar(risks), element("ul", *tiles, class_="tiles"), _phases(profile))


def _tile(class_: str, count: int, risk: Risk) -> Markup:
    return element(
        "li",
        element("strong", str(count)),
        element("span", risk.name.lower(), class_="name"),
        element("span", risk.meaning, class_="meaning"),
        class_=class_,
    )


def _bar(risks: Counter[Risk]) -> Markup:
    """Shares of the risks, the highest first; widths are attributes, as the policy forbids inline style."""
    total = max(1, risks.total())
    parts, start = [], 0
    for risk in sorted(Risk, reverse=True):
        if risks[risk]:
            name = risk.name.lower()
            parts.append(element("rect", class_=name, x=start, y=0, width=risks[risk], height=1))
        start += risks[risk]
    label = ", ".join(f"{risks[risk]} {risk.name.lower()}" for risk in sorted(Risk, reverse=True))
    attributes = {"viewBox": f"0 0 {total} 1", "preserveAspectRatio": "none"}
    return element("svg", *parts, class_="bar", role="img", aria_label=label, **attributes)


def _phases(profile: Profile) -> Markup:
    if len(profile.phases) == 1:
        return Markup()
    head = element("tr", *(element("th", title, scope="col") for title in ("Phase", "Starts at", "Needs", "Filter allows", "Risks of what it needs")))  # noqa: E501  # fmt: skip
    rows = [
        element(
            "tr",
            element("th", phase.name, scope="row"),
            element(
                "td",
                element("code", "first instruction" if phase.boundary is None else f"{phase.boundary:#x}"),
            ),
            element("td", str(len(phase.rules)), class_="number"),
            element("td", str(len(rules_from(profile, position))), class_="number"),
            element("td", _bar(Counter(EFFECTS[rule.name].risk for rule in phase.rules)), class_="shares"),
        )
        for position, phase in enumerate(profile.phases)
    ]
    return joined(
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="wide"),
        element("p", "Filters only tighten: each phase also allows what later phases need.", class_="note"),
    )


def _choices(profile: Profile, calls: tuple[Allowed, ...]) -> Markup:
    """Radio buttons that the style sheet looks at; they submit nothing."""
    risks = Counter(call.effect.risk for call in calls)
    by_risk = [("risk-all", "all", True)]
    by_risk += [(f"risk-{risk.name.lower()}", risk.name.lower(), False) for risk in sorted(Risk, reverse=True) if risks[risk]]  # noqa: E501  # fmt: skip
    fields = [_choice("Risk", "risk", by_risk)]
    if len(profile.phases) > 1:
        by_phase = [("phase-all", "all", True)]
        by_phase += [(f"phase-{number}", phase.name, False) for number, phase in enumerate(profile.phases)]
        fields.append(_choice("Phase", "phase", by_phase))
    return element("div", *fields, class_="choices")


def _choice(title: str, group: str, options: list[tuple[str, str, bool]]) -> Markup:
    buttons = [
        element(
            "label",
            element("input", type="radio", name=group, id=key, checked=checked),
            element("span", text),
        )
        for key, text, checked in options
    ]
    return element("fieldset", element("legend", title), *buttons)


def _contents(calls: tuple[Allowed, ...]) -> Markup:
    counts = Counter(call.effect.group for call in calls)
    links = [
        element("a", f"{group.title} {counts[group.key]}", href=f"#group-{group.key}")
        for group in GROUPS
        if counts[group.key]
    ]
    return element("nav", *links, class_="contents", aria_label="Groups")


def _refused(calls: tuple[Allowed, ...], syscalls: SyscallTable) -> Markup:
    """What the program cannot do is as much worth knowing; the worst calls stand open."""
    allowed = {call.name for call in calls}
    refused = [name for name in syscalls.numbers if name not in allowed]
    worst = [name for name in refused if EFFECTS[name].risk >= Risk.HIGH]
    worst.sort(key=lambda name: -EFFECTS[name].risk)
    rest = [
        joined(element("h3", group.title), _names([n for n in refused if EFFECTS[n].group == group.key]))
        for group in GROUPS
        if any(EFFECTS[name].group == group.key for name in refused)
    ]
    return element(
        "section",
        element("h2", "Not allowed", " ", element("span", str(len(refused)), class_="count")),
        element(
            "p",
            f"Among them {len(worst)} of high and critical risk:"
            if worst
            else "None of high or critical risk.",
        ),
        _names(worst),
        element(
            "details", element("summary", f"All {len(refused)}, by what they reach"), *rest, class_="all"
        ),
        class_="refused",
    )


def _names(names: list[str]) -> Markup:
    return element("p", *(element("code", name, class_=EFFECTS[name].risk.name.lower(), title=EFFECTS[name].summary) for name in names), class_="names")  # noqa: E501  # fmt: skip


def _foundations(profile: Profile) -> Markup:
    objects = [
        element(
            "li",
            element("code", entry.path),
            " ",
            element("span", f"sha256 {entry.sha256[:16]}…", class_="dim"),
        )
        for entry in profile.objects
    ]
    assumed = [element("li", element("code", assumption)) for assumption in profile.assumptions]
    return element(
        "section",
        element("h2", "What this rests on"),
        element("h3", f"Objects analysed: {len(objects)}"),
        element("ul", *objects),
        *([element("h3", f"Assumptions: {len(assumed)}"), element("ul", *assumed)] if assumed else []),
        class_="foundations",
    )


def _short(path: str) -> str:
    return PurePosixPath(path).name or path
