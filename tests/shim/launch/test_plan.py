"""The launch plan: one encoding, two readers that agree on every byte and name the same place."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import PlanFormatError
from shim.launch._native import ffi, lib
from shim.launch.plan import LaunchPlan, PlanFlag, ResourceLimit, decode, encode

SMALL = LaunchPlan(
    program=b"/bin/a",
    digest=bytes(range(32)),
    filter=b"\x06\0\0\0\0\0\0\x80",
    argv=(b"a", b""),
    environment=(b"A=1", b"B="),
    limits=(ResourceLimit(0, 1, 2), ResourceLimit(7, 3, 2**64 - 1)),
    flags=PlanFlag.EXEC_ALLOWED | PlanFlag.NEW_SESSION,
)

STRINGS = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"."))
ENTRIES = st.tuples(STRINGS.filter(lambda name: name != b"" and b"=" not in name), STRINGS).map(b"=".join)


@st.composite
def limits(draw: st.DrawFn) -> tuple[ResourceLimit, ...]:
    resources = draw(st.sets(st.sampled_from([number for number in range(16) if number != 4])))
    pairs = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(sorted)
    return tuple(ResourceLimit(resource, *draw(pairs)) for resource in sorted(resources))


PLANS = st.builds(
    LaunchPlan,
    program=STRINGS.filter(len).map(lambda path: b"/" + path),
    digest=st.binary(min_size=32, max_size=32),
    filter=st.binary(min_size=8, max_size=8).flatmap(
        lambda one: st.integers(1, 20).map(lambda count: one * count)
    ),
    argv=st.lists(STRINGS, min_size=1, max_size=5).map(tuple),
    environment=st.lists(ENTRIES, max_size=5).map(tuple),
    limits=limits(),
    flags=st.integers(0, 31).map(lambda flags: PlanFlag(flags) | PlanFlag.LOADER_ENVIRONMENT),
)


def place_in_c(data: bytes) -> str | None:
    """Where the C reader refuses, or None where it accepts what Python reads the same."""
    plan = ffi.new("struct plan *")
    fault = ffi.new("struct plan_fault *")
    if lib.plan_read(data, len(data), plan, fault) != 0:
        return str(ffi.string(fault.where).decode())
    assert ffi.string(plan.program) == decode(data).program
    assert bytes(ffi.buffer(plan.digest, 32)) == decode(data).digest
    assert bytes(ffi.buffer(plan.filter, plan.filter_count * 8)) == decode(data).filter
    assert (plan.argc, plan.environment_count) == (len(decode(data).argv), len(decode(data).environment))
    assert plan.argv_size == sum(len(argument) + 1 for argument in decode(data).argv)
    assert plan.limit_count == len(decode(data).limits)
    assert plan.flags == decode(data).flags
    return None


def place_in_python(data: bytes) -> str | None:
    try:
        decode(data)
    except PlanFormatError as error:
        return error.where
    return None


@given(PLANS)
def test_a_plan_comes_back(plan: LaunchPlan) -> None:
    data = encode(plan)
    assert decode(data) == plan
    assert encode(decode(data)) == data
    assert place_in_c(data) is None


@given(PLANS, st.data())
def test_prefixes_are_refused_alike(plan: LaunchPlan, data: st.DataObject) -> None:
    whole = encode(plan)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert place_in_python(part) == place_in_c(part) is not None


@settings(max_examples=500)
@given(PLANS, st.data())
def test_damage_is_seen_alike(plan: LaunchPlan, data: st.DataObject) -> None:
    damaged = bytearray(encode(plan))
    table = 32 + 16 * damaged[16]
    places = st.integers(0, len(damaged) - 1) | st.integers(0, table - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(places)] = data.draw(st.integers(0, 255) | st.sampled_from([0, 1, 4, 8, 255]))
    bad = bytes(damaged)
    assert place_in_python(bad) == place_in_c(bad)
    if place_in_python(bad) is None:
        assert encode(decode(bad)) == bad


@given(st.binary(max_size=200), st.booleans())
def test_noise_is_refused_alike(noise: bytes, headed: bool) -> None:  # noqa: FBT001  # hypothesis draws it
    data = b"SHIMPLAN\1\0\1\0" + struct.pack("<I", len(noise) + 16) + noise if headed else noise
    assert place_in_python(data) == place_in_c(data) is not None


def put(data: bytes, offset: int, form: str, value: int) -> bytes:
    room = bytearray(data)
    struct.pack_into(form, room, offset, value)
    return bytes(room)


GOOD = encode(SMALL)
BROKEN = {
    "nothing": (b"", "plan"),
    "31 bytes": (GOOD[:31], "plan"),
    "more than 4 MiB": (GOOD + bytes(4 << 20), "plan"),
    "magic": (put(GOOD, 0, "<B", 0x73), "header.magic"),
    "version 0": (put(GOOD, 8, "<H", 0), "header.version"),
    "version 2": (put(GOOD, 8, "<H", 2), "header.version"),
    "arch": (put(GOOD, 10, "<H", 2), "header.arch"),
    "size too small": (put(GOOD, 12, "<I", len(GOOD) - 8), "header.size"),
    "trailing bytes": (GOOD + bytes(8), "header.size"),
    "trailing bytes that are counted": (put(GOOD + bytes(8), 12, "<I", len(GOOD) + 8), "plan.end"),
    "7 sections": (put(GOOD, 16, "<I", 7), "header.sections"),
    "2**28 sections": (put(GOOD, 16, "<I", 2**28), "header.sections"),
    "table beyond the end": (put(put(GOOD[:48], 12, "<I", 48), 16, "<I", 6), "header.sections"),
    "unknown flag": (put(GOOD, 20, "<I", 32), "header.flags"),
    "highest flag": (put(GOOD, 20, "<I", 2**31), "header.flags"),
    "reserved": (put(GOOD, 31, "<B", 1), "header.reserved"),
    "kind 0": (put(GOOD, 32, "<I", 0), "section.kind"),
    "kind 7": (put(GOOD, 32 + 5 * 16, "<I", 7), "section.kind"),
    "same kind twice": (put(GOOD, 48, "<I", 1), "section.kind"),
    "offset": (put(GOOD, 36, "<I", 136), "section.offset"),
    "no size": (put(GOOD, 40, "<I", 0), "section.size"),
    "size beyond the end": (put(GOOD, 40, "<I", len(GOOD)), "section.size"),
    "size that wraps": (put(GOOD, 40, "<I", 2**32 - 1), "section.size"),
    "reserved of a section": (put(GOOD, 44, "<I", 1), "section.reserved"),
    "padding": (put(GOOD, 135, "<B", 1), "section.padding"),
    "a section is missing": (put(put(GOOD[:32], 12, "<I", 32), 16, "<I", 0), "sections"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_both_readers_name_the_place(name: str) -> None:
    data, where = BROKEN[name]
    assert place_in_python(data) == where
    assert place_in_c(data) == where


UNHOLDABLE: dict[str, tuple[dict[str, Any], str]] = {
    "relative path": ({"program": b"bin/a"}, "program"),
    "root": ({"program": b"/"}, "program"),
    "NUL in the path": ({"program": b"/a\0b"}, "program"),
    "long path": ({"program": b"/" + b"a" * 4095}, "program"),
    "short digest": ({"digest": bytes(31)}, "digest"),
    "no filter": ({"filter": b""}, "sections"),
    "filter of 7 bytes": ({"filter": bytes(7)}, "filter"),
    "filter of 4097": ({"filter": bytes(8 * 4097)}, "filter"),
    "no argument": ({"argv": ()}, "sections"),
    "NUL in an argument": ({"argv": (b"a\0",)}, "argv"),
    "65537 arguments": ({"argv": (b"",) * 65537}, "argv"),
    "no equals sign": ({"environment": (b"A",)}, "environment.entry"),
    "no name": ({"environment": (b"=1",)}, "environment.entry"),
    "NUL in the environment": ({"environment": (b"A=\0",)}, "environment"),
    "LD_PRELOAD": ({"environment": (b"LD_PRELOAD=/x",)}, "environment.loader"),
    "LD_ of the future": ({"environment": (b"LD_ANYTHING=",)}, "environment.loader"),
    "GLIBC_TUNABLES": ({"environment": (b"GLIBC_TUNABLES=a=b",)}, "environment.loader"),
    "GCONV_PATH": ({"environment": (b"GCONV_PATH=/x",)}, "environment.loader"),
    "core limit": ({"limits": (ResourceLimit(4, 0, 0),)}, "limits.resource"),
    "unknown limit": ({"limits": (ResourceLimit(16, 0, 0),)}, "limits.resource"),
    "negative limit": ({"limits": (ResourceLimit(0, -1, 0),)}, "limits"),
    "limits out of order": ({"limits": (ResourceLimit(7, 0, 0), ResourceLimit(1, 0, 0))}, "limits.resource"),
    "soft above hard": ({"limits": (ResourceLimit(1, 2, 1),)}, "limits.soft"),
    "unknown flag": ({"flags": PlanFlag(0).__class__(32)}, "header.flags"),
}


@pytest.mark.parametrize("name", UNHOLDABLE)
def test_plans_that_cannot_be(name: str) -> None:
    changes, where = UNHOLDABLE[name]
    with pytest.raises(PlanFormatError) as caught:
        encode(dataclasses.replace(SMALL, **changes))
    assert caught.value.where == where


def test_flag_lets_the_loader_be_steered() -> None:
    plan = dataclasses.replace(SMALL, environment=(b"LD_X=1",), flags=PlanFlag.LOADER_ENVIRONMENT)
    assert place_in_c(encode(plan)) is None


def test_names_that_only_look_like_the_loaders() -> None:
    names = (b"LD=1", b"XLD_A=1", b"GLIBC_TUNABLESX=1", b"GCONV_PATHS=1", b"ld_x=1")
    assert place_in_c(encode(dataclasses.replace(SMALL, environment=names))) is None


def test_text_of_an_error() -> None:
    with pytest.raises(PlanFormatError) as caught:
        decode(put(GOOD, 8, "<H", 2))
    assert str(caught.value) == "header.version: found 2, want 1 (native/plan.h)"


def test_the_file_is_what_its_documentation_says() -> None:
    magic, version, arch, size, sections, flags, reserved = struct.unpack_from("<8sHHIIIQ", GOOD)
    assert (magic, version, arch, size, sections, flags, reserved) == (b"SHIMPLAN", 1, 1, len(GOOD), 6, 5, 0)
    assert struct.unpack_from("<IIII", GOOD, 32) == (1, 128, 7, 0)
    assert GOOD[128:136] == b"/bin/a\0\0"
