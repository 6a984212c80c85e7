"""Does the table of pins have every place, and say when it cannot?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.profile.pins import VDSO_CALLS, pins
from shim.profile.profile import AnalysedObject, Phase, Profile, Site, SyscallRule, UnresolvedSite
from shim.syscalls import table

X86_64 = table("x86_64")
READ, SLEEP = Site("p", 0x10, "read"), Site("p", 0x20, "sleep")


def rule(name: str, *sites: Site) -> SyscallRule:
    return SyscallRule(X86_64.number(name), name, sites=sites)


def profile(*phases: tuple[SyscallRule, ...]) -> Profile:
    named = tuple(Phase(f"phase{index}", None, rules) for index, rules in enumerate(phases))
    return Profile("x86_64", (AnalysedObject("p", "0" * 64, ""),), named, (), (), (), "0")


def test_every_place_of_every_call() -> None:
    table_ = pins(profile((rule("read", READ, SLEEP), rule("nanosleep", SLEEP))))
    assert [(pin.name, pin.sites) for pin in table_.pins] == [
        ("read", (READ, SLEEP)),
        ("nanosleep", (SLEEP,)),
    ]
    assert table_.pinnable


def test_a_restart_comes_from_what_was_interrupted() -> None:
    (restart,) = [
        pin
        for pin in pins(profile((rule("read", READ), rule("nanosleep", SLEEP), rule("restart_syscall")))).pins
        if pin.name == "restart_syscall"
    ]
    assert restart.sites == (SLEEP,)


@pytest.mark.parametrize("name", sorted(VDSO_CALLS))
def test_the_vdso_may_make_its_calls(name: str) -> None:
    assert [pin.vdso for pin in pins(profile((rule(name, READ),))).pins] == [True]


def test_no_other_call_comes_from_the_vdso() -> None:
    assert not any(pin.vdso for pin in pins(profile((rule("read", READ), rule("exit_group")))).pins)


def test_a_phase_has_the_places_of_later_ones() -> None:
    both = profile((rule("read", READ),), (rule("read", SLEEP),))
    assert pins(both).pins[0].sites == (READ, SLEEP)
    assert pins(both, 1).pins[0].sites == (SLEEP,)
    with pytest.raises(IndexError):
        pins(both, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"unresolved": (UnresolvedSite("p", 1, "f", "why"),)},
        {"foreign_abi": (UnresolvedSite("p", 1, "f", "int 0x80"),)},
        {"assumptions": ("declared-modules: what is opened is declared",)},
    ],
)
def test_what_makes_the_table_incomplete(change: dict[str, object]) -> None:
    assert not pins(replace(profile((rule("read", READ),)), **change)).pinnable  # type: ignore[arg-type]
