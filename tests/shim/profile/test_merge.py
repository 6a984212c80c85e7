"""A union allows what either does, says which one it was, and never mixes programs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.errors import ProfileError
from shim.profile import dumps, loads
from shim.profile.diff import diff
from shim.profile.merge import merged
from shim.profile.profile import AnalysedObject, ArgumentCondition, Phase, Profile, Site, SyscallRule

ONE, TWO = (ArgumentCondition(1, "eq", 1),), (ArgumentCondition(1, "eq", 2),)


def single(profile: Profile, *rules: SyscallRule) -> Profile:
    first = Phase("traced", None, rules)
    return replace(profile, phases=(first,), objects=profile.objects[:1], unresolved=(), assumptions=())


def test_what_only_the_other_has_says_where_it_comes_from(profile: Profile) -> None:
    other = single(profile, SyscallRule(3, "close", (), (Site("/bin/program", 7, "f"),), ("main",)))
    both = merged(profile, other, "traced: 3 times")
    for phase in both.phases:
        rule = next(rule for rule in phase.rules if rule.name == "close")
        assert rule.why == ("traced: 3 times", "main")
    assert [phase.name for phase in both.phases] == ["startup", "main"]
    assert loads(dumps(both), "both") == both


def test_the_profiles_own_reasons_stay(profile: Profile) -> None:
    both = merged(profile, single(profile, SyscallRule(0, "read", (), (), ("elsewhere",))), "traced")
    assert both.phases[0].rules[0].why == ("_start", "main", "read")


def test_conditions_are_alternatives_and_none_wins(profile: Profile) -> None:
    base = single(profile, SyscallRule(16, "ioctl", (ONE,)))
    assert merged(base, single(profile, SyscallRule(16, "ioctl", (TWO,))), "t").phases[0].rules[
        0
    ].conditions == (ONE, TWO)
    assert merged(base, single(profile, SyscallRule(16, "ioctl")), "t").phases[0].rules[0].conditions == ()


def test_a_union_is_no_less_than_either(profile: Profile) -> None:
    other = replace(
        profile, phases=(profile.phases[0], replace(profile.phases[1], rules=(SyscallRule(59, "execve"),)))
    )
    both = merged(profile, other, "other")
    assert not diff(both, profile).grew
    assert not diff(both, other).grew
    assert not diff(profile, merged(profile, profile, "itself")).grew


def test_what_is_open_stays_open_and_objects_stand_once(profile: Profile) -> None:
    closed = replace(profile, unresolved=(), assumptions=("other",))
    both = merged(closed, profile, "x")
    assert both.unresolved == profile.unresolved
    assert not both.complete
    assert both.assumptions == ("other", "no gconv modules")
    assert both.objects == profile.objects


def test_the_program_may_have_been_called_otherwise(profile: Profile) -> None:
    moved = replace(profile, objects=(replace(profile.program, path="/proc/self/exe"), *profile.objects[1:]))
    assert merged(profile, moved, "x").objects == profile.objects


def test_different_things_are_not_mixed(profile: Profile) -> None:
    other_program = replace(profile, objects=(replace(profile.program, sha256="ff" * 32),))
    other_library = replace(
        profile, objects=(profile.program, AnalysedObject("/lib/libc.so.6", "ff" * 32, ""))
    )
    other_phases = replace(profile, phases=(profile.phases[0], replace(profile.phases[1], name="serving")))
    other_boundary = replace(profile, phases=(profile.phases[0], replace(profile.phases[1], boundary=5)))
    other_arch = replace(profile, arch="riscv64")  # type: ignore[arg-type]
    for other, where in (
        (other_program, "program"),
        (other_library, "object /lib/libc.so.6"),
        (other_phases, "phases"),
        (other_boundary, "phases"),
        (other_arch, "architecture"),
    ):
        with pytest.raises(ProfileError) as caught:
            merged(profile, other, "x")
        assert caught.value.where == where
