"""The tables of tests/verdicts, each run three ways: plain meaning, simulator, running kernel."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from shim.filter import SeccompData, compile_filter, simulate
from shim.filter.actions import ALLOW, ENOSYS_ACTION, KILL_PROCESS, USER_NOTIF, errno_action
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import table

if TYPE_CHECKING:
    from tests.shim.filter.conftest import Call, Interpret, Kernel

TABLES = sorted((Path(__file__).parents[2] / "verdicts").glob("*.txt"))
X86_64 = table("x86_64")
ARCHS = {"x86_64": X86_64.audit_arch, "i386": 0x4000_0003, "aarch64": 0xC000_00B7}
REFUSED = 1234
VIOLATION = errno_action(REFUSED)


@dataclass(frozen=True)
class Row:
    arch: str
    number: int
    args: tuple[int, int, int, int, int, int]
    verdict: str
    line: str

    @property
    def data(self) -> SeccompData:
        return SeccompData(self.number, ARCHS[self.arch], 0, self.args)


def condition(words: list[str]) -> ArgumentCondition:
    argument, operator, value, *mask = words
    bits = int(mask[1], 0) if mask else 2**64 - 1
    return ArgumentCondition(int(argument.removeprefix("arg")), operator, int(value, 0), bits)  # type: ignore[arg-type]


def read_table(path: Path) -> tuple[list[SyscallRule], list[Row]]:
    alternatives: dict[str, list[tuple[ArgumentCondition, ...]]] = {}
    rows = []
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["rule"]:
            texts = " ".join(words[2:]).split(" and ") if words[2:] else []
            alternatives.setdefault(words[1], []).append(tuple(condition(text.split()) for text in texts))
        elif words:
            arch, call, *args, verdict = words
            number = X86_64.numbers[call] if call in X86_64.numbers else int(call, 0)
            values = [0 if text == "-" else int(text, 0) for text in args]
            assert len(values) == 6, line
            rows.append(Row(arch, number, tuple(values), verdict, line))  # type: ignore[arg-type]
    rules = [
        SyscallRule(X86_64.number(name), name, tuple(found) if found != [()] else ())
        for name, found in alternatives.items()
    ]
    return sorted(rules, key=lambda rule: rule.number), rows


Verdicts: TypeAlias = tuple[list[SyscallRule], list[Row]]


@pytest.fixture(params=TABLES, ids=lambda path: path.stem)
def verdicts(request: pytest.FixtureRequest) -> Verdicts:
    rules, rows = read_table(request.param)
    assert rules, request.param
    assert {row.verdict for row in rows} >= {"allow", "refuse"}, request.param
    return rules, rows


def test_there_are_tables() -> None:
    assert {path.stem for path in TABLES} >= {"numbers", "operators", "alternatives"}


def test_the_profile_means_what_the_table_says(verdicts: Verdicts, interpret: Interpret) -> None:
    rules, rows = verdicts
    for row in rows:
        assert interpret(rules, X86_64, row.data) == row.verdict, row.line


@pytest.mark.parametrize("violation", [VIOLATION, USER_NOTIF, KILL_PROCESS], ids=hex)
def test_the_simulator_answers_what_the_table_says(verdicts: Verdicts, violation: int) -> None:
    rules, rows = verdicts
    program = compile_filter(rules, X86_64, violation)
    actions = {"allow": ALLOW, "refuse": violation, "enosys": ENOSYS_ACTION, "kill": KILL_PROCESS}
    for row in rows:
        assert simulate(program, row.data).action == actions[row.verdict], row.line


def kernel_rows(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.arch in ("x86_64", "i386")]


def kernel_calls(kernel: Kernel, rows: list[Row]) -> list[Call]:
    return [kernel.call(row.number, row.args, entry=int(row.arch == "i386")) for row in rows]


@pytest.mark.live
def test_the_kernel_answers_what_the_table_says(verdicts: Verdicts, kernel: Kernel) -> None:
    rules, rows = verdicts
    rows = kernel_rows(rows)
    program = compile_filter(rules, X86_64, VIOLATION)
    (reply,) = kernel.ask([(program, kernel_calls(kernel, rows))])
    assert reply.install_errno == 0
    for row, value, signalled in zip(rows, reply.values, reply.signals, strict=True):
        seen = (
            "kill"
            if signalled == signal.SIGSYS
            else {-REFUSED: "refuse", -errno.ENOSYS: "enosys"}.get(value, "allow")
        )
        assert seen == row.verdict, f"{row.line}: {value} {signalled}"


@pytest.mark.live
def test_the_kernel_kills_what_the_table_refuses(verdicts: Verdicts, kernel: Kernel) -> None:
    rules, rows = verdicts
    rows = kernel_rows(rows)
    (reply,) = kernel.ask([(compile_filter(rules, X86_64), kernel_calls(kernel, rows))])
    for row, signalled in zip(rows, reply.signals, strict=True):
        assert signalled == (signal.SIGSYS if row.verdict in ("refuse", "kill") else None), row.line
