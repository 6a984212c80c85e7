"""What glibc does only for tunables that the environment sets, and what looks like that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.assumptions import NO_TUNABLES
from shim.analysis.derive import derive
from shim.profile.profile import Profile

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

GETPID, PREAD64, EXIT = 39, 17, 60
VARIABLE = '.org table + 3*112 + 0x58\n .asciz "MALLOC_ARENA"\n'
TABLE = (
    ".data\n.balign 16\ntable:\n"
    + "".join(f'.org table + {entry}*112\n .asciz "glibc.malloc.t{entry}"\n' for entry in range(9))
    + ".org table + 9*112\n"
)
CODE = """
.type _start, @function
_start: mov edi, 3
 lea rsi, [rip+value]
 lea rdx, [rip+callback]
 call read
 call more
 mov eax, 60
 syscall
 hlt
.size _start, .-_start
.type read, @function
read: imul eax, edi, 112
 lea rcx, [rip+table]
 mov r8, [rcx+rax+0x48]
 mov [rsi], r8
 cmp byte ptr [rcx+rax+0x50], 0
 je 1f
 test rdx, rdx
 je 1f
 lea rdi, [rcx+rax+0x48]
 jmp rdx
1: ret
.size read, .-read
.type set, @function
set: imul eax, edi, 112
 lea rcx, [rip+table]
 mov byte ptr [rcx+rax+0x50], 1
 ret
.size set, .-set
.type callback, @function
callback: mov eax, 39
 syscall
 ret
.size callback, .-callback
.lcomm value, 8
.type more, @function
more: """


def issued(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


def test_a_callback_of_a_tunable_is_not_called(assemble: Assemble) -> None:
    data = assemble(CODE + "ret\n.size more, .-more\n" + TABLE)
    profile = derive(data, "program")
    assert issued(profile) == {EXIT}
    assert str(NO_TUNABLES) in profile.assumptions
    assert issued(derive(data, "program", assume=())) == {GETPID, EXIT}


@pytest.mark.parametrize(
    ("more", "table"),
    [
        ("ret", TABLE.replace(".org table + 4*112\n", VARIABLE + ".org table + 4*112\n")),
        ("mov edi, 3\n jmp set", TABLE),
        ("jmp callback", TABLE),
        ("lea rax, [rip+callback]\n jmp rax", TABLE),
        ("ret", TABLE.replace("glibc", "other")),
        ("ret", TABLE.replace("table + 7*112", "table + 7*112 + 8")),
    ],
    ids=["own variable", "set by code", "called", "called through a pointer", "other names", "uneven"],
)
def test_what_may_be_called_all_the_same_stays(more: str, table: str, assemble: Assemble) -> None:
    assert issued(derive(assemble(CODE + more + "\n.size more, .-more\n" + table), "program")) == {
        GETPID,
        EXIT,
    }


def test_huge_pages_of_glibc_are_a_tunable(compile_c: Compile) -> None:
    data = compile_c("#include <stdlib.h>\nint main(void) { free(malloc(9)); return 0; }", "-static")
    assert PREAD64 not in issued(derive(data, "program"))
    assert PREAD64 in issued(derive(data, "program", assume=()))


def test_a_program_that_reads_at_an_offset_itself_may(compile_c: Compile) -> None:
    source = "#include <unistd.h>\nint main(void) { char c; return pread(0, &c, 1, 0); }"
    assert PREAD64 in issued(derive(compile_c(source, "-static"), "program"))
