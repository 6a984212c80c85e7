"""The real kernel, the plain meaning of a profile, and an architecture that does not exist."""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from shim.filter import FilterProgram, SeccompData
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import SyscallTable

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Call:
    """One call for the kernel; `entry` 0 is the syscall instruction, 1 is int 0x80."""

    number: int
    args: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
    entry: int = 0


@dataclass(frozen=True)
class Reply:
    """What became of a filter and the calls under it; `signals` and `values` go by call."""

    install_errno: int
    values: tuple[int | None, ...]
    signals: tuple[int | None, ...]


class Kernel:
    """The running kernel, asked through kernel_probe.c in child processes."""

    call = Call

    def __init__(self, probe: Path) -> None:
        self._probe = probe

    def ask(self, requests: Sequence[tuple[FilterProgram, Sequence[Call]]]) -> list[Reply]:
        question = b"".join(self._request(program, calls) for program, calls in requests)
        done = subprocess.run([self._probe], input=question, capture_output=True, timeout=60, check=True)
        return self._replies(done.stdout)

    @staticmethod
    def _request(program: FilterProgram, calls: Sequence[Call]) -> bytes:
        packed = b"".join(
            struct.pack("<II7Q", call.entry, 0, *(value % 2**64 for value in (call.number, *call.args)))
            for call in calls
        )
        return struct.pack("<II", len(program), len(calls)) + program.encode() + packed

    @staticmethod
    def _replies(data: bytes) -> list[Reply]:
        replies, offset = [], 0
        while offset < len(data):
            install_errno, count = struct.unpack_from("<iI", data, offset)
            results = list(struct.iter_unpack("<iiq", data[offset + 8 : offset + 8 + 16 * count]))
            offset += 8 + 16 * count
            replies.append(
                Reply(
                    install_errno,
                    tuple(value if kind == 0 else None for kind, _, value in results),
                    tuple(value if kind == 1 else None for kind, _, value in results),
                )
            )
        return replies


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the probe is for Linux on x86_64")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build kernel_probe.c")
    probe = tmp_path_factory.mktemp("kernel") / "probe"
    subprocess.run(
        [compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", probe, HERE / "kernel_probe.c"],
        check=True,
    )
    return Kernel(probe)


def holds(condition: ArgumentCondition, data: SeccompData) -> bool:
    value = data.args[condition.index] % 2**64
    return {
        "eq": value == condition.value,
        "ne": value != condition.value,
        "lt": value < condition.value,
        "le": value <= condition.value,
        "gt": value > condition.value,
        "ge": value >= condition.value,
        "masked_eq": value & condition.mask == condition.value,
    }[condition.operator]


def meaning(rules: Sequence[SyscallRule], table: SyscallTable, data: SeccompData) -> str:
    if data.arch != table.audit_arch:
        return "kill"
    number = data.nr % 2**32
    for rule in rules:
        anything = not rule.conditions
        if rule.number == number:
            matches = (all(holds(c, data) for c in conditions) for conditions in rule.conditions)
            return "allow" if anything or any(matches) else "refuse"
    return "refuse" if number in table or number >= table.foreign_from else "enosys"


Interpret: TypeAlias = Callable[[Sequence[SyscallRule], SyscallTable, SeccompData], str]


@pytest.fixture(scope="session")
def interpret() -> Interpret:
    return meaning


@pytest.fixture(scope="session")
def fake_table() -> SyscallTable:
    """Numbers, names and an architecture that no host has."""
    numbers = {"begin": 3, "stir": 4, "taste": 5, "wait": 7, "season": 1000, "serve": 70_000, "wash": 2**31}
    return SyscallTable.of("kettle", "0.1", numbers, audit_arch=0xDEAD_BEEF, foreign_from=2**32 - 16)
