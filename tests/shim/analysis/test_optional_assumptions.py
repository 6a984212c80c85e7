"""What is taken out only where somebody asked for the assumption, and what stays even then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.assumptions import DEFAULT, NO_ENGINES, VDSO_CLOCKS, Assumption
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.profile import Profile
from tests.shim.analysis.test_wide_findings import HOST, machine

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

TIME, GETTIMEOFDAY, GETPID, SYSLOG = 201, 96, 39, 103
CLOCKS = """
_start: mov eax, 201
 syscall
 mov eax, 96
 syscall
 mov eax, 39
 syscall
 mov eax, 60
 syscall
 .asciz "__vdso_time"
"""


def issued(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


def named(profile: Profile, assumption: Assumption) -> bool:
    return str(assumption) in profile.assumptions


def test_clocks_are_asked_of_the_kernel_by_default(assemble: Assemble) -> None:
    profile = derive(assemble(CLOCKS), "program")
    assert issued(profile) == {TIME, GETTIMEOFDAY, GETPID, 60}
    assert not named(profile, VDSO_CLOCKS)


def test_only_the_clock_that_is_looked_up_is_left_to_the_vdso(assemble: Assemble) -> None:
    profile = derive(assemble(CLOCKS), "program", assume=DEFAULT | {VDSO_CLOCKS})
    assert issued(profile) == {GETTIMEOFDAY, GETPID, 60}
    assert named(profile, VDSO_CLOCKS)


@pytest.mark.parametrize(
    "source", [CLOCKS.replace("__vdso_time", "vdso_time"), CLOCKS.replace("_time", "_times")]
)
def test_a_program_without_its_name_keeps_its_own_call(source: str, assemble: Assemble) -> None:
    profile = derive(assemble(source), "program", assume=DEFAULT | {VDSO_CLOCKS})
    assert TIME in issued(profile)
    assert not named(profile, VDSO_CLOCKS)


def test_an_instruction_that_issues_other_calls_too_stays(assemble: Assemble) -> None:
    source = (
        "_start: mov eax, 201\n mov edx, 39\n cmp rsp, 7\n cmove eax, edx\n syscall\n mov eax, 60\n syscall"
    )
    data = assemble(source + '\n .asciz "__vdso_time"')
    assert issued(derive(data, "program", assume=DEFAULT | {VDSO_CLOCKS})) >= {TIME, GETPID}


ENGINE = "#include <sys/klog.h>\nint {name}(void) {{ return klogctl(10, 0, 0); }}\n"
ENTRIES = ("bind_engine", "OSSL_provider_init")


def _host(name: str, compile_c: Compile, tmp_path: Path) -> Path:
    plugin = compile_c(ENGINE.format(name=name), "-shared", "-fPIC")
    return machine(tmp_path, compile_c(HOST), plugin)


@pytest.mark.parametrize("name", ENTRIES)
def test_engines_are_opened_unless_assumed_not_to_be(name: str, compile_c: Compile, tmp_path: Path) -> None:
    root = _host(name, compile_c, tmp_path)
    host, files = (root / "host").read_bytes(), RootedFiles(str(root))
    assert SYSLOG in issued(derive(host, "/host", files=files))
    profile = derive(host, "/host", files=files, assume=DEFAULT | {NO_ENGINES})
    assert SYSLOG not in issued(profile)
    assert named(profile, NO_ENGINES)


def test_a_declared_engine_is_opened(compile_c: Compile, tmp_path: Path) -> None:
    root = _host("bind_engine", compile_c, tmp_path)
    profile = derive(
        (root / "host").read_bytes(),
        "/host",
        files=RootedFiles(str(root)),
        modules=("/usr/lib/host/plugins/first.so",),
        assume=DEFAULT | {NO_ENGINES},
    )
    assert SYSLOG in issued(profile)


def test_other_plugins_are_no_engines(compile_c: Compile, tmp_path: Path) -> None:
    root = _host("entry", compile_c, tmp_path)
    files = RootedFiles(str(root))
    profile = derive((root / "host").read_bytes(), "/host", files=files, assume=DEFAULT | {NO_ENGINES})
    assert SYSLOG in issued(profile)
    assert not named(profile, NO_ENGINES)
