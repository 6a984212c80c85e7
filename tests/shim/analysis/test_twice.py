"""A function that keeps where it returns to may return again, with another result and into changed variables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.derive import derive

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

SETJMPS = {
    "loads it": """
        setjmp: lea rdx, [rsp+8]
         mov [rdi], rdx
         mov rdx, [rsp]
         mov [rdi+8], rdx
         xor eax, eax
         ret""",
    "pops it": """
        setjmp: pop rsi
         mov [rdi], rsp
         push rsi
         mov [rdi+8], rsi
         xor eax, eax
         ret""",
    "through a jump": """
        setjmp: xor esi, esi
         jmp save
        save: mov rax, [rsp]
         mov [rdi+8], rax
         lea rdx, [rsp+8]
         mov [rdi], rdx
         xor eax, eax
         ret""",
}
SETJMPS["through a branch"] = SETJMPS["through a jump"].replace("jmp save", "je save\n hlt")
LONGJMP = """
longjmp: mov eax, esi
 mov rsp, [rdi]
 jmp [rdi+8]
.data
.balign 8
buffer: .skip 16
"""
END = "\n mov eax, 60\n xor edi, edi\n syscall\n hlt"
AGAIN = (
    """
_start: lea rdi, [rip+buffer]
 call setjmp
 test eax, eax
 je 1f
 call report"""
    + END
    + """
1: lea rdi, [rip+buffer]
 mov esi, 1
 call longjmp
 hlt
report: mov eax, 102
 syscall
 ret"""
)
CHANGED = (
    """
_start: sub rsp, 24
 mov dword ptr [rsp+8], 39
 lea rdi, [rip+buffer]
 call setjmp
 mov edx, eax
 mov eax, [rsp+8]
 syscall
 test edx, edx
 jne 1f
 mov dword ptr [rsp+8], 102
 lea rdi, [rip+buffer]
 mov esi, 1
 call longjmp
1:"""
    + END
)
KEPT = CHANGED.replace(" mov dword ptr [rsp+8], 102\n", "")


def issued(data: bytes) -> set[int] | None:
    """Return the numbers of a complete profile that have sites."""
    profile = derive(data, "program")
    return {rule.number for rule in profile.phases[0].rules if rule.sites} if profile.complete else None


@pytest.mark.parametrize("name", SETJMPS)
def test_what_follows_the_second_return_is_alive(name: str, assemble: Assemble) -> None:
    assert issued(assemble(AGAIN + SETJMPS[name] + LONGJMP)) in ({60, 102}, None)


@pytest.mark.parametrize("name", SETJMPS)
def test_a_variable_may_have_changed_at_the_second_return(name: str, assemble: Assemble) -> None:
    assert issued(assemble(CHANGED + SETJMPS[name] + LONGJMP)) in ({39, 60, 102}, None)


@pytest.mark.parametrize("name", SETJMPS)
def test_a_variable_that_is_stored_once_is_known_at_both(name: str, assemble: Assemble) -> None:
    assert issued(assemble(KEPT + SETJMPS[name] + LONGJMP)) == {39, 60}


def test_the_result_of_a_function_that_returns_once_decides(assemble: Assemble) -> None:
    once = "\nsetjmp: mov rdx, [rsp+8]\n mov [rdi], rdx\n xor eax, eax\n ret"
    assert issued(assemble(AGAIN + once + LONGJMP)) == {60}


def test_the_second_return_on_aarch64(assemble_aarch64: Assemble) -> None:
    source = """
    _start: adr x0, buffer
     bl setjmp
     cbz w0, 1f
     mov x8, 174
     svc 0
     mov x8, 93
     svc 0
    1: adr x0, buffer
     bl longjmp
    setjmp: mov x2, sp
     stp x30, x2, [x0]
     mov w0, 0
     ret
    longjmp: ldp x30, x2, [x0]
     mov sp, x2
     mov w0, 1
     ret
    .balign 8
    buffer: .skip 16
    """
    assert issued(assemble_aarch64(source)) in ({93, 174}, None)


PROGRAM = """
#define _GNU_SOURCE
#include <setjmp.h>
#include <sys/klog.h>
static jmp_buf state;
__attribute__((noinline)) static void leave(void) { longjmp(state, 1); }
int main(void) {
    if (setjmp(state)) { return klogctl(10, 0, 0) < 0; }
    leave();
}
"""


def test_setjmp_of_the_c_library(compile_c: Compile) -> None:
    assert 103 in (issued(compile_c(PROGRAM, "-static", "-O1")) or {103})


def test_setjmp_of_the_c_library_on_aarch64(compile_aarch64: Compile) -> None:
    assert 116 in (issued(compile_aarch64(PROGRAM, "-static", "-O1")) or {116})
