"""Where the address of a wrapper goes: into every call that may use it, or the profile says that it is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.derive import derive

Assemble = Callable[..., bytes]
END = "\n mov eax, 60\n xor edi, edi\n syscall\n hlt"
WRAPPER = "\nw: mov eax, edi\n syscall\n ret\nv: ret"
# Each calls w with 39 in the open, and with 102 by an address that took a detour.
DETOURS = {
    "kept by a conditional move": """
        _start: mov edi, 39
         call w
         lea r14, [rip+w]
         lea rax, [rip+v]
         cmp qword ptr [rsp], 7
         cmove r14, rax
         mov edi, 102
         call r14""",
    "passed on the stack by push": """
        _start: mov edi, 39
         call w
         lea rax, [rip+w]
         push rax
         call f
         add rsp, 8""",
    "passed on the stack by mov": """
        _start: mov edi, 39
         call w
         sub rsp, 24
         lea rax, [rip+w]
         mov [rsp], rax
         call f
         add rsp, 24""",
    "a variable that is an argument of an unknown function too": """
        _start: mov edi, 39
         call w
         sub rsp, 24
         lea rax, [rip+w]
         mov [rsp], rax
         lea rax, [rip+f]
         xor rax, [rip+zero]
         call rax
         add rsp, 24""",
    "in a structure behind mov rdi, rsp": """
        _start: mov edi, 39
         call w
         sub rsp, 24
         lea rax, [rip+w]
         mov [rsp], rax
         mov rdi, rsp
         call g
         add rsp, 24""",
    "in a structure behind a pushed rsp": """
        _start: mov edi, 39
         call w
         sub rsp, 24
         lea rax, [rip+w]
         mov [rsp], rax
         push rsp
         call h
         add rsp, 32""",
}
HANDLERS = {
    "in a structure": """
        _start: mov edi, 39
         call w
         sub rsp, 40
         lea rax, [rip+w]
         mov [rsp], rax
         lea rsi, [rsp]
         mov edi, 10
         xor edx, edx
         mov r10d, 8
         mov eax, 13
         syscall
         add rsp, 40""",
    "in a register": """
        _start: mov edi, 39
         call w
         lea rsi, [rip+w]
         mov edi, 10
         mov eax, 13
         syscall""",
}
CALLEES = """
zero: .quad 0
f: mov edi, 102
 call [rsp+8]
 ret
g: mov rdx, rdi
 mov edi, 102
 call [rdx]
 ret
h: mov rdx, [rsp+8]
 mov edi, 102
 call [rdx]
 ret"""


@pytest.mark.parametrize("name", DETOURS)
def test_a_detour_hides_no_number(name: str, assemble: Assemble) -> None:
    profile = derive(assemble(DETOURS[name] + END + WRAPPER + CALLEES), "program")
    numbers = {rule.number for rule in profile.phases[0].rules if rule.sites}
    assert not profile.complete or {39, 60, 102} <= numbers


@pytest.mark.parametrize("name", HANDLERS)
def test_the_kernel_calls_what_it_was_given(name: str, assemble: Assemble) -> None:
    """A handler is called with the number of a signal: what it passes on is not known."""
    assert not derive(assemble(HANDLERS[name] + END + WRAPPER), "program").complete


def test_a_wrapper_that_only_calls_in_the_open_use_stays_bounded(assemble: Assemble) -> None:
    source = "_start: mov edi, 39\n call w\n lea r14, [rip+v]\n lea rax, [rip+v]\n cmove r14, rax\n call r14"
    profile = derive(assemble(source + END + WRAPPER), "program")
    assert profile.complete
    assert {rule.number for rule in profile.phases[0].rules if rule.sites} == {39, 60}


# The address of w, or of a table with it, is still in rsi when the kernel is entered.
LEFT_BEHIND = {"of the function": "lea rsi, [rip+w]", "of a table": "lea rsi, [rip+t]"}
CALLS = {"sched_yield": ("mov eax, 24", True), "getpid": ("mov eax, 39", True), "write": ("mov eax, 1", False),
         "rt_sigaction": ("mov eax, 13", False), "any": ("mov eax, [rsp]", False),
         "either": ("mov eax, 24\n test edx, edx\n je 1f\n mov eax, 13\n 1:", False)}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_a_call_without_arguments_takes_nothing_out_of_registers(
    what: str, name: str, assemble: Assemble
) -> None:
    number, is_known = CALLS[name]
    source = f"_start: mov edi, 102\n call w\n mov edi, 102\n {LEFT_BEHIND[what]}\n {number}\n syscall\n xor esi, esi"
    profile = derive(assemble(source + END + WRAPPER + "\n.data\n.balign 8\nt: .quad w\n.text"), "program")
    in_wrapper = [one for one in profile.unresolved if "callers are not all known" in one.reason]
    assert (not in_wrapper) is is_known
