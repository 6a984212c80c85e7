"""One small profile with every kind of field in it."""

from __future__ import annotations

import pytest

from shim.profile.profile import (
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    Site,
    SyscallRule,
    UnresolvedSite,
)


@pytest.fixture
def profile() -> Profile:
    tcgets = (ArgumentCondition(1, "masked_eq", 0x5401, 0xFFFF_FFFF),)
    not_executable = (ArgumentCondition(2, "masked_eq", 0, 4), ArgumentCondition(1, "lt", 2**40))
    high = (ArgumentCondition(0, "eq", 2**64 - 1),)
    site = Site("/bin/program", 0x40_1000, "write")
    return Profile(
        arch="x86_64",
        objects=(
            AnalysedObject("/bin/program", "ab" * 32, "cd" * 20),
            AnalysedObject("/lib/libc.so.6", "01" * 32, ""),
        ),
        phases=(
            Phase(
                "startup",
                None,
                (
                    SyscallRule(0, "read", (), (site,), ("_start", "main", "read")),
                    SyscallRule(9, "mmap", (not_executable,)),
                    SyscallRule(16, "ioctl", (tcgets, high)),
                ),
            ),
            Phase(
                "main",
                0xFFFF_FFFF_8000_0000,
                (SyscallRule(1, "write"), SyscallRule(9, "mmap"), SyscallRule(16, "ioctl", (high,))),
            ),
        ),
        unresolved=(UnresolvedSite("/bin/program", 0x40_2000, "", "the number comes from a file"),),
        foreign_abi=(),
        assumptions=("no gconv modules",),
        tool_version="0.1",
    )
