"""Traces survive their JSON and their union; what a profile lacks of one is found, whatever it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from shim.errors import ProfileError
from shim.profile import ProfileFormatError, dumps as profile_dumps, loads as profile_loads
from shim.profile.phases import rules_from
from shim.profile.profile import (
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    Site,
    SyscallRule,
    UnresolvedSite,
)
from shim.profile.trace import (
    ANONYMOUS,
    RELEVANT,
    VDSO,
    Arguments,
    ForeignCall,
    OtherImage,
    Trace,
    TracedCall,
    kept_arguments,
    unite,
)
from shim.profile.trace_check import allows, compare
from shim.profile.trace_json import MAX_BYTES, TRACE_SCHEMA, dumps, loads
from shim.profile.trace_merge import with_trace
from shim.syscalls import table

X86_64 = table("x86_64")
ALL_BITS = 2**64 - 1
PROGRAM = AnalysedObject("/bin/program", "ab" * 32, "cd" * 20)
LIBC = AnalysedObject("/lib/libc.so.6", "01" * 32, "")
NOTHING: Arguments = (None,) * 6

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(st.integers(0, ALL_BITS), st.sampled_from([0, 2**53 - 1, 2**53, 2**63, ALL_BITS]))
sites = st.builds(Site, texts.filter(bool), numbers, texts)
site_lists = st.lists(sites, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
argument_lists = st.tuples(*[st.one_of(st.none(), numbers)] * 6)
calls = st.builds(
    lambda named, count, arguments, dropped, sites: TracedCall(
        named[1], named[0], count, arguments, dropped, sites
    ),
    st.sampled_from(sorted(X86_64.numbers.items())),
    st.integers(0, 2**53 - 1),
    st.lists(argument_lists, max_size=3).map(tuple),
    st.booleans(),
    site_lists,
)
objects = st.builds(AnalysedObject, texts, st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex)),
                    st.binary(max_size=20).map(bytes.hex))  # fmt: skip
traces = st.builds(
    Trace,
    st.just("x86_64"),
    st.lists(objects, min_size=1, max_size=3).map(tuple),
    st.lists(calls, max_size=4, unique_by=lambda call: call.number).map(
        lambda found: tuple(sorted(found, key=lambda call: call.number))
    ),
    st.lists(
        st.builds(ForeignCall, st.sampled_from(["i386", "x32", "unknown"]), st.integers(-(2**31), 2**31 - 1),
                  st.integers(0, 9), site_lists),
        max_size=2,
    ).map(tuple),
    st.lists(st.builds(OtherImage, texts, st.integers(0, 9), st.lists(texts, max_size=3).map(tuple)), max_size=2).map(tuple),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    texts,
)  # fmt: skip


def call(name: str, *sites: Site, arguments: tuple[Arguments, ...] = (), dropped: bool = False) -> TracedCall:
    return TracedCall(X86_64.number(name), name, 3, arguments, dropped, sites)


def trace(*made: TracedCall, foreign: tuple[ForeignCall, ...] = (), lost: int = 0) -> Trace:
    ordered = tuple(sorted(made, key=lambda one: one.number))
    return Trace("x86_64", (PROGRAM, LIBC), ordered, foreign, (), 1, 0, lost, "0.1")


def rule(name: str, *sites: Site, conditions: Any = ()) -> SyscallRule:  # noqa: ANN401  # nested tuples
    return SyscallRule(X86_64.number(name), name, conditions, sites)


def profile(*rules: SyscallRule, unresolved: tuple[UnresolvedSite, ...] = (), foreign: tuple[UnresolvedSite, ...] = ()) -> Profile:  # fmt: skip
    ordered = tuple(sorted(rules, key=lambda one: one.number))
    return Profile(
        "x86_64", (PROGRAM, LIBC), (Phase("startup", None, ordered),), unresolved, foreign, (), "0.1"
    )


HERE, THERE = Site("/bin/program", 0x1000, "write"), Site("/bin/program", 0x2000, "other")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(traces)
def test_json_keeps_everything(made: Trace) -> None:
    data = dumps(made)
    assert loads(data, "trace") == made
    assert dumps(loads(data, "trace")) == data


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(traces, st.data())
def test_prefix_of_a_trace_is_none(made: Trace, data: st.DataObject) -> None:
    text = dumps(made)
    with pytest.raises(ProfileFormatError):
        loads(text[: data.draw(st.integers(0, len(text) - 1))], "trace")


def damaged(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(dumps(trace(call("read", HERE), call("write", HERE, arguments=((1, *NOTHING[1:]),)))))
    change(value)
    return json.dumps(value).encode()


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing key": (lambda value: value.pop("calls"), "trace: found no 'calls'"),
    "unknown key": (lambda value: value.update(colour=1), "unknown key 'colour'"),
    "another version": (lambda value: value.update(schema_version=2), "schema_version"),
    "no objects": (lambda value: value["objects"].clear(), "objects"),
    "short digest": (lambda value: value["objects"][0].update(sha256="ab"), "objects[0].sha256"),
    "no run": (lambda value: value.update(runs=0), "runs"),
    "negative count": (lambda value: value["calls"][0].update(count=-1), "calls[0].count"),
    "five arguments": (lambda value: value["calls"][1]["arguments"][0].pop(), "calls[1].arguments[0]"),
    "text for an argument": (lambda value: value["calls"][1]["arguments"][0].__setitem__(0, "0x1"), "arguments[0][0]"),
    "out of order": (lambda value: value["calls"].reverse(), "number 0 after 1"),
    "twice": (lambda value: value["calls"].append(copy.deepcopy(value["calls"][1])), "number 1 after 1"),
    "unknown name": (lambda value: value["calls"][0].update(name="reed"), "calls[0]: found 'reed'"),
    "another number": (lambda value: value["calls"][0].update(name="readv"), "number 0 for readv"),
    "half a character": (lambda value: value.update(tool_version="\ud800"), "whole characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_json_is_no_trace(name: str) -> None:
    change, words = DAMAGES[name]
    with pytest.raises(ProfileFormatError) as caught:
        loads(damaged(change), "trace")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000, b" " * (MAX_BYTES + 1)]
)
def test_what_is_no_json_of_a_trace(data: bytes) -> None:
    with pytest.raises(ProfileFormatError):
        loads(data, "trace")


def test_undamaged_is_one() -> None:
    assert loads(damaged(lambda value: value), "trace").runs == 1


def test_writing_refuses_what_reading_would() -> None:
    with pytest.raises(ProfileFormatError):
        dumps(replace(trace(), runs=0))


def test_all_in_the_profile() -> None:
    found = compare(trace(call("read", HERE)), profile(rule("read", HERE), rule("write", HERE)))
    assert (found.lacking, found.unchecked) == ((), ())
    assert [one.name for one in found.untraced] == ["write"]


def test_lacking_call() -> None:
    (finding,) = compare(trace(call("read", HERE), call("bind", THERE)), profile(rule("read", HERE))).lacking
    assert (finding.kind, finding.name, finding.sites, finding.admitted) == ("call", "bind", (THERE,), False)


def test_lacking_call_at_a_place_that_the_profile_calls_open() -> None:
    open_place = UnresolvedSite("/bin/program", THERE.address, "", "the number comes from a file")
    found = compare(trace(call("bind", THERE)), profile(rule("read", HERE), unresolved=(open_place,)))
    assert [finding.admitted for finding in found.lacking] == [True]
    (elsewhere,) = compare(
        trace(call("bind", THERE, HERE)), profile(rule("read", HERE), unresolved=(open_place,))
    ).lacking
    assert not elsewhere.admitted


def test_lacking_place() -> None:
    (finding,) = compare(trace(call("read", HERE, THERE)), profile(rule("read", HERE))).lacking
    assert (finding.kind, finding.sites) == ("site", (THERE,))


def test_place_in_a_rule_without_places() -> None:
    (finding,) = compare(trace(call("bind", HERE)), profile(rule("read", HERE), rule("bind"))).lacking
    assert (finding.kind, finding.name) == ("site", "bind")


def test_profile_without_any_place_says_so() -> None:
    found = compare(trace(call("bind", HERE)), profile(rule("bind")))
    assert found.lacking == ()
    assert "no places" in found.unchecked[0]


def test_same_file_under_another_path_is_the_same_place() -> None:
    elsewhere = replace(LIBC, path="/usr/lib/libc.so.6")
    made = replace(trace(call("read", Site(elsewhere.path, 16, ""))), objects=(PROGRAM, elsewhere))
    assert compare(made, profile(rule("read", Site(LIBC.path, 16, "read")))).lacking == ()
    other = replace(made, objects=(PROGRAM, replace(elsewhere, sha256="02" * 32)))
    (finding,) = compare(other, profile(rule("read", Site(LIBC.path, 16, "read")))).lacking
    assert finding.kind == "site"


@pytest.mark.parametrize(
    ("name", "site", "lacking"),
    [
        ("clock_gettime", Site(VDSO, 5, ""), 0),
        ("getcpu", Site(VDSO, 5, ""), 0),
        ("read", Site(VDSO, 5, ""), 1),
        ("clock_gettime", Site(ANONYMOUS, 5, ""), 1),
        ("restart_syscall", THERE, 0),
    ],
)
def test_places_of_the_kernel(name: str, site: Site, lacking: int) -> None:
    found = compare(trace(call(name, site)), profile(rule(name), rule("bind", HERE)))
    assert len(found.lacking) == lacking


def test_unrecorded_calls_are_not_said_to_be_unused() -> None:
    found = compare(trace(call("read", HERE)), profile(rule("read", HERE), rule("rt_sigreturn")))
    assert found.untraced == ()


EQ = ArgumentCondition(1, "eq", 5)
CASES: list[tuple[tuple[tuple[ArgumentCondition, ...], ...], Arguments, bool | None]] = [
    ((), NOTHING, True),
    (((EQ,),), (None, 5, None, None, None, None), True),
    (((EQ,),), (None, 4, None, None, None, None), False),
    (((EQ,),), (None, 6, None, None, None, None), False),
    (((EQ,),), (None, 5 | 1 << 32, None, None, None, None), False),
    (((EQ,),), NOTHING, None),
    (((EQ, ArgumentCondition(0, "eq", 1)),), (2, None, None, None, None, None), False),
    (((EQ,), (ArgumentCondition(0, "eq", 1),)), (1, None, None, None, None, None), True),
    (((EQ,), (ArgumentCondition(0, "eq", 1),)), (2, None, None, None, None, None), None),
    (((),), NOTHING, True),
    *(
        (((ArgumentCondition(0, operator, 5),),), (value, *NOTHING[1:]), verdict)
        for operator, verdicts in {
            "eq": (False, True, False), "ne": (True, False, True), "lt": (True, False, False),
            "le": (True, True, False), "gt": (False, False, True), "ge": (False, True, True),
        }.items()
        for value, verdict in zip((4, 5, 6), verdicts, strict=True)
    ),
    (((ArgumentCondition(0, "masked_eq", 4, 6),),), (0xD, *NOTHING[1:]), True),
    (((ArgumentCondition(0, "masked_eq", 4, 6),),), (0xE, *NOTHING[1:]), False),
]  # fmt: skip


@pytest.mark.parametrize(("conditions", "arguments", "verdict"), CASES)
def test_conditions(
    conditions: tuple[tuple[ArgumentCondition, ...], ...], arguments: Arguments, verdict: object
) -> None:
    assert allows(conditions, arguments) is verdict


def test_lacking_arguments() -> None:
    made = call("ioctl", HERE, arguments=((None, 5, *NOTHING[2:]), (None, 6, *NOTHING[2:])))
    (finding,) = compare(trace(made), profile(rule("ioctl", HERE, conditions=((EQ,),)))).lacking
    assert (finding.kind, finding.arguments[1], finding.sites) == ("arguments", 6, (HERE,))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (call("ioctl", HERE, arguments=(NOTHING,)), "was not recorded"),
        (call("ioctl", HERE, dropped=True), "too many different"),
    ],
)
def test_arguments_that_cannot_be_compared_are_said(made: TracedCall, words: str) -> None:
    found = compare(trace(made), profile(rule("ioctl", HERE, conditions=((EQ,),))))
    assert found.lacking == ()
    assert [words in reason for reason in found.unchecked] == [True]


def test_call_of_another_abi() -> None:
    old = ForeignCall("i386", 20, 1, (THERE,))
    (finding,) = compare(trace(foreign=(old,)), profile(rule("read", HERE))).lacking
    assert (finding.kind, finding.name, finding.admitted) == ("abi", "i386 call 20", False)
    known = UnresolvedSite("/bin/program", THERE.address, "", "int 0x80")
    (admitted,) = compare(trace(foreign=(old,)), profile(rule("read", HERE), foreign=(known,))).lacking
    assert admitted.admitted


def test_number_without_a_name_is_said_and_no_finding() -> None:
    found = compare(trace(foreign=(ForeignCall("unknown", 5000, 1, (HERE,)),)), profile(rule("read", HERE)))
    assert found.lacking == ()
    assert "5000" in found.unchecked[0]


def test_lost_calls_are_said() -> None:
    assert "7 calls" in compare(trace(lost=7), profile(rule("read", HERE))).unchecked[0]


def test_trace_of_another_file_is_refused() -> None:
    other = replace(trace(), objects=(replace(PROGRAM, sha256="ff" * 32),))
    for attempt in (
        lambda: compare(other, profile()),
        lambda: with_trace(profile(), other),
        lambda: unite([other, trace()]),
    ):
        with pytest.raises(ProfileError, match="ff" * 32):
            attempt()


def test_union_of_nothing_is_refused() -> None:
    with pytest.raises(ProfileError):
        unite([])


def test_union_keeps_everything_once() -> None:
    first = trace(call("read", HERE, arguments=((1, *NOTHING[1:]),)), call("bind", HERE))
    second = trace(call("read", THERE, arguments=((2, *NOTHING[1:]),), dropped=True),
                   foreign=(ForeignCall("i386", 20, 2, (HERE,)),), lost=1)  # fmt: skip
    united = unite([first, second, replace(second, others=(OtherImage("/bin/ls", 4, ("read",)),))])
    read, bind = united.calls
    assert (read.name, read.count, read.sites, read.arguments_dropped) == ("read", 9, (HERE, THERE), True)
    assert read.arguments == ((1, *NOTHING[1:]), (2, *NOTHING[1:]))
    assert (bind.count, united.runs, united.lost) == (3, 3, 2)
    assert united.foreign == (ForeignCall("i386", 20, 4, (HERE,)),)
    assert united.others == (OtherImage("/bin/ls", 4, ("read",)),)
    assert united.objects == (PROGRAM, LIBC)
    assert loads(dumps(united), "union") == united


@settings(deadline=None)
@given(st.lists(calls, max_size=4, unique_by=lambda call: call.number))
def test_merged_profile_lacks_nothing(found: list[TracedCall]) -> None:
    made = trace(*found)
    narrow = profile(rule("ioctl", HERE, conditions=((EQ,),)), rule("read", HERE), rule("mmap", THERE))
    merged = with_trace(narrow, made)
    assert compare(made, merged).lacking == ()
    before = {one.number for one in narrow.phases[0].rules}
    assert {one.number for one in merged.phases[0].rules} == before | {one.number for one in found}
    assert merged.complete is narrow.complete


def test_merged_profile_says_where_it_is_from() -> None:
    merged = with_trace(profile(rule("read", HERE)), replace(trace(call("bind", THERE)), runs=2))
    (added,) = [one for one in merged.phases[0].rules if one.name == "bind"]
    assert (added.sites, added.why) == ((THERE,), ("traced: 3 times in 2 runs",))
    assert profile_loads(profile_dumps(merged), "merged") == merged


def test_merge_widens_conditions_by_what_was_seen_only() -> None:
    made = call("ioctl", HERE, arguments=((None, 6, *NOTHING[2:]),))
    merged = with_trace(profile(rule("ioctl", HERE, conditions=((EQ,),))), trace(made))
    assert rules_from(merged, 0)[0].conditions == ((EQ,), (ArgumentCondition(1, "eq", 6),))
    unknown = with_trace(
        profile(rule("ioctl", HERE, conditions=((EQ,),))), trace(call("ioctl", HERE, dropped=True))
    )
    assert rules_from(unknown, 0)[0].conditions == ()


def test_merge_adds_to_the_last_phase_what_no_phase_has() -> None:
    """Filters only tighten: what only the first phase has is refused in the last."""
    first = Phase("startup", None, (rule("read", HERE), rule("execve", HERE)))
    both = replace(profile(), phases=(first, Phase("main", 0x1000, (rule("write", HERE),))))
    merged = with_trace(both, trace(call("execve", HERE), call("read", THERE), call("bind", THERE)))
    assert merged.phases[0] == first
    assert [one.name for one in rules_from(merged, 1)] == ["read", "write", "bind"]
    assert rules_from(merged, 1)[0].sites == (HERE, THERE)


def test_incomplete_profile_stays_incomplete() -> None:
    open_place = UnresolvedSite("/bin/program", THERE.address, "", "the number comes from a file")
    merged = with_trace(profile(unresolved=(open_place,)), trace(call("bind", THERE)))
    assert merged.unresolved == (open_place,)


def test_kept_arguments_are_the_relevant_and_the_conditioned() -> None:
    kept = kept_arguments(X86_64.numbers, [rule("read", conditions=((ArgumentCondition(2, "eq", 1),),))])
    assert kept[X86_64.number("read")] == (2,)
    assert kept[X86_64.number("ioctl")] == RELEVANT["ioctl"]
    assert RELEVANT.keys() <= X86_64.numbers.keys()


def test_schema_is_one_that_its_reader_knows(tmp_path: Path) -> None:
    assert set(TRACE_SCHEMA["$defs"]) >= {"trace", "call", "site", "integer"}  # type: ignore[arg-type]
    (tmp_path / "schema").write_text(json.dumps(TRACE_SCHEMA))
