"""The filter and the exports of an AArch64 profile: its own numbers, its own AUDIT_ARCH, no x32."""

from __future__ import annotations

import json

import pytest

from shim.filter import SeccompData, compile_filter, simulate
from shim.filter.actions import ALLOW, ENOSYS_ACTION, KILL_PROCESS
from shim.profile.export import FORMATS
from shim.profile.profile import AnalysedObject, Phase, Profile, SyscallRule
from shim.syscalls import table

AARCH64, X86_64 = table("aarch64"), table("x86_64")
ALLOWED = ("exit_group", "read", "write")
RULES = tuple(
    sorted((SyscallRule(AARCH64.number(name), name) for name in ALLOWED), key=lambda rule: rule.number)
)
PROFILE = Profile(
    "aarch64", (AnalysedObject("p", "00" * 32, ""),), (Phase("startup", None, RULES),), (), (), (), "0"
)


@pytest.mark.parametrize("number", [*AARCH64, AARCH64.highest + 1, 0x4000_0000, 0x4000_003F, 0xFFFF_FFFF])
def test_every_number_gets_its_verdict(number: int) -> None:
    action = simulate(compile_filter(RULES, AARCH64), SeccompData(number, AARCH64.audit_arch)).action
    known = KILL_PROCESS if number in AARCH64 else ENOSYS_ACTION
    assert action == (ALLOW if AARCH64.names.get(number) in ALLOWED else known)


@pytest.mark.parametrize("number", [AARCH64.number(name) for name in ALLOWED])
def test_the_other_architecture_is_killed(number: int) -> None:
    program = compile_filter(RULES, AARCH64)
    for arch in (X86_64.audit_arch, 0x4000_0028):  # and AUDIT_ARCH_ARM
        assert simulate(program, SeccompData(number, arch)).action == KILL_PROCESS


def test_exports_name_the_architecture() -> None:
    document = json.loads(FORMATS["oci"].write(PROFILE))
    assert document["architectures"] == ["SCMP_ARCH_AARCH64"]
    assert "__aarch64__" in FORMATS["libseccomp"].write(PROFILE)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes(name: str) -> None:
    assert FORMATS[name].write(PROFILE)
