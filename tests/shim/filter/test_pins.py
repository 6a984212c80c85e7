"""A pinned filter allows a call from its places, wherever the kernel puts them, and from nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import FilterError
from shim.filter import FilterProgram, Moved, Part, SeccompData, check, compile_filter, simulate
from shim.filter.actions import ALLOW, errno_action
from shim.profile.pins import Pin, Pins
from shim.profile.profile import ArgumentCondition, Site, SyscallRule
from shim.syscalls import table

X86_64 = table("x86_64")
VIOLATION = errno_action(1234)
READ, WRITE, CLOCK = 0, 1, 228
RULES = [SyscallRule(number, X86_64.name(number)) for number in (READ, WRITE, CLOCK)]
EDGE = 1 << 32

offsets = st.one_of(st.integers(0, 0x4000), st.integers(EDGE - 0x1000, EDGE - 3))
bases = st.one_of(
    st.integers(0, (1 << 35) - 1).map(lambda page: page << 12),
    st.integers(1, 1 << 14).map(lambda carry: (carry << 32) - 0x2000),
    st.just(0),
)


def site(address: int) -> Site:
    return Site("/program", address, "function")


def pins(places: dict[int, set[int]], *vdso: int) -> Pins:
    found = (
        Pin(number, X86_64.name(number), tuple(site(each) for each in sorted(at)), number in vdso)
        for number, at in places.items()
    )
    return Pins(tuple(found), (), ("/program",))


def verdict(program: FilterProgram, number: int, address: int) -> int:
    return simulate(program, SeccompData(number, X86_64.audit_arch, address % (1 << 64))).action


@settings(max_examples=300, deadline=None)
@given(st.sets(offsets, max_size=9), st.sets(offsets, max_size=3), bases, st.data())
def test_calls_come_from_their_places_only(
    read: set[int], write: set[int], base: int, data: st.DataObject
) -> None:
    program = compile_filter(RULES, X86_64, VIOLATION, pins({READ: read, WRITE: write, CLOCK: set()}))
    installed = program.relocated({Moved.PROGRAM: range(base, base)})
    check(installed)
    near = sorted({each + step for each in read | write for step in (0, 1, 2, 3, 2 + EDGE, 2 - EDGE)} | {0})
    address = base + data.draw(st.one_of(st.sampled_from(near), offsets))
    for number, places in ((READ, read), (WRITE, write), (CLOCK, set())):
        allowed = address - base - 2 in places
        assert (verdict(installed, number, address) == ALLOW) == allowed


@settings(max_examples=200, deadline=None)
@given(bases, st.integers(1, 8), st.integers(-0x3000, 0xA000))
def test_the_vdso_may_call_from_all_of_it(base: int, pages: int, distance: int) -> None:
    program = compile_filter(RULES, X86_64, VIOLATION, pins({READ: set(), WRITE: set(), CLOCK: set()}, CLOCK))
    vdso = range(base, base + pages * 4096)
    installed = program.relocated({Moved.PROGRAM: range(0), Moved.VDSO: vdso})
    for address in (base + distance, base + distance + EDGE, base + distance - EDGE):
        allowed = address % (1 << 64) in vdso
        assert (verdict(installed, CLOCK, address) == ALLOW) == allowed
        assert verdict(installed, READ, address) == VIOLATION


def test_arguments_count_at_every_place() -> None:
    rule = SyscallRule(CLOCK, "clock_gettime", ((ArgumentCondition(0, "eq", 1),),))
    program = compile_filter([rule], X86_64, VIOLATION, pins({CLOCK: {0x1000}}, CLOCK))
    installed = program.relocated({Moved.PROGRAM: range(0x5000, 0x5000), Moved.VDSO: range(0x9000, 0xA000)})
    for address in (0x6002, 0x9800):
        for clock in (0, 1, 2):
            call = SeccompData(CLOCK, X86_64.audit_arch, address, (clock, 0, 0, 0, 0, 0))
            assert (simulate(installed, call).action == ALLOW) == (clock == 1)


def test_what_waits_is_named_in_order() -> None:
    program = compile_filter(RULES, X86_64, VIOLATION, pins({READ: {4}, WRITE: {9}, CLOCK: set()}, CLOCK))
    indexes = [relocation.index for relocation in program.relocations]
    assert indexes == sorted(set(indexes))
    assert {(relocation.moved, relocation.part) for relocation in program.relocations} == {
        (Moved.PROGRAM, Part.LOW),
        (Moved.PROGRAM, Part.HIGH),
        (Moved.VDSO, Part.LOW),
        (Moved.VDSO, Part.HIGH),
        (Moved.VDSO, Part.SIZE),
    }


def test_without_pins_nothing_waits() -> None:
    assert compile_filter(RULES, X86_64, VIOLATION).relocations == ()


def test_incomplete_pins_are_refused() -> None:
    unknown = replace(pins({READ: {4}, WRITE: set(), CLOCK: set()}), unpinnable=("somewhere: no idea",))
    with pytest.raises(FilterError, match="pins: found somewhere: no idea, want every place"):
        compile_filter(RULES, X86_64, VIOLATION, unknown)


@pytest.mark.parametrize("address", [EDGE - 2, EDGE, -3])
def test_places_too_far_away_are_refused(address: int) -> None:
    with pytest.raises(FilterError, match="in the first 4 GiB of its file"):
        compile_filter(RULES, X86_64, VIOLATION, pins({READ: {address}, WRITE: set(), CLOCK: set()}))
