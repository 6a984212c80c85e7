"""The exploration in C: what it asks, in which order, and what it does with answers and errors."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from shim.analysis import explore
from shim.analysis.decode import Disassembler
from shim.analysis.explore import Exploration
from shim.analysis.runs import Abi, Ending
from shim.elf.image import parse_elf
from shim.elf.memory import Memory
from shim.elf.relocations import Relocations

CODE = 0x401000
# call rel32 to CODE+offset from `at`, then the rest.
RET, UD2, SYSCALL = b"\xc3", b"\x0f\x0b", b"\x0f\x05"


def call(at: int, to: int) -> bytes:
    return b"\xe8" + struct.pack("<i", to - at - 5)


def memory_of(code: bytes) -> Memory:
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1" + bytes(9), 2, 62, 1, CODE, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, CODE, CODE, len(code), len(code), 0x1000)
    image = parse_elf((header + segment).ljust(0x1000, b"\0") + code, "program")
    return Memory((image,), Relocations({}, {}))


class Nobody:
    """Answers that add nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def references(self, run: int) -> None:
        self.asked.append(("references", run))

    def unwind(self, function: int) -> None:
        self.asked.append(("unwind", function))

    def pointer(self, slot: int) -> int:
        self.asked.append(("pointer", slot))
        return 0

    def executable(self, address: int) -> bool:
        self.asked.append(("executable", address))
        return False

    def computed(self, run: int, start: int, came_from: int) -> None:
        del start, came_from
        self.asked.append(("computed", run))

    def begins(self, run: int, address: int) -> bool:
        del run, address
        return True


def explored(code: bytes, starts: set[int] = frozenset(), asked: Nobody | None = None) -> Exploration:  # type: ignore[assignment]
    exploration = Exploration(Disassembler(memory_of(code)), starts, set(), asked or Nobody())
    exploration.enter(CODE)
    exploration.go()
    return exploration


def runs(exploration: Exploration) -> list[object]:
    return [exploration.run(number) for number in range(exploration.count())]


def test_code_behind_a_call_is_followed_once_the_callee_returns() -> None:
    found = explored(call(0, 16) + SYSCALL + UD2.ljust(9, b"\x90") + RET)
    assert found.functions[CODE + 16].returns
    assert found.kernel_entries() == [(CODE + 5, Abi.SYSCALL)]
    assert found.callers == {CODE + 16: [CODE]}


def test_code_behind_a_call_that_does_not_return_is_not_reached() -> None:
    found = explored(call(0, 16) + SYSCALL + UD2.ljust(9, b"\x90") + UD2)
    assert not found.functions[CODE].returns
    assert found.kernel_entries() == []


def test_a_jump_to_a_known_start_is_a_tail_call_and_returns_with_it() -> None:
    found = explored(b"\xeb\x0e".ljust(16, b"\xcc") + RET, {CODE + 16})
    assert set(found.functions) == {CODE, CODE + 16}
    assert found.functions[CODE].returns
    assert found.functions[CODE].uses == [(CODE, CODE + 16)]


def test_a_jump_elsewhere_stays_in_the_function() -> None:
    found = explored(b"\xeb\x0e".ljust(16, b"\xcc") + RET)
    assert set(found.functions) == {CODE}
    assert [run.start for run in found.functions[CODE].runs] == [CODE, CODE + 16]


def test_a_call_out_of_every_segment_is_asked_about_and_leads_nowhere() -> None:
    asked = Nobody()
    found = explored(call(0, 0x10000) + SYSCALL + RET, asked=asked)
    assert asked.asked == [("executable", CODE + 0x10000)]
    assert found.kernel_entries() == []
    assert found.callers == {}


def test_an_entry_without_code_is_a_run_that_faults() -> None:
    found = Exploration(Disassembler(memory_of(RET)), set(), set(), Nobody())
    found.enter(CODE + 0x10000)
    found.go()
    (run,) = runs(found)
    assert (run.start, run.end, run.ending) == (CODE + 0x10000, CODE + 0x10000, Ending.INVALID)  # type: ignore[attr-defined]
    assert found.containing(CODE + 0x10000) is None


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("references", b"\x48\x8d\x05\0\0\0\0" + RET),
        ("pointer", b"\xff\x15\0\0\0\0" + RET),
        ("executable", call(0, 0x10000)),
        ("computed", b"\xff\xe0"),
    ],
)
def test_an_error_in_an_answer_ends_the_exploration(question: str, code: bytes) -> None:
    asked = Nobody()

    def fails(*_: int) -> int:
        raise LookupError(question)

    setattr(asked, question, fails)
    with pytest.raises(LookupError, match=question):
        explored(code, asked=asked)


def test_what_is_found_later_is_added_to_what_was_found() -> None:
    found = explored(RET + b"\xcc" * 15 + SYSCALL + RET)
    assert found.kernel_entries() == []
    found.enter(CODE + 16)
    found.go()
    assert found.kernel_entries() == [(CODE + 16, Abi.SYSCALL)]
    assert all(found.functions[entry].returns for entry in (CODE, CODE + 16))


PIECES = st.sampled_from(
    [
        RET,
        UD2,
        SYSCALL,
        b"\x90",
        b"\x74\x05",
        b"\xeb\x03",
        b"\x75\xf5",
        b"\x48\x8d\x05\x04\0\0\0",
        b"\xff\xe0",
        b"\xff\xd0",
    ]
    + [call(0, to) for to in (7, 12, 20, -3)]
)


@given(
    code=st.lists(PIECES, min_size=1, max_size=40).map(b"".join),
    starts=st.sets(st.integers(0, 60), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_a_disassembler_that_is_not_in_c_gives_the_same(code: bytes, starts: set[int]) -> None:
    known = {CODE + at for at in starts if at < len(code)}
    native = explored(code, known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explore, "NativeDisassembler", type("Nothing", (), {}))
        handed_over = explored(code, known)
    seen: Callable[[Exploration], object] = lambda found: (  # noqa: E731
        runs(found),
        found.callers,
        found.entered,
        {entry: (function.returns, function.uses) for entry, function in found.functions.items()},
    )
    assert seen(native) == seen(handed_over)
