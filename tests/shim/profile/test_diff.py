"""What grew is found, wherever it is; what only moved is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import ProfileError
from shim.filter import SeccompData, compile_filter, simulate
from shim.filter.actions import ALLOW
from shim.profile import rules_from
from shim.profile.diff import Difference, diff
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

X86_64 = table("x86_64")
ONE, TWO = (ArgumentCondition(1, "eq", 1),), (ArgumentCondition(1, "eq", 2),)
OPEN = UnresolvedSite("/bin/p", 0x1000, "sub_401000", "the number at 0x1000 comes from memory")


def rule(name: str, *conditions: tuple[ArgumentCondition, ...]) -> SyscallRule:
    return SyscallRule(X86_64.number(name), name, conditions)


def phase(name: str, *rules: SyscallRule) -> Phase:
    boundary = None if name == "startup" else 0x40_0000 + len(name)
    return Phase(name, boundary, tuple(sorted(rules, key=lambda r: r.number)))


def of(*phases: Phase, path: str = "/bin/p") -> Profile:
    return Profile("x86_64", (AnalysedObject(path, "00" * 32, ""),), phases, (), (), (), "0")


def changes(difference: Difference) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(change.kind, change.name, change.phases) for change in difference.syscalls}


READ, WRITE = rule("read"), rule("write")
BASE = of(phase("startup", READ, rule("open")), phase("main", READ, rule("ioctl", ONE)))


def test_nothing_differs_from_itself(profile: Profile) -> None:
    for same in (profile, BASE):
        difference = diff(same, replace(same))
        assert not difference.grew
        assert not difference.shrank
        assert difference.syscalls == ()


def test_a_call_more_and_a_call_less() -> None:
    after = of(phase("startup", READ), phase("main", READ, WRITE, rule("ioctl", ONE)))
    difference = diff(BASE, after)
    assert changes(difference) == {("added", "write", ("startup", "main")), ("removed", "open", ("startup",))}
    assert {change.name: change.everywhere for change in difference.syscalls} == {
        "write": True,
        "open": False,
    }
    assert difference.grew
    assert difference.shrank
    assert not diff(after, of(phase("startup", READ), phase("main", READ))).grew


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ([ONE], [ONE, TWO], "widened"),
        ([ONE], [TWO], "widened"),
        ([ONE], [], "widened"),
        ([ONE, TWO], [ONE], "narrowed"),
        ([], [ONE], "narrowed"),
        ([ONE, TWO], [TWO, ONE], None),
        ([ONE, TWO], [(ArgumentCondition(1, "ge", 1), ArgumentCondition(1, "le", 2))], None),
    ],
)
def test_arguments_more_and_less(
    before: list[tuple[ArgumentCondition, ...]], after: list[tuple[ArgumentCondition, ...]], kind: str | None
) -> None:
    difference = diff(
        of(phase("startup", rule("ioctl", *before))), of(phase("startup", rule("ioctl", *after)))
    )
    assert changes(difference) == ({(kind, "ioctl", ("startup",))} if kind else set())
    assert difference.grew is (kind == "widened")
    assert difference.shrank is (kind == "narrowed")


def test_a_call_that_lasts_longer_grew_and_one_that_ends_earlier_did_not() -> None:
    early = of(phase("startup", READ, WRITE), phase("main", READ))
    late = of(phase("startup", READ), phase("main", READ, WRITE))
    assert changes(diff(early, late)) == {("added", "write", ("main",))}
    assert changes(diff(late, early)) == {("removed", "write", ("main",))}


def test_a_phase_more_is_compared_with_what_was_in_force() -> None:
    serving = of(*BASE.phases, phase("serving", READ))
    assert not diff(BASE, serving).grew
    assert diff(BASE, serving).phases.added == ("serving",)
    assert changes(diff(BASE, serving)) == {("removed", "ioctl", ("serving",))}
    lost = diff(serving, BASE)  # while it serves, main's filter is in force
    assert changes(lost) == {("added", "ioctl", ("serving",))}
    assert lost.grew


def test_one_phase_against_two() -> None:
    single = of(phase("startup", READ, rule("open"), rule("ioctl", ONE)))
    assert not diff(single, BASE).grew
    assert changes(diff(BASE, single)) == {("added", "open", ("main",))}


def test_other_addresses_and_another_path_are_no_difference() -> None:
    before = replace(BASE, unresolved=(OPEN,))
    moved = replace(OPEN, object="/build/p", address=0x2000, function="sub_402000", reason="the number at 0x2000 comes from memory")  # fmt: skip
    sites = tuple(
        replace(p, boundary=None if p.boundary is None else p.boundary + 64, rules=tuple(replace(r, sites=(Site("/build/p", 9, "f"),), why=("x",)) for r in p.rules))
        for p in BASE.phases
    )  # fmt: skip
    after = replace(of(*sites, path="/build/p"), unresolved=(moved,))
    difference = diff(before, after)
    assert not difference.grew
    assert not difference.shrank
    assert difference.unresolved.added == ()


@pytest.mark.parametrize("field", ["unresolved", "foreign_abi"])
def test_places_that_are_open_count_each(field: str) -> None:
    one, two = replace(BASE, **{field: (OPEN,)}), replace(BASE, **{field: (OPEN, replace(OPEN, address=1))})
    assert diff(BASE, one).grew
    assert not diff(BASE, one).is_complete
    assert diff(one, two).grew
    assert not diff(two, one).grew
    assert diff(two, one).shrank
    assert getattr(diff(one, two), field).added == (replace(OPEN, address=1),)
    elsewhere = replace(BASE, **{field: (replace(OPEN, object="/lib/libc.so.6"),)})
    assert diff(one, elsewhere).grew


def test_assumptions_and_objects_are_shown_and_are_no_growth() -> None:
    after = replace(
        BASE, assumptions=("x",), objects=(*BASE.objects, AnalysedObject("/lib/c", "11" * 32, ""))
    )
    difference = diff(BASE, after)
    assert difference.assumptions.added == ("x",)
    assert difference.objects.added == (f"/lib/c sha256 {'11' * 32}",)
    assert not difference.grew


def test_another_architecture_cannot_be_compared() -> None:
    with pytest.raises(ProfileError, match="architecture"):
        diff(BASE, replace(BASE, arch="riscv64"))  # type: ignore[arg-type]


CONJUNCTIONS = st.lists(
    st.builds(
        ArgumentCondition,
        st.integers(0, 1),
        st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
RULES = st.lists(
    st.builds(
        lambda name, conditions: rule(name, *conditions),
        st.sampled_from(["read", "write", "ioctl", "socket"]),
        st.lists(CONJUNCTIONS, max_size=2),
    ),
    max_size=4,
    unique_by=lambda r: r.number,
)
PROFILES = st.lists(RULES, min_size=1, max_size=3).map(
    lambda sets: of(
        *(phase(name, *rules) for name, rules in zip(("startup", "main", "serving"), sets, strict=False))
    )
)


@settings(max_examples=60, deadline=None)
@given(before=PROFILES, after=PROFILES)
def test_what_did_not_grow_lets_nothing_new_through(before: Profile, after: Profile) -> None:
    if diff(before, after).grew:
        return
    for position in range(len(after.phases)):
        there = min(position, len(before.phases) - 1)
        old, new = (compile_filter(rules_from(p, n), X86_64) for p, n in ((before, there), (after, position)))
        for name in ("read", "write", "ioctl", "socket"):
            for first in range(5):
                for second in range(5):
                    call = SeccompData(X86_64.number(name), X86_64.audit_arch, 0, (first, second, 0, 0, 0, 0))
                    assert simulate(new, call).action != ALLOW or simulate(old, call).action == ALLOW


@settings(max_examples=60, deadline=None)
@given(before=PROFILES, more=RULES)
def test_what_is_added_is_reported(before: Profile, more: list[SyscallRule]) -> None:
    known = {r.number for r in rules_from(before, 0)}
    new = [r for r in more if r.number not in known]
    last = before.phases[-1]
    grown = replace(last, rules=tuple(sorted((*last.rules, *new), key=lambda r: r.number)))
    difference = diff(before, replace(before, phases=(*before.phases[:-1], grown)))
    assert {change.name for change in difference.syscalls if change.kind == "added"} == {r.name for r in new}
    assert difference.grew is bool(new)
