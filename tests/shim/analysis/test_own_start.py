"""What a loader only does where it is itself the program, and what looks like that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.assumptions import STARTED_BY_KERNEL
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.profile import Profile

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]
Derive = Callable[..., Profile]

GETPID, EXIT, EXECVE = 39, 60, 59
SHARED = ("-shared", "-Wl,-e,_start", "-Wl,-soname,ld-linux-x86-64.so.2")
PROGRAM = "_start: mov eax, 60\n syscall\n hlt"
LOADER = """
.hidden _start
_start: {compare}
1: mov eax, 60
 syscall
 hlt
2: mov eax, 39
 syscall
 jmp 1b
"""
BY_HAND = {
    "not equal": "lea rax, [rip+_start]\n cmp [rsp+8], rax\n jne 1f\n jmp 2f",
    "equal": "lea rax, [rip+_start]\n cmp [rsp+8], rax\n je 3f\n jmp 1f\n 3: jmp 2f",
    "reversed": "mov rbx, [rsp+8]\n lea rdx, [rip+_start]\n cmp rdx, rbx\n jne 1f\n jmp 2f",
}
NOT_BY_HAND = {
    "the other way": "lea rax, [rip+_start]\n cmp [rsp+8], rax\n je 1f\n jmp 2f",
    "another condition": "lea rax, [rip+_start]\n cmp [rsp+8], rax\n jb 2f\n jmp 1f",
    "another address": "lea rax, [rip+_start+1]\n cmp [rsp+8], rax\n jne 1f\n jmp 2f",
    "half of it": "lea rax, [rip+_start]\n cmp [rsp+8], eax\n jne 1f\n jmp 2f",
    "overwritten": "lea rax, [rip+_start]\n mov rax, [rsp]\n cmp [rsp+8], rax\n jne 1f\n jmp 2f",
    "two ways there": "cmp rsi, 7\n je 4f\n lea rax, [rip+_start]\n cmp [rsp+8], rax\n jne 1f\n 4: jmp 2f",
    "a call between": "lea rax, [rip+_start]\n cmp [rsp+8], rax\n cmp rsi, 7\n jne 1f\n jmp 2f",
}


@pytest.fixture
def with_loader(assemble: Assemble, tmp_path: Path) -> Derive:
    """Return a function that profiles a program whose loader begins with the given code."""

    def profile(compare: str, **options: object) -> Profile:
        loader = tmp_path / "ld-own.so"
        loader.write_bytes(assemble(LOADER.format(compare=compare), *SHARED))
        data = assemble(PROGRAM, "-static-pie", "-Wl,-no-dynamic-linker", f"-Wl,-dynamic-linker,{loader}")
        return derive(data, str(tmp_path / "program"), files=RootedFiles("/"), **options)  # type: ignore[arg-type]

    return profile


def issued(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


@pytest.mark.parametrize("compare", BY_HAND.values(), ids=BY_HAND)
def test_what_a_loader_does_as_a_program(with_loader: Derive, compare: str) -> None:
    profile = with_loader(compare)
    assert issued(profile) == {EXIT}
    assert str(STARTED_BY_KERNEL) in profile.assumptions
    assert issued(with_loader(compare, assume=())) == {GETPID, EXIT}


@pytest.mark.parametrize("compare", NOT_BY_HAND.values(), ids=NOT_BY_HAND)
def test_what_only_looks_like_it(with_loader: Derive, compare: str) -> None:
    profile = with_loader(compare)
    assert issued(profile) == {GETPID, EXIT}
    assert str(STARTED_BY_KERNEL) not in profile.assumptions


def test_a_program_that_names_its_own_start(assemble: Assemble) -> None:
    """Only a loader is started elsewhere than at its first instruction."""
    profile = derive(assemble(LOADER.format(compare=BY_HAND["equal"])), "program")
    assert issued(profile) == {GETPID, EXIT}


def test_a_program_of_glibc_executes_nothing(compile_c: Compile) -> None:
    """Its loader would execute a static program that somebody gave it by hand."""
    data = compile_c('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }')
    assert EXECVE not in issued(derive(data, "/usr/bin/program", files=RootedFiles("/")))
