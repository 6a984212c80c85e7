"""Functions that never return, as constants decide, and what a compiler puts behind the calls of such."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.derive import derive

Assemble = Callable[..., bytes]

GETPID, SYSLOG, EXIT = 39, 103, 60


def function(name: str, body: str) -> str:
    return f".type {name}, @function\n{name}:{body}\n.size {name}, .-{name}\n"


STOP = "\n mov eax, 60\n xor edi, edi\n syscall\n hlt"
START = function("_start", "\n cmp rsp, 9\n je 1f\n call checks\n1:" + STOP)
MESSAGE = function("message", "\n test edi, edi\n jne 1f\n ret\n1: mov eax, 39\n syscall" + STOP)
FATAL = function("fatal", "\n mov edi, 1\n call message")
CHECKS = function("checks", "\n cmp rsp, 7\n je 1f\n ret\n1: call fatal")
BEHIND = function("behind", "\n mov eax, 103\n syscall\n ret")
PADDING = {"none": "", "nops": ".balign 16\n"}


def issued(data: bytes) -> set[int] | None:
    profile = derive(data, "program")
    return {rule.number for rule in profile.phases[0].rules if rule.sites} if profile.complete else None


@pytest.mark.parametrize("padding", PADDING)
def test_the_function_behind_the_last_call_is_not_fallen_into(padding: str, assemble: Assemble) -> None:
    fill = PADDING[padding]
    source = START + MESSAGE + FATAL + fill + BEHIND + CHECKS + fill + BEHIND.replace("behind", "after")
    assert issued(assemble(source)) == {GETPID, EXIT}


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("argument", [0, "ebx"])
def test_a_call_that_may_return_falls_into_it(argument: int | str, padding: str, assemble: Assemble) -> None:
    fatal = FATAL.replace("mov edi, 1", f"mov edi, {argument}")
    source = START + MESSAGE + fatal + PADDING[padding] + BEHIND + CHECKS
    assert issued(assemble(source)) in ({GETPID, SYSLOG, EXIT}, {SYSLOG, EXIT}, None)


def test_one_caller_among_many_that_makes_it_return(assemble: Assemble) -> None:
    other = function("other", "\n xor edi, edi\n call message\n ret")
    start = START.replace("call checks", "call checks\n call other")
    assert issued(assemble(start + MESSAGE + FATAL + BEHIND + CHECKS + other)) == {GETPID, SYSLOG, EXIT}


def test_a_function_that_falls_into_the_next_one_runs_it(assemble: Assemble) -> None:
    first = function("checks", "\n mov eax, 39\n syscall")
    assert issued(assemble(START + first + BEHIND)) == {GETPID, SYSLOG, EXIT}


def test_an_entry_that_is_fallen_into_and_called_has_both_callers(assemble: Assemble) -> None:
    start = START.replace("call checks", "mov edi, 103\n call checks\n mov edi, 102\n call wrapper")
    wrapper = function("wrapper", "\n mov eax, edi\n syscall\n ret")
    source = start + function("checks", "\n nop") + wrapper
    assert issued(assemble(source)) == {SYSLOG, 102, EXIT}
