"""
Which numbers does the analysis find, for one small program per way of passing a number?

A row is assembly and the set of numbers its `syscall` instructions may be given; the always-present ones of
the kernel are taken out.  The second table holds programs that must not be called complete.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.derive import derive
from shim.profile.profile import Profile

Assemble = Callable[..., bytes]

ALWAYS = {15, 219, 231}
END = "\n mov eax, 60\n syscall\n hlt"


def found(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


# A function with unwind information, so that its instructions are known; it also names the address 8 behind t.
SHORT_TABLE = (
    "_start: .cfi_startproc\n mov rdi, [rsp]\n lea rsi, [rip+t+8]\n {limit}\n lea rdx, [rip+t]\n"
    " movsxd rax, dword ptr [rdx+rdi*4]\n add rax, rdx\n jmp rax\n"
    "1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n jmp 8f\n3: mov eax, 104\n8: syscall\n9: mov eax, 60\n syscall\n hlt\n"
    "7: mov ecx, 0x050f6eb0\n .cfi_endproc\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t, {after}\n.long 0x7fffffff"
)
# Into the number of the last instruction, which is `mov al, 110; syscall`.
WRONG_ENTRIES = "7b+1-t, 7b+1-t"

BOUNDED = {
    "immediate": ("_start: mov eax, 39\n syscall" + END, {39, 60}),
    "zero idiom": ("_start: xor eax, eax\n syscall" + END, {0, 60}),
    "low byte over zero, as in clone": ("_start: xor eax, eax\n mov al, 56\n syscall" + END, {56, 60}),
    "low word": ("_start: mov eax, 0x10000\n xor eax, eax\n mov ax, 318\n syscall" + END, {318, 60}),
    "through other registers": (
        "_start: mov ebx, 39\n mov ecx, ebx\n mov eax, ecx\n syscall" + END,
        {39, 60},
    ),
    "push and pop": ("_start: push 39\n pop rax\n syscall" + END, {39, 60}),
    "stack slot": (
        "_start: sub rsp, 24\n mov dword ptr [rsp+8], 39\n mov eax, [rsp+8]\n syscall" + END,
        {39, 60},
    ),
    "frame pointer": (
        "_start: push rbp\n mov rbp, rsp\n sub rsp, 16\n mov dword ptr [rbp-4], 39\n mov eax, [rbp-4]\n syscall"
        + END,
        {39, 60},
    ),
    "either branch": (
        "_start: mov eax, 39\n test rdi, rdi\n je 1f\n mov eax, 102\n1: syscall" + END,
        {39, 102, 60},
    ),
    "conditional move": (
        "_start: mov eax, 39\n mov ecx, 102\n test rdi, rdi\n cmove eax, ecx\n syscall" + END,
        {39, 102, 60},
    ),
    "setcc": ("_start: xor eax, eax\n test rdi, rdi\n sete al\n syscall" + END, {0, 1, 60}),
    "sbb and add": (
        "_start: cmp rdi, 1\n sbb eax, eax\n and eax, 4\n add eax, 35\n syscall" + END,
        {35, 39, 60},
    ),
    "lea arithmetic": ("_start: mov edi, 30\n lea eax, [rdi+9]\n syscall" + END, {39, 60}),
    "or of all ones is no number": ("_start: mov eax, 39\n jmp 1f\n or eax, -1\n1: syscall" + END, {39, 60}),
    "equal on the taken edge": (
        "_start: mov rax, [rsp]\n test rax, rax\n je 1f\n mov eax, 60\n syscall\n hlt\n1: syscall" + END,
        {0, 60},
    ),
    "compare chain": (
        "_start: mov rax, [rsp]\n cmp rax, 39\n je 1f\n hlt\n1: syscall" + END,
        {39, 60},
    ),
    "wrapper by its first parameter": (
        "_start: mov edi, 39\n call w\n mov edi, 102\n call w" + END + "\nw: mov rax, rdi\n syscall\n ret",
        {39, 102, 60},
    ),
    "wrapper in a wrapper": (
        "_start: mov esi, 39\n call v" + END + "\nv: mov edi, esi\n jmp w\nw: mov eax, edi\n syscall\n ret",
        {39, 60},
    ),
    "parameter on the stack": (
        "_start: push 39\n call w\n pop rcx" + END + "\nw: mov eax, [rsp+8]\n syscall\n ret",
        {39, 60},
    ),
    "parameter behind a pushed register": (
        "_start: push 39\n call w\n pop rcx"
        + END
        + "\nw: push rbx\n mov eax, [rsp+16]\n syscall\n pop rbx\n ret",
        {39, 60},
    ),
    "number in a structure that the caller fills": (
        "_start: sub rsp, 24\n mov dword ptr [rsp], 39\n mov rdi, rsp\n call w\n add rsp, 24"
        + END
        + "\nw: mov eax, [rdi]\n syscall\n ret",
        {39, 60},
    ),
    "structure filled after its address is taken": (
        "_start: sub rsp, 24\n mov rdi, rsp\n mov dword ptr [rsp+4], 39\n call w"
        + END
        + "\nw: mov eax, [rdi+4]\n syscall\n ret",
        {39, 60},
    ),
    "number in the upper half of a wider store": (
        "_start: sub rsp, 24\n movabs rax, 0x2700000001\n mov [rsp], rax\n mov rdi, rsp\n call w"
        + END
        + "\nw: mov eax, [rdi+4]\n syscall\n ret",
        {39, 60},
    ),
    "two bytes of the number, as dietlibc": (
        "_start: mov rax, [rsp]\n mov al, 39\n mov ah, 0\n movzx eax, ax\n syscall" + END,
        {39, 60},
    ),
    "stack pointer compared, as Go's functions begin": (
        "_start: push 39\n call w\n pop rcx"
        + END
        + "\nw: cmp rsp, [r14+16]\n jbe 1f\n push rbp\n mov rbp, rsp\n sub rsp, -128\n add rsp, -128\n mov eax, [rbp+16]\n syscall\n pop rbp\n1: ret",
        {39, 60},
    ),
    "saved register over a call": (
        "_start: mov ebx, 39\n call f\n mov eax, ebx\n syscall" + END + "\nf: ret",
        {39, 60},
    ),
    "result of a function": ("_start: call f\n syscall" + END + "\nf: mov eax, 39\n ret", {39, 60}),
    "result that is the parameter": (
        "_start: mov edi, 39\n call f\n syscall" + END + "\nf: mov eax, edi\n ret",
        {39, 60},
    ),
    "constant table, unknown index": (
        "_start: and edi, 3\n lea rcx, [rip+t]\n mov eax, [rcx+rdi*4]\n syscall"
        + END
        + "\n.section .rodata\n.balign 8\nt: .long 39,102,104,107",
        {39, 102, 104, 107, 60},
    ),
    "variable with one store": (
        "_start: mov dword ptr [rip+g], 39\n mov eax, [rip+g]\n syscall"
        + END
        + "\n.data\n.balign 8\ng: .long 102",
        {39, 102, 60},
    ),
    "wrapper whose address is called at once": (
        "_start: lea rbx, [rip+w]\n mov edi, 39\n call rbx" + END + "\nw: mov eax, edi\n syscall\n ret",
        {39, 60},
    ),
    "wrapper handed to a function that calls it": (
        "_start: lea rdi, [rip+w]\n mov esi, 39\n call apply"
        + END
        + "\napply: mov rax, rdi\n mov edi, esi\n call rax\n ret\nw: mov eax, edi\n syscall\n ret",
        {39, 60},
    ),
    "callback in a variable, as musl's setxid": (
        "_start: lea rax, [rip+w]\n mov [rip+g], rax\n mov edi, 39\n call [rip+g]"
        + END
        + "\nw: mov eax, edi\n syscall\n ret\n.bss\n.balign 8\ng: .skip 8",
        {39, 60},
    ),
    "code behind a call that never returns": (
        "_start: call die\n mov eax, 169\n syscall\ndie: mov eax, 60\n syscall\n hlt",
        {60},
    ),
    "loop that never returns": ("_start: mov eax, 39\n1: syscall\n mov eax, 39\n jmp 1b", {39}),
    "null pointer cannot yield a number": (
        "_start: mov rcx, [rip+g]\n mov eax, [rcx]\n syscall" + END + "\n.bss\n.balign 8\ng: .skip 8",
        {60},
    ),
    "unreferenced function": ("_start:" + END + "\ndead: mov eax, 169\n syscall\n ret", {60}),
    "unreferenced table of functions": (
        "_start:" + END + "\nd: mov eax, 169\n syscall\n ret\n.data\n.balign 8\nt: .quad d",
        {60},
    ),
    "referenced table of functions": (
        "_start: and edi, 1\n lea rax, [rip+t]\n call [rax+rdi*8]"
        + END
        + "\na: mov eax, 39\n syscall\n ret\nb: mov eax, 102\n syscall\n ret\n.data\n.balign 8\nt: .quad a, b",
        {39, 102, 60},
    ),
    "pointer to a table of functions": (
        "_start: mov rax, [rip+p]\n call [rax]"
        + END
        + "\na: mov eax, 39\n syscall\n ret\n.data\n.balign 8\np: .quad t\n.balign 64\nt: .quad a",
        {39, 60},
    ),
    "relative jump table": (
        "_start: mov rdi, [rsp]\n cmp edi, 2\n ja 9f\n lea rdx, [rip+t]\n movsxd rax, dword ptr [rdx+rdi*4]\n add rax, rdx\n"
        " jmp rax\n1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n jmp 8f\n3: mov eax, 104\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t, 3b-t\n.long 0x7fffffff",
        {39, 102, 104, 60},
    ),
    "absolute jump table": (
        "_start: mov rdi, [rsp]\n cmp edi, 1\n ja 9f\n jmp [t+rdi*8]\n1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 8\nt: .quad 1b, 2b",
        {39, 102, 60},
    ),
    "jump table whose limit is compared in memory": (
        "_start: cmp dword ptr [rsp], 1\n ja 9f\n mov eax, [rsp]\n lea rdx, [rip+t]\n movsxd rax, dword ptr [rdx+rax*4]\n"
        " add rax, rdx\n jmp rax\n1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t\n.long 0x7fffffff",
        {39, 102, 60},
    ),
    "jump table as GCC reads it without optimisation": (
        "_start: mov rdi, [rsp]\n cmp edi, 2\n ja 9f\n mov eax, edi\n lea rdx, [0+rax*4]\n lea rax, [rip+t]\n"
        " mov eax, [rdx+rax]\n cdqe\n lea rdx, [rip+t]\n add rax, rdx\n jmp rax\n"
        "1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n jmp 8f\n3: mov eax, 104\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t, 3b-t\n.long 0x7fffffff",
        {39, 102, 104, 60},
    ),
    "jump table with a masked index that has fewer entries": (
        SHORT_TABLE.format(limit="and edi, 3", after=WRONG_ENTRIES),
        {39, 102, 60},
    ),
    "jump table with fewer entries than its index is compared with": (
        SHORT_TABLE.format(limit="cmp edi, 3\n ja 9f", after=WRONG_ENTRIES),
        {39, 102, 60},
    ),
    "jump table of which code names the middle": (
        SHORT_TABLE.format(limit="cmp edi, 3\n ja 9f", after="2b-t, 3b-t"),
        {39, 102, 104, 60},
    ),
    "jump table whose index is read anew after the comparison": (
        "_start: lea rbx, [rsp]\n cmp dword ptr [rbx], 0\n ja 9f\n mov rbx, rsi\n mov eax, [rbx]\n lea rdx, [rip+t]\n"
        " movsxd rax, dword ptr [rdx+rax*4]\n add rax, rdx\n jmp rax\n"
        "1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t\n.long 0x7fffffff",
        {39, 102, 60},
    ),
    "jump table whose index is compared through a copy of its pointer": (
        "_start: lea rcx, [rsp+8]\n cmp dword ptr [rcx-4], 1\n ja 9f\n lea rbx, [rcx-12]\n mov eax, [rbx+8]\n lea rdx, [rip+t]\n"
        " movsxd rax, dword ptr [rdx+rax*4]\n add rax, rdx\n jmp rax\n"
        "1: mov eax, 39\n jmp 8f\n2: mov eax, 102\n jmp 8f\n3: mov eax, 104\n8: syscall\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .long 1b-t, 2b-t, 3b-t",
        {39, 102, 60},
    ),
    "jump into the middle of a prefixed instruction": (
        "_start: xor eax, eax\n je 1f+1\n1: lock add [rip+g], eax\n mov eax, 39\n syscall"
        + END
        + "\n.data\ng: .long 0",
        {39, 60},
    ),
    "call over data reads the instruction pointer": (
        "_start: call 1f\n1: pop rcx\n mov eax, 39\n syscall" + END,
        {39, 60},
    ),
}

OPEN = {
    "number from the outside": ("_start: mov rax, [rsp]\n syscall" + END, "callers are not all known"),
    "number from the kernel": ("_start: mov eax, 39\n syscall\n syscall" + END, "syscall"),
    "wrapper whose address goes into memory": (
        "_start: lea rax, [rip+w]\n mov [rsp-8], rax\n mov rcx, [rip+p]\n mov [rcx], rax"
        + END
        + "\nw: mov eax, edi\n syscall\n ret\n.data\n.balign 8\np: .quad p",
        "callers are not all known",
    ),
    "wrapper in a table": (
        "_start: and edi, 1\n lea rax, [rip+t]\n call [rax+rdi*8]"
        + END
        + "\nw: mov eax, edi\n syscall\n ret\n.data\n.balign 8\nt: .quad w, w",
        "callers are not all known",
    ),
    "table that can be written": (
        "_start: and edi, 3\n lea rcx, [rip+t]\n mov eax, [rcx+rdi*4]\n syscall"
        + END
        + "\n.data\n.balign 8\nt: .long 39,102,104,107",
        "can change",
    ),
    "variable whose address is taken": (
        "_start: lea rdi, [rip+g]\n call f\n mov eax, [rip+g]\n syscall"
        + END
        + "\nf: mov [rdi], rsi\n ret\n.data\n.balign 8\ng: .long 39",
        "address is taken",
    ),
    "slot whose address a call was given": (
        "_start: sub rsp, 24\n mov dword ptr [rsp+8], 39\n lea rdi, [rsp+8]\n call f\n mov eax, [rsp+8]\n syscall"
        + END
        + "\nf: mov [rdi], rsi\n ret",
        "a call may have been given",
    ),
    "field behind an address that a call was given": (
        "_start: sub rsp, 24\n mov dword ptr [rsp+12], 39\n lea rdi, [rsp]\n mov rdi, rdi\n lea rdi, [rsp+8]\n call f\n"
        " mov eax, [rsp+12]\n syscall" + END + "\nf: mov [rdi], rsi\n ret",
        "a call may have been given",
    ),
    "slot written through a pointer, without a call": (
        "_start: sub rsp, 24\n mov dword ptr [rsp+8], 39\n lea rdi, [rsp+8]\n mov dword ptr [rdi], 110\n mov eax, [rsp+8]\n syscall"
        + END,
        "through a pointer",
    ),
    "slot that an indexed store may hit": (
        "_start: sub rsp, 40\n mov dword ptr [rsp+8], 39\n and edi, 1\n mov dword ptr [rsp+rdi*4+8], 110\n mov eax, [rsp+8]\n syscall"
        + END,
        "through a pointer",
    ),
    "slot that a string instruction may hit": (
        "_start: sub rsp, 40\n mov dword ptr [rsp+8], 39\n lea rdi, [rsp+8]\n mov ecx, 4\n rep movsb\n mov eax, [rsp+8]\n syscall"
        + END,
        "through a pointer",
    ),
    "result of a call through a pointer": (
        "_start: mov rcx, [rip+p]\n call rcx\n syscall"
        + END
        + "\nf: mov eax, 39\n ret\n.data\n.balign 8\np: .quad f",
        "through a pointer",
    ),
    "product of unknowns": ("_start: rdtsc\n syscall" + END, "rdtsc"),
    "thread-local variable": ("_start: mov eax, fs:[0x10]\n syscall" + END, "thread-local"),
    "sum in a loop": (
        "_start: xor eax, eax\n1: add eax, 1\n cmp eax, edi\n jne 1b\n syscall" + END,
        "depends on itself",
    ),
    "slot written in parts": (
        "_start: sub rsp, 24\n mov dword ptr [rsp+8], 39\n mov byte ptr [rsp+9], 1\n mov eax, [rsp+8]\n syscall"
        + END,
        "in parts",
    ),
    "number that no kernel has": ("_start: mov eax, 99999\n syscall" + END, "not in the table"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_are_bounded(name: str, assemble: Assemble) -> None:
    source, want = BOUNDED[name]
    profile = derive(assemble(source), "program")
    assert (profile.unresolved, profile.foreign_abi) == ((), ())
    assert found(profile) == want


@pytest.mark.parametrize("name", BOUNDED)
def test_position_independent_and_stripped_are_the_same(name: str, assemble: Assemble) -> None:
    source, want = BOUNDED[name]
    if "[t+rdi*8]" in source:
        pytest.skip("an absolute table cannot be position-independent")
    profile = derive(assemble(source, "-static-pie", "-s"), "program")
    assert profile.complete, profile.unresolved
    assert found(profile) >= want - {39} if "null pointer" in name else found(profile) == want


@pytest.mark.parametrize("name", OPEN)
def test_what_is_not_bounded_is_said(name: str, assemble: Assemble) -> None:
    source, reason = OPEN[name]
    profile = derive(assemble(source), "program", assume=())
    assert not profile.complete
    assert any(reason in place.reason for place in profile.unresolved), profile.unresolved


@pytest.mark.parametrize("name", [name for name in OPEN if "may hit" in name or "without a call" in name])
def test_no_assumption_covers_the_place_itself(name: str, assemble: Assemble) -> None:
    assert not derive(assemble(OPEN[name][0]), "program").complete


def test_damaged_code_that_overlaps_itself(assemble: Assemble) -> None:
    data = bytearray(
        assemble("_start: mov eax, 39\n1: syscall\n mov eax, [rsp+8]\n syscall\n jmp 1b\n jmp 1b+1\n hlt")
    )
    for place in range(0x1000, 0x1000 + 24):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            derive(bytes(damaged), "damaged")


def test_zeros_behind_the_file_cost_nothing(assemble: Assemble) -> None:
    source = "_start: lea rdi, [rip+big]\n mov rax, [rdi]" + END + "\n.bss\n.balign 8\nbig: .skip 0x7fff0000"
    assert found(derive(assemble(source), "program")) == {60}


ASSUMED = (
    "_start: lea rdi, [rip+other]\n call f\n mov dword ptr [rip+g], 39\n mov eax, [rip+g]\n syscall"
    + END
    + "\nf: mov [rdi], rsi\n ret\n.data\n.balign 8\nother: .quad 0\ng: .long 102"
)


def test_an_assumption_is_named_and_optional(assemble: Assemble) -> None:
    data = assemble(ASSUMED, "-s")
    profile = derive(data, "program")
    assert profile.complete
    assert found(profile) == {39, 102, 60}
    assert [text.split(":")[0] for text in profile.assumptions] == ["separate-variables"]
    strict = derive(data, "program", assume=())
    assert "address is taken" in strict.unresolved[0].reason
    assert strict.assumptions == ()


def test_no_assumption_is_named_where_none_was_needed(assemble: Assemble) -> None:
    assert derive(assemble(BOUNDED["variable with one store"][0]), "program").assumptions == ()


def test_always_allowed_calls_are_there(assemble: Assemble) -> None:
    profile = derive(assemble("_start:" + END), "program")
    assert {rule.number for rule in profile.phases[0].rules} == {60, 231}


@pytest.mark.parametrize(("number", "implied"), [(13, 15), (35, 219), (7, 219), (202, 219)])
def test_what_the_kernel_issues_comes_with_its_cause(assemble: Assemble, number: int, implied: int) -> None:
    profile = derive(assemble(f"_start: mov eax, {number}\n syscall" + END), "program")
    assert {rule.number for rule in profile.phases[0].rules} == {number, implied, 60, 231}


FUTEXES = {
    "wait until a time": ("xor esi, esi\n lea r10, [rsp]", True),
    "private wait until a time": ("mov esi, 0x80\n lea r10, [rsp]", True),
    "wait on a bit set": ("mov esi, 0x189\n lea r10, [rsp]", True),
    "unknown command": ("mov esi, [rsp]\n lea r10, [rsp]", True),
    "wait without a limit": ("mov esi, 0x80\n xor r10d, r10d", False),
    "wake": ("mov esi, 0x81", False),
    "lock with priority": ("mov esi, 0x86\n lea r10, [rsp]", False),
}


@pytest.mark.parametrize("name", FUTEXES)
def test_only_a_wait_until_a_time_is_restarted(name: str, assemble: Assemble) -> None:
    """kernel/futex/waitwake.c, futex_wait, v6.12: without a limit it is issued again as it was."""
    arguments, restarted = FUTEXES[name]
    profile = derive(assemble(f"_start: {arguments}\n mov eax, 202\n syscall" + END), "program")
    assert (219 in {rule.number for rule in profile.phases[0].rules}) == restarted


def test_code_behind_exit_is_dead(assemble: Assemble) -> None:
    source = "_start: mov eax, 231\n syscall\n mov eax, 39\n syscall" + END
    assert {rule.number for rule in derive(assemble(source), "program").phases[0].rules} == {231}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("_start: mov eax, 1\n int 0x80" + END, "i386"),
        ("_start: mov eax, 1\n sysenter" + END, "i386"),
        ("_start: mov eax, 0x40000001\n syscall" + END, "x32"),
    ],
)
def test_another_abi_is_never_mapped(source: str, reason: str, assemble: Assemble) -> None:
    profile = derive(assemble(source), "program")
    assert not profile.complete
    assert reason in profile.foreign_abi[0].reason
    assert found(profile) == {60}


def test_code_in_a_writable_segment_is_incomplete(assemble: Assemble) -> None:
    profile = derive(assemble("_start:" + END, "-Wl,-N"), "program")
    assert "writable segment" in profile.unresolved[0].reason


def test_the_chain_names_caller_and_wrapper(assemble: Assemble) -> None:
    source = (
        "_start: call f" + END + "\n.type f,@function\nf: mov edi, 39\n call w\n ret\n.size f,.-f\n"
        ".type w,@function\nw: mov eax, edi\n syscall\n ret\n.size w,.-w"
    )
    profile = derive(assemble(source), "program")
    rule = next(rule for rule in profile.phases[0].rules if rule.number == 39)
    assert [link.rsplit(": ", 1)[1] for link in rule.why] == ["_start", "f", "w"] or rule.why[-1].endswith(
        ": w"
    )
    assert rule.sites[0].function == "w"


def test_too_many_paths_to_a_table_are_said(assemble: Assemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.analysis.reach.MAX_PATHS", 1)
    source = (
        "_start: and edi, 0\n cmp edi, 0\n ja 9f\n5: jmp [t+rdi*8]\n1: mov eax, 39\n syscall\n jmp 5b\n9:"
    )
    source += END + "\n.section .rodata\n.balign 8\nt: .quad 1b"
    profile = derive(assemble(source), "program")
    assert [place.reason for place in profile.unresolved] == [
        "more than 1 paths lead to the jumps through tables of this function"
    ]


def test_same_input_same_profile(assemble: Assemble) -> None:
    data = assemble(BOUNDED["relative jump table"][0])
    assert derive(data, "program") == derive(data, "program")
