"""The page says what the profile says, and nothing in a profile becomes more than text."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shim.profile.export.html import html
from shim.profile.export.html_calls import MOST_SITES
from shim.profile.export.markup import Markup, element, joined, visible
from shim.profile.profile import (
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    Site,
    SyscallRule,
    UnresolvedSite,
)
from shim.syscalls import table

VOID = {"meta", "input", "rect"}
EVIL = (
    "</script><img src=http://{host}/a onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "</title></style><style>*{{background:url(http://{host}/b)}}</style>",
    "<link rel=stylesheet href=http://{host}/c>",
    "&lt;b&gt;\u202ereversed\u0000\x1b[31m",
)


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, and the text in each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def with_class(self, tag: str, name: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and name in (a.get("class") or "").split()]


def hostile(profile: Profile, host: str = "attacker.example") -> Profile:
    """Every text of the profile that comes from a file is one of EVIL."""
    one, two, three, four, five = (text.format(host=host) for text in EVIL)
    rule = SyscallRule(
        1, "write", (), (Site(one, 1, two), Site(f"/{three}", 2, four)), (f"{one}: {three}", two)
    )
    return replace(
        profile,
        objects=(AnalysedObject(f"/bin/{one}{five}", "ab" * 32, ""), AnalysedObject(three, "cd" * 32, "")),
        phases=(Phase(two, None, (rule,)), Phase(f"{one}{five}", 16, (replace(rule, why=(four,)),))),
        unresolved=(UnresolvedSite(one, 3, two, three),),
        foreign_abi=(UnresolvedSite(four, 4, five, one),),
        assumptions=(three, four),
        tool_version=two,
    )


def vast(profile: Profile) -> Profile:
    """Three phases, conditions, a shared object, the vDSO, and more sites than anybody reads."""
    libc = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    sites = tuple(Site(libc, 0x1000 + 16 * n, f"lock{n}") for n in range(300))
    vdso = Site("[vdso]", 0x7A0, "__vdso_clock_gettime")
    prot = ((ArgumentCondition(2, "masked_eq", 0, 4),),)
    domains = tuple((ArgumentCondition(0, "eq", n),) for n in range(100))
    rules = (
        SyscallRule(9, "mmap", prot, sites[:2], ("entry point: _start", "calls at 0x10: mmap")),
        SyscallRule(41, "socket", domains, sites[:1]),
        SyscallRule(202, "futex", (), sites, ("entry point: _start",)),
        SyscallRule(228, "clock_gettime", (), (vdso,), ("the vDSO falls back to it",)),
    )
    later = (replace(rules[0], conditions=()), rules[2])
    phases = (
        Phase("startup", None, rules),
        Phase("main", 0x40_1136, later),
        Phase("serving", 2**64 - 1, later[1:]),
    )
    return replace(profile, phases=phases, unresolved=(), foreign_abi=())


def test_the_page_is_well_formed_and_has_every_call(profile: Profile) -> None:
    page = Page(html(profile))
    assert page.open == []
    names = {(a.get("id") or "").removeprefix("call-") for a in page.with_class("details", "call")}
    assert names == {"read", "write", "mmap", "ioctl"}
    assert "program" in "".join(page.texts["h1"])
    assert "Incomplete" in page.texts["span"]
    assert any("the number comes from a file" in text for text in page.texts["li"])
    assert "no gconv modules" in page.texts["code"]


def test_the_same_profile_is_the_same_page(profile: Profile) -> None:
    assert html(profile) == html(replace(profile))


def test_nothing_is_loaded_and_nothing_runs(profile: Profile) -> None:
    for text in (html(profile), html(vast(profile)), html(hostile(profile))):
        page = Page(text)
        assert page.tags().isdisjoint(
            {"script", "img", "link", "iframe", "object", "embed", "base", "form", "audio"}
        )
        assert sum(tag == "style" for tag, _ in page.elements) == 1
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") for name in attributes), tag
            assert set(attributes).isdisjoint({"src", "style", "srcset", "action", "background"})
            assert (attributes.get("href") or "#").startswith("#")
        assert "url(" not in "".join(page.texts["style"])
        assert "@import" not in "".join(page.texts["style"])


def test_the_policy_allows_this_style_sheet_and_nothing_else(profile: Profile) -> None:
    text = html(hostile(profile))
    found = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert found
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policies = [a["content"] for tag, a in Page(text).elements if tag == "meta" and "http-equiv" in a]
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


def test_hostile_texts_are_shown_and_change_no_element(profile: Profile) -> None:
    def shape(p: Profile) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attributes))) for tag, attributes in Page(html(p)).elements]

    def tame(text: str) -> str:
        return "x" if "/" not in text else "/x"

    evil = hostile(profile)
    phases = tuple(
        replace(
            phase,
            name=f"phase {number}",
            rules=tuple(
                replace(r, sites=tuple(Site(f"/{s.address}", s.address, "f") for s in r.sites), why=tuple("a: b" if ": " in w else "c" for w in r.why))
                for r in phase.rules
            ),
        )
        for number, phase in enumerate(evil.phases)
    )  # fmt: skip
    harmless = replace(
        evil,
        objects=tuple(replace(entry, path=tame(entry.path)) for entry in evil.objects),
        phases=phases,
        unresolved=(UnresolvedSite("o", 3, "f", "r"),),
        foreign_abi=(UnresolvedSite("o", 4, "f", "r"),),
        assumptions=("a", "b"),
        tool_version="1",
    )
    assert shape(evil) == shape(harmless)
    everything = "".join(text for texts in Page(html(evil)).texts.values() for text in texts)
    assert EVIL[1] in everything
    assert "\u202e" not in html(evil)
    assert "\\u202ereversed\\x00\\x1b[31m" in everything


def test_phases_with_their_own_reasons_stand_apart(profile: Profile) -> None:
    page = Page(html(vast(profile)))
    assert [text for text in page.texts["h3"] if text.startswith("In ")].count("In startup") == 3
    assert "In startup, main, serving" in page.texts["h3"]  # futex, for the same reasons in each
    assert "In main" in page.texts["h3"]  # mmap, with any arguments
    assert "prot & 0x4 = 0x0" in page.texts["code"]
    assert {"first instruction", "0x401136", "0xffffffffffffffff"} <= set(page.texts["code"])
    choices = [a.get("id") for tag, a in page.elements if tag == "input"]
    assert choices == ["risk-all", "risk-moderate", "risk-low", "phase-all", "phase-0", "phase-1", "phase-2"]


def test_a_call_of_one_phase_is_marked_narrow_only_if_every_phase_is(profile: Profile) -> None:
    text = html(vast(profile))
    narrow = {part.split('"')[0] for part in text.split('id="call-')[1:] if "certain arguments" in part}
    assert narrow == {"socket"}


def test_long_lists_end_with_how_many_more_there_are(profile: Profile) -> None:
    text = html(vast(profile))
    assert f"and {300 - MOST_SITES} more, in the JSON" in text
    assert "and 52 more, in the JSON" in text
    assert "Issued at 300 places" in text
    assert len(text) < 200_000


def test_the_refused_are_counted_and_the_worst_stand_open(profile: Profile) -> None:
    page = Page(html(profile))
    titles = {a.get("title") for tag, a in page.elements if tag == "code" and a.get("title")}
    assert "replace the program" in titles
    assert str(len(table("x86_64").numbers) - 4) in page.texts["span"]


def test_everything_at_once(profile: Profile) -> None:
    rules = tuple(
        SyscallRule(number, name)
        for name, number in sorted(table("x86_64").numbers.items(), key=lambda i: i[1])
    )
    page = Page(html(replace(profile, phases=(Phase("all", None, rules),))))
    assert len(page.with_class("details", "call")) == len(rules)
    assert "None of high or critical risk." in page.texts["p"]
    nothing = Page(html(replace(profile, phases=(Phase("none", None, ()),))))
    assert nothing.with_class("details", "call") == []


def test_elements_escape_all_but_markup() -> None:
    assert element("p", "<b>", Markup("<i></i>"), title='"&') == '<p title="&quot;&amp;">&lt;b&gt;<i></i></p>'
    assert element("input", checked=False, type="radio") == '<input type="radio">'
    assert element("label", class_="a", aria_label="b") == '<label class="a" aria-label="b"></label>'
    assert isinstance(joined("<"), Markup)
    assert joined(Markup("<br>") + "<") == "&lt;br&gt;&lt;"  # a sum of markup and text is text
    assert visible("a\u200b\u2066é\n") == "a\\u200b\\u2066é\\x0a"


# --- a real browser


@pytest.fixture
def chromium(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium to look at the page with")

    def look(page: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        file = tmp_path / "page.html"
        file.write_text(page)
        home = f"--user-data-dir={tmp_path / 'home'}"
        quiet = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]
        command = [path, *quiet, home, "--enable-logging=stderr", *options, file.as_uri()]
        return subprocess.run(command, capture_output=True, check=True, timeout=120)

    return look


def complaints(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]


def test_a_browser_shows_the_hostile_page_and_asks_nobody(
    profile: Profile, chromium: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as attacker:
        attacker.setblocking(False)
        evil = hostile(profile, f"127.0.0.1:{attacker.getsockname()[1]}")
        done = chromium(html(evil), "--dump-dom")
        with pytest.raises(BlockingIOError):
            attacker.accept()
    assert complaints(done) == []
    page = Page(done.stdout.decode())
    assert page.tags().isdisjoint({"script", "img", "link", "iframe"})
    assert len(page.with_class("details", "call")) == 1
    assert page.texts["title"][0].endswith(": syscall profile")


def test_a_browser_takes_the_style_and_no_other(
    profile: Profile, chromium: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    page = html(vast(profile))
    assert complaints(chromium(page, "--dump-dom")) == []
    changed = page.replace("max-width: 66rem", "max-width: 67rem")
    assert any("style" in line for line in complaints(chromium(changed, "--dump-dom")))


@pytest.mark.parametrize("size", ["1200,900", "400,900"])
def test_a_browser_draws_the_page(
    profile: Profile, size: str, tmp_path: Path, chromium: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    picture = tmp_path / "page.png"
    chromium(html(vast(profile)), f"--window-size={size}", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000  # an empty page has under 5,000
