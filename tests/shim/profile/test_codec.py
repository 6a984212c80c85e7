"""Profiles survive their JSON; damaged JSON never becomes a profile."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from shim.canonical import JsonValue
from shim.errors import ProfileError
from shim.profile import ProfileFormatError, dumps, loads
from shim.profile.codec import MAX_BYTES
from shim.profile.conform import conform
from shim.profile.problems import Problems
from shim.profile.profile import (
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    Site,
    SyscallRule,
    UnresolvedSite,
)
from shim.profile.schema import SCHEMA
from shim.syscalls import table

ROOT = Path(__file__).parents[3]
X86_64 = table("x86_64")
ALL_BITS = 2**64 - 1
Json: TypeAlias = Any
KeyPath: TypeAlias = tuple[str | int, ...]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
some_text = texts.filter(bool)
numbers = st.one_of(
    st.integers(0, ALL_BITS), st.sampled_from([0, 2**53 - 1, 2**53, 2**53 + 1, 2**63, ALL_BITS])
)
plain = st.builds(
    ArgumentCondition, st.integers(0, 5), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), numbers
)
masked = st.builds(
    lambda index, value, mask: ArgumentCondition(index, "masked_eq", value & mask, mask),
    st.integers(0, 5),
    numbers,
    numbers,
)
sites = st.builds(Site, some_text, numbers, texts)


def tuples(of: st.SearchStrategy[Any], least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, min_size=least, max_size=most).map(tuple)


rules = st.builds(
    lambda named, conditions, sites, why: SyscallRule(named[1], named[0], conditions, sites, why),
    st.sampled_from(sorted(X86_64.numbers.items())),
    tuples(tuples(st.one_of(plain, masked))),
    tuples(sites),
    tuples(texts),
)
rule_lists = st.lists(rules, max_size=4, unique_by=lambda rule: rule.number).map(
    lambda found: tuple(sorted(found, key=lambda rule: rule.number))
)
phase_lists = st.lists(
    st.tuples(some_text, numbers, rule_lists), min_size=1, max_size=3, unique_by=lambda phase: phase[0]
).map(
    lambda found: tuple(
        Phase(name, None if position == 0 else boundary, rules)
        for position, (name, boundary, rules) in enumerate(found)
    )
)
hexadecimal = st.binary(max_size=20).map(bytes.hex)
objects = st.builds(
    AnalysedObject, some_text, st.binary(min_size=32, max_size=32).map(bytes.hex), hexadecimal
)
unresolved = st.builds(UnresolvedSite, some_text, numbers, texts, some_text)
profiles = st.builds(
    Profile,
    st.just("x86_64"),
    tuples(objects, least=1),
    phase_lists,
    tuples(unresolved),
    tuples(unresolved),
    tuples(some_text),
    texts,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(profiles)
def test_a_profile_survives_its_json(profile: Profile) -> None:
    data = dumps(profile)
    assert loads(data, "p") == profile
    assert dumps(loads(data, "p")) == data
    assert loads(json.dumps(json.loads(data), indent=3).encode(), "p") == profile


def test_equal_profiles_give_equal_bytes_without_white_space(profile: Profile) -> None:
    assert dumps(profile) == dumps(copy.deepcopy(profile))
    assert not {ord("\n"), ord(" ")} & set(dumps(replace(profile, assumptions=(), unresolved=())))


def places(value: Json, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key and index in a JSON value, as a path."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield (*path, key)
            yield from places(entry, (*path, key))
    elif isinstance(value, list):
        for position, entry in enumerate(value):
            yield (*path, position)
            yield from places(entry, (*path, position))


def holder(value: Json, path: KeyPath) -> Json:
    for step in path[:-1]:
        value = value[step]
    return value


def refuse(value: Json, where: str = "p") -> ProfileFormatError:
    with pytest.raises(ProfileFormatError) as caught:
        loads(json.dumps(value).encode(), where)
    return caught.value


def test_no_key_may_be_missing(profile: Profile) -> None:
    document = json.loads(dumps(profile))
    keys = [path for path in places(document) if isinstance(path[-1], str)]
    assert len(keys) > 40
    for path in keys:
        damaged = copy.deepcopy(document)
        del holder(damaged, path)[path[-1]]
        assert f"no '{path[-1]}'" in refuse(damaged).found


def test_no_key_may_be_added(profile: Profile) -> None:
    document = json.loads(dumps(profile))
    records = [()] + [path for path in places(document) if isinstance(holder(document, (*path, 0)), dict)]
    for path in records:
        damaged = copy.deepcopy(document)
        holder(damaged, (*path, "x"))["x"] = 0
        assert refuse(damaged).found == "unknown key 'x'"


WRONG = [
    None,
    True,
    False,
    -1,
    1.5,
    2**64,
    2**53,
    "",
    "\ud800",
    "0x1",
    "0X20000000000000",
    "0x20000000000000\n",
    [],
    {},
    [[]],
    {"x": 1},
]


def test_no_value_may_be_of_another_kind(profile: Profile) -> None:
    """Each value replaced by each wrong one of another type; integers may stand as numbers or text."""
    document = json.loads(dumps(profile))
    for path in places(document):
        old = holder(document, path)[path[-1]]
        for wrong in WRONG:
            if type(wrong) is type(old) or (path[-1] == "boundary" and wrong is None):
                continue
            if path[-1] in ("value", "mask", "address", "boundary") and type(wrong) in (int, str):
                continue
            damaged = copy.deepcopy(document)
            holder(damaged, path)[path[-1]] = wrong
            refuse(damaged)


def changed(document: dict[str, Json], path: KeyPath, value: Json) -> Json:
    damaged = copy.deepcopy(document)
    holder(damaged, path)[path[-1]] = value
    return damaged


RULE = ("phases", 0, "syscalls", 0)
CONDITION = ("phases", 0, "syscalls", 1, "conditions", 0, 0)
DAMAGE = {
    "another schema version": (("schema_version",), 2),
    "another architecture": (("arch",), "aarch64"),
    "a digest in capitals": (("objects", 0, "sha256"), "AB" * 32),
    "a digest with a newline": (("objects", 0, "sha256"), "ab" * 32 + "\n"),
    "a short digest": (("objects", 0, "sha256"), "ab" * 31),
    "half a byte of build-id": (("objects", 0, "build_id"), "abc"),
    "no object": (("objects",), []),
    "no phase": (("phases",), []),
    "a nameless phase": (("phases", 0, "name"), ""),
    "a phase named twice": (("phases", 1, "name"), "startup"),
    "a boundary of the first phase": (("phases", 0, "boundary"), 5),
    "a later phase without boundary": (("phases", 1, "boundary"), None),
    "complete, with unresolved sites": (("complete",), True),
    "incomplete, without a reason": (("unresolved",), []),
    "a number that is another call's": ((*RULE, "number"), 2),
    "an unknown call": ((*RULE, "name"), "raed"),
    "a number beyond 32 bits": ((*RULE, "number"), 2**32),
    "a number that stands twice": (("phases", 0, "syscalls", 1), None),
    "argument 6": ((*CONDITION, "index"), 6),
    "an unknown operator": ((*CONDITION, "operator"), "maybe"),
    "a value outside its mask": ((*CONDITION, "value"), 8),
    "a mask where none is used": ((*CONDITION, "operator"), "eq"),
    "a small value in hexadecimal": ((*CONDITION, "value"), "0x0"),
    "a large value in decimal": ((*CONDITION, "mask"), 2**53),
    "a value in capitals": ((*CONDITION, "mask"), "0xFFFFFFFFFFFFFFFF"),
    "a value of 65 bits": ((*CONDITION, "mask"), "0x1ffffffffffffffff"),
    "a value with a leading zero": ((*CONDITION, "mask"), "0x0ffffffffffffff"),
    "a text that is too long": (("tool_version",), "x" * 5000),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(profile: Profile, name: str) -> None:
    path, value = DAMAGE[name]
    document = json.loads(dumps(profile))
    if name == "a number that stands twice":
        value = document["phases"][0]["syscalls"][0]
    error = refuse(changed(document, path, value))
    assert error.problems
    assert all(isinstance(problem, ProfileError) for problem in error.problems)


def test_an_unknown_name_is_answered_with_the_nearest(profile: Profile) -> None:
    error = refuse(changed(json.loads(dumps(profile)), (*RULE, "name"), "raed"), "web.json")
    assert (error.where, error.found) == ("web.json: phases[0].syscalls[0]", "'raed'")
    assert error.want == "a syscall of x86_64, perhaps read"
    assert "Linux 6.18" in error.source


def test_all_faults_are_reported_at_once(profile: Profile) -> None:
    document = json.loads(dumps(profile))
    damaged = changed(changed(document, (*RULE, "name"), "raed"), ("complete",), True)
    damaged = changed(damaged, ("phases", 1, "boundary"), None)
    error = refuse(damaged)
    assert [problem.where for problem in error.problems] == [
        "p: complete",
        "p: phases[1].boundary",
        "p: phases[0].syscalls[0]",
    ]
    assert str(error).splitlines()[0] == "p: complete: found true, want false, as the lists say"


def test_very_many_faults_are_counted(profile: Profile) -> None:
    document = json.loads(dumps(profile))
    error = refuse(changed(document, ("assumptions",), [0] * 200))
    assert len(error.problems) == 200
    assert str(error).splitlines()[-1] == "and 150 more"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"arch": NaN}',
        b'{"arch": Infinity}',
        b'{"arch": "x86_64", "arch": "x86_64"}',
        b'{"arch": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b"{}{}",
        '{"arch": "x86_64"}'.encode("utf-16"),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    with pytest.raises(ProfileFormatError):
        loads(data, "p")


def test_a_key_that_stands_twice_is_refused_even_with_the_same_value(profile: Profile) -> None:
    data = dumps(profile).replace(b'"complete":false', b'"complete":false,"complete":false')
    with pytest.raises(ProfileFormatError) as caught:
        loads(data, "p")
    assert "twice" in caught.value.found


def test_half_a_character_is_refused_both_ways(profile: Profile) -> None:
    data = dumps(profile).replace(b'"tool_version":"0.1"', b'"tool_version":"\\ud800"')
    with pytest.raises(ProfileFormatError) as caught:
        loads(data, "p")
    assert caught.value.want == "text of whole characters"
    with pytest.raises(ProfileFormatError):
        dumps(replace(profile, tool_version="\ud800"))


def test_a_huge_text_is_refused_unread() -> None:
    with pytest.raises(ProfileFormatError) as caught:
        loads(b" " * (MAX_BYTES + 1), "p")
    assert caught.value.found == f"{MAX_BYTES + 1} bytes"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_is_refused(profile: Profile, data: st.DataObject) -> None:
    whole = dumps(profile)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ProfileFormatError):
        loads(whole[:cut], "p")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProfileFormatError):
        loads(data, "p")


@pytest.mark.parametrize(
    "broken",
    [
        {"phases": ()},
        {"objects": ()},
        {"arch": "vax"},
        {"assumptions": ("",)},
        {"phases": (Phase("a", None, (SyscallRule(1, "write"), SyscallRule(0, "read"))),)},
        {"phases": (Phase("a", None, (SyscallRule(1, "read"),)),)},
        {"phases": (Phase("a", None, (SyscallRule(0, "read", ((ArgumentCondition(0, "eq", -1),),)),)),)},
        {"phases": (Phase("a", None, (SyscallRule(0, "read", ((ArgumentCondition(9, "eq", 1),),)),)),)},
    ],
)
def test_a_profile_that_could_not_be_read_back_is_not_written(
    profile: Profile, broken: dict[str, object]
) -> None:
    with pytest.raises(ProfileFormatError):
        dumps(replace(profile, **broken))


def test_the_published_schema_is_the_one_in_use() -> None:
    assert json.loads((ROOT / "docs" / "profile.schema.json").read_text()) == SCHEMA


@pytest.mark.parametrize(
    "schema",
    [{"type": "string", "format": "uri"}, {"minLenght": 3}, {"pattern": "a"}],
    ids=["unknown keyword", "misspelt keyword", "open pattern"],
)
def test_a_schema_that_is_not_understood_raises(schema: dict[str, JsonValue]) -> None:
    with pytest.raises(ValueError, match=r"not known|not anchored"):
        conform("text", schema, Problems("p"))


def test_the_schema_agrees_with_an_independent_validator(profile: Profile) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the jsonschema package is not installed")
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    document = json.loads(dumps(profile))
    assert validator.is_valid(document)
    for name, (path, value) in DAMAGE.items():
        if name == "a digest with a newline":
            continue  # Python's `$` lets it pass, the standard's does not
        problems = Problems("p")
        damaged = changed(document, path, value)
        conform(damaged, SCHEMA, problems)
        assert validator.is_valid(damaged) == (not problems), path
