"""
Which numbers does the analysis find in AArch64 code, for one small program per way of passing a number?

A row is assembly and the set of numbers its `svc` instructions may be given, without what is always allowed.
The second table holds programs that must not be called complete.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.analysis.derive import derive
from shim.errors import BinaryError
from shim.profile.profile import Profile

Cross = Callable[..., bytes]

EXIT = 93
END = "\n mov x8, #93\n svc #0\n udf #0"


def found(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


BOUNDED = {
    "immediate": ("_start: mov x8, #172\n svc #0" + END, {172}),
    "32 bits": ("_start: mov w8, #172\n svc #0" + END, {172}),
    "zero register": ("_start: mov x8, xzr\n svc #0" + END, {0}),
    "movz and movk": (
        "_start: movz x8, #1, lsl #16\n movk x8, #172\n and x8, x8, #0xffff\n svc #0" + END,
        {172},
    ),
    "number whose constant svc ignores": ("_start: mov x8, #172\n svc #7" + END, {172}),
    "upper half ignored": ("_start: mov x8, #172\n movk x8, #1, lsl #32\n svc #0" + END, {172}),
    "through other registers": ("_start: mov x9, #172\n mov w10, w9\n mov x8, x10\n svc #0" + END, {172}),
    "addition": ("_start: mov x9, #170\n add x8, x9, #2\n svc #0" + END, {172}),
    "shifted addition": (
        "_start: mov x9, #43\n lsl x9, x9, #1\n add x8, xzr, x9, lsl #1\n svc #0" + END,
        {172},
    ),
    "bit-field insertion": ("_start: mov x8, #12\n mov x9, #5\n bfi x8, x9, #5, #3\n svc #0" + END, {172}),
    "stack slot": (
        "_start: sub sp, sp, #32\n mov w9, #172\n str w9, [sp, #8]\n ldr w8, [sp, #8]\n svc #0" + END,
        {172},
    ),
    "stored and loaded as a pair": (
        "_start: mov x9, #172\n mov x10, #174\n stp x9, x10, [sp, #-32]!\n ldp x0, x8, [sp]\n svc #0" + END,
        {174},
    ),
    "loaded with write-back": (
        "_start: mov x9, #172\n str x9, [sp, #-16]!\n ldr x8, [sp], #16\n svc #0" + END,
        {172},
    ),
    "frame pointer": (
        "_start: stp x29, x30, [sp, #-48]!\n mov x29, sp\n mov w9, #172\n str w9, [x29, #20]\n ldr w8, [x29, #20]\n svc #0"
        + END,
        {172},
    ),
    "either branch": ("_start: mov x8, #172\n cbz x0, 1f\n mov x8, #174\n1: svc #0" + END, {172, 174}),
    "tested bit": ("_start: mov x8, #172\n tbz x0, #3, 1f\n mov x8, #174\n1: svc #0" + END, {172, 174}),
    "csel": (
        "_start: mov x9, #172\n mov x10, #174\n cmp x0, #0\n csel x8, x9, x10, eq\n svc #0" + END,
        {172, 174},
    ),
    "csinc": ("_start: mov x9, #172\n cmp x0, #0\n csinc x8, x9, x9, eq\n svc #0" + END, {172, 173}),
    "cset": ("_start: cmp x0, #0\n cset x9, ne\n add x8, x9, #172\n svc #0" + END, {172, 173}),
    "equal on the taken edge": (
        "_start: ldr x8, [sp]\n cmp x8, #172\n b.eq 1f\n udf #0\n1: svc #0" + END,
        {172},
    ),
    "zero on the taken edge": ("_start: ldr x8, [sp]\n cbz x8, 1f\n udf #0\n1: svc #0" + END, {0}),
    "wrapper by its first parameter": (
        "_start: mov x0, #172\n bl w\n mov x0, #174\n bl w" + END + "\nw: mov x8, x0\n svc #0\n ret",
        {172, 174},
    ),
    "wrapper in a wrapper": (
        "_start: mov x1, #172\n bl v" + END + "\nv: mov x0, x1\n b w\nw: mov w8, w0\n svc #0\n ret",
        {172},
    ),
    "parameter on the stack, as Go's": (
        "_start: sub sp, sp, #32\n mov x9, #172\n str x9, [sp, #8]\n bl w"
        + END
        + "\nw: str x30, [sp, #-32]!\n ldr x8, [sp, #40]\n svc #0\n ldr x30, [sp], #32\n ret",
        {172},
    ),
    "number in a structure that the caller fills": (
        "_start: sub sp, sp, #32\n mov w9, #172\n str w9, [sp, #12]\n add x0, sp, #8\n bl w"
        + END
        + "\nw: ldr w8, [x0, #4]\n svc #0\n ret",
        {172},
    ),
    "saved register over a call": (
        "_start: mov x19, #172\n bl f\n mov x8, x19\n svc #0" + END + "\nf: ret",
        {172},
    ),
    "everything but x0 over a kernel entry": ("_start: mov x8, #172\n svc #0\n svc #0" + END, {172}),
    "result of a function": ("_start: bl f\n mov x8, x0\n svc #0" + END + "\nf: mov x0, #172\n ret", {172}),
    "signed return address": (
        "_start: bl f\n mov x8, x0\n svc #0" + END + "\nf: paciasp\n mov x0, #172\n retaa",
        {172},
    ),
    "table of constants": (
        "_start: and x0, x0, #3\n adrp x1, t\n add x1, x1, :lo12:t\n ldr w8, [x1, x0, lsl #2]\n svc #0"
        + END
        + "\n.section .rodata\n.balign 8\nt: .word 172,173,174,175",
        {172, 173, 174, 175},
    ),
    "variable with one store": (
        "_start: adrp x1, g\n mov w9, #172\n str w9, [x1, :lo12:g]\n ldr w8, [x1, :lo12:g]\n svc #0"
        + END
        + "\n.data\n.balign 8\ng: .word 174",
        {172, 174},
    ),
    "literal": ("_start: ldr w8, =172000\n ldr w9, =171828\n sub w8, w8, w9\n svc #0" + END, {172}),
    "wrapper whose address is called": (
        "_start: adr x9, w\n mov x0, #172\n blr x9" + END + "\nw: mov x8, x0\n svc #0\n ret",
        {172},
    ),
    "callback in a variable": (
        "_start: adr x9, w\n adrp x10, g\n str x9, [x10, :lo12:g]\n mov x0, #172\n ldr x11, [x10, :lo12:g]\n blr x11"
        + END
        + "\nw: mov x8, x0\n svc #0\n ret\n.bss\n.balign 8\ng: .skip 8",
        {172},
    ),
    "table of functions": (
        "_start: and x0, x0, #1\n adrp x1, t\n add x1, x1, :lo12:t\n ldr x1, [x1, x0, lsl #3]\n blr x1"
        + END
        + "\na: mov x8, #172\n svc #0\n ret\nb: mov x8, #174\n svc #0\n ret\n.data\n.balign 8\nt: .quad a, b",
        {172, 174},
    ),
    "table into whose middle data in the code seems to point": (
        "_start: and x0, x0, #31\n adrp x1, t\n add x1, x1, :lo12:t\n ldr x1, [x1, x0, lsl #3]\n blr x1"
        + END
        + "\n adr x0, t+128\na: mov x8, #172\n svc #0\n ret\nb: mov x8, #174\n svc #0\n ret\n.data\n.balign 8\n"
        "t: .rept 31\n .quad a\n .endr\n .quad b",
        {172, 174},
    ),
    "object reached from the address of another": (
        "_start: adrp x1, t\n add x1, x1, :lo12:t\n ldr x1, [x1, #u-t]\n blr x1"
        + END
        + "\na: mov x8, #172\n svc #0\n ret\n.data\n.balign 64\n.type t,@object\n.size t,8\nt: .quad 0\n.balign 256\n"
        ".type u,@object\n.size u,8\nu: .quad a",
        {172},
    ),
    "page made before a branch and a call": (
        "_start: adrp x19, t\n bl f\n cbz x0, 1f\n b 2f\n2: udf #0\n1: ldr x1, [x19, :lo12:t]\n blr x1"
        + END
        + "\nf: ret\na: mov x8, #172\n svc #0\n ret\n.data\n.balign 8\nt: .quad a",
        {172},
    ),
    "page that was put on the stack": (
        "_start: sub sp, sp, #32\n adrp x9, t\n str x9, [sp, #8]\n mov x9, #0\n ldr x10, [sp, #8]\n ldr x1, [x10, :lo12:t]\n"
        " blr x1" + END + "\na: mov x8, #172\n svc #0\n ret\n.data\n.balign 8\nt: .quad a",
        {172},
    ),
    "jump table of bytes": (
        "_start: ldr x0, [sp]\n cmp w0, #2\n b.hi 9f\n adrp x1, t\n add x1, x1, :lo12:t\n ldrb w1, [x1, w0, uxtw]\n"
        " adr x2, 1f\n add x1, x2, w1, sxtb #2\n br x1\n1: mov x8, #172\n b 8f\n2: mov x8, #173\n b 8f\n3: mov x8, #174\n"
        "8: svc #0\n9:" + END + "\n.section .rodata\nt: .byte (1b-1b)/4, (2b-1b)/4, (3b-1b)/4, 127",
        {172, 173, 174},
    ),
    "jump table of words, by an address on the stack": (
        "_start: sub sp, sp, #32\n ldr x0, [sp]\n adrp x1, t\n add x1, x1, :lo12:t\n str x1, [sp, #16]\n sub w0, w0, #4\n"
        " cmp w0, #1\n b.hi 9f\n ldr x3, [sp, #16]\n ldrsw x1, [x3, w0, uxtw #2]\n add x1, x1, x3\n br x1\n"
        "1: mov x8, #172\n b 8f\n2: mov x8, #174\n8: svc #0\n9:"
        + END
        + "\n.section .rodata\n.balign 4\nt: .word 1b-t, 2b-t, 0x7fffffff",
        {172, 174},
    ),
    "code behind exit": ("_start: mov x8, #93\n svc #0\n mov x8, #172\n svc #0" + END, set()),
    "code behind a call that never returns": (
        "_start: bl die\n mov x8, #172\n svc #0\ndie: mov x8, #93\n svc #0\n udf #0",
        set(),
    ),
    "unreferenced function": ("_start:" + END + "\ndead: mov x8, #172\n svc #0\n ret", set()),
    "unreferenced table of functions": (
        "_start:" + END + "\nd: mov x8, #172\n svc #0\n ret\n.data\n.balign 8\nt: .quad d",
        set(),
    ),
}

OPEN = {
    "number from the outside": ("_start: ldr x8, [sp]\n svc #0" + END, "callers are not all known"),
    "number from the outside, with a constant in svc": ("_start: svc #93" + END, "callers are not all known"),
    "number from the kernel": ("_start: mov x8, #172\n svc #0\n mov x8, x0\n svc #0" + END, "svc"),
    "computed jump": ("_start: add x9, x0, x1\n br x9" + END, "computed"),
    "number that no kernel has": ("_start: mov x8, #9999\n svc #0" + END, "not in the table"),
    "number of another architecture": ("_start: mov x8, #1024\n svc #0" + END, "not in the table"),
    "result of an atomic operation": ("_start: swp x9, x8, [x1]\n svc #0" + END, "atomic"),
    "result of a vector": ("_start: fmov x8, d0\n svc #0" + END, "vector"),
    "product of unknowns": ("_start: mul x8, x0, x1\n svc #0" + END, "parameter"),
    "thread-local variable": (
        "_start: mrs x9, tpidr_el0\n ldr w8, [x9, #16]\n svc #0" + END,
        "thread pointer",
    ),
    "table that can be written": (
        "_start: and x0, x0, #3\n adrp x1, t\n add x1, x1, :lo12:t\n ldr w8, [x1, x0, lsl #2]\n svc #0"
        + END
        + "\n.data\n.balign 8\nt: .word 172,173,174,175",
        "can change",
    ),
    "slot whose address a call was given": (
        "_start: sub sp, sp, #32\n mov w9, #172\n str w9, [sp, #8]\n add x0, sp, #8\n bl f\n ldr w8, [sp, #8]\n svc #0"
        + END
        + "\nf: str x1, [x0]\n ret",
        "a call may have been given",
    ),
    "slot written in parts": (
        "_start: sub sp, sp, #32\n mov w9, #172\n str w9, [sp, #8]\n strb w9, [sp, #9]\n ldr w8, [sp, #8]\n svc #0"
        + END,
        "in parts",
    ),
    "slot written through a pointer": (
        "_start: sub sp, sp, #32\n mov w9, #172\n str w9, [sp, #8]\n add x1, sp, #8\n str w0, [x1]\n ldr w8, [sp, #8]\n svc #0"
        + END,
        "through a pointer",
    ),
    "wrapper whose address goes into memory": (
        "_start: adr x9, w\n adrp x10, p\n ldr x10, [x10, :lo12:p]\n str x9, [x10]"
        + END
        + "\nw: mov x8, x0\n svc #0\n ret\n.data\n.balign 8\np: .quad p",
        "callers are not all known",
    ),
    "sum in a loop": (
        "_start: mov x8, #0\n1: add x8, x8, #1\n cmp x8, x0\n b.ne 1b\n svc #0" + END,
        "depends on itself",
    ),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_are_bounded(name: str, assemble_aarch64: Cross) -> None:
    source, want = BOUNDED[name]
    profile = derive(assemble_aarch64(source), "program")
    assert (profile.arch, profile.unresolved, profile.foreign_abi) == ("aarch64", (), ())
    assert found(profile) == want | {EXIT}


@pytest.mark.parametrize("name", [name for name in BOUNDED if name != "callback in a variable"])
def test_position_independent_and_stripped_are_the_same(name: str, assemble_aarch64: Cross) -> None:
    source, want = BOUNDED[name]
    profile = derive(assemble_aarch64(source, "-static-pie", "-s"), "program")
    assert profile.complete, profile.unresolved
    assert found(profile) == want | {EXIT}


@pytest.mark.parametrize("name", OPEN)
def test_what_is_not_bounded_is_said(name: str, assemble_aarch64: Cross) -> None:
    source, reason = OPEN[name]
    profile = derive(assemble_aarch64(source), "program", assume=())
    assert not profile.complete
    assert any(reason in place.reason for place in profile.unresolved), profile.unresolved


def test_a_truncated_file_is_refused(assemble_aarch64: Cross) -> None:
    data = assemble_aarch64(BOUNDED["immediate"][0])
    for size in range(0, len(data), 97):
        with pytest.raises(BinaryError):
            derive(data[:size], "cut")


def test_damaged_code_ends(assemble_aarch64: Cross) -> None:
    data = assemble_aarch64(BOUNDED["jump table of bytes"][0])
    start = data.index(bytes.fromhex("e00340f9"))  # ldr x0, [sp]
    for place in range(start, start + 64):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            derive(bytes(damaged), "damaged")


def test_what_the_kernel_issues_is_in_by_name(assemble_aarch64: Cross) -> None:
    profile = derive(assemble_aarch64("_start: mov x8, #134\n svc #0" + END), "program")
    assert {rule.name for rule in profile.phases[0].rules} == {
        "rt_sigaction",
        "rt_sigreturn",
        "exit",
        "exit_group",
    }


def test_same_input_same_profile(assemble_aarch64: Cross) -> None:
    data = assemble_aarch64(BOUNDED["jump table of bytes"][0])
    assert derive(data, "program") == derive(data, "program")
