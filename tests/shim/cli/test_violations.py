"""What is said of a refused call: that the profile lacks it, or its place, or its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.cli.violations import AUDIT_ARCH_X86_64, NamedStage, describe
from shim.launch.native import ViolationEvent

SOURCE = "_start: mov eax, 39\n syscall\n mov eax, 60\n syscall\n hlt"
GETPID, GETPPID, I386 = 39, 110, 0x4000_0003
CASES = {
    "another call": (GETPPID, AUDIT_ARCH_X86_64, True, "not in the profile"),
    "another architecture": (GETPID, I386, True, "not in the profile"),
    "another place": (GETPID, AUDIT_ARCH_X86_64, True, "in the profile, but not from there"),
    "no place matters": (GETPID, AUDIT_ARCH_X86_64, False, "in the profile, but not with these arguments"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_profile_does_not_have(name: str, assemble: Callable[..., bytes]) -> None:
    number, arch, pinned, want = CASES[name]
    data = assemble(SOURCE)
    event = ViolationEvent(0, os.getpid(), number, arch, 1, (0,) * 6)
    line = describe(event, derive(data, "/program"), data, Path("/proc"), NamedStage("startup", pinned))
    assert line.endswith(f": {want}")
