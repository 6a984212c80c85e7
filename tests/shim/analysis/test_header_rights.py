"""What program headers decide about the rights to pages, and where they decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.assumptions import DEFAULT, HEADER_RIGHTS
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.profile.exec_gain import gains_exec
from shim.profile.profile import Profile

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

R, RW, RX, RWX = 1, 3, 5, 7
STRICT = ("-Wl,-z,noexecstack",)
# The rights are 3, and 7 if the flags of the stack say that it is executable.
ASKING = """
9: mov edx, [rip+flags]
 and edx, 1
 shl edx, 2
 or edx, 3
 mov eax, 9
 syscall
 mov eax, 60
 syscall
 hlt
.data
flags: .long 7
other: .long 7
"""
KEPT = {
    "where not equal jumps": "cmp dword ptr [rax], 0x6474e551\n jne 9f\n mov ecx, [rax+4]\n mov [rip+flags], ecx",
    "where equal jumps": (
        "cmp dword ptr [rax], 0x6474e551\n je 1f\n jmp 9f\n1: mov ecx, [rax+4]\n mov [rip+flags], ecx"
    ),
    "in a register": "mov ebx, [rax]\n cmp ebx, 0x6474e551\n jne 9f\n mov ecx, [rax+4]\n mov [rip+flags], ecx",
    "behind a loop": (
        "1: cmp dword ptr [rax], 0x6474e551\n jne 2f\n mov r13d, [rax+4]\n2: add rax, 56\n cmp rax, rsp\n jb 1b\n"
        " mov [rip+flags], r13d"
    ),
    "behind a call": (
        "cmp dword ptr [rax], 0x6474e551\n jne 9f\n mov r13d, [rax+4]\n call f\n mov [rip+flags], r13d\n jmp 9f\n"
        "f: xor ecx, ecx\n ret"
    ),
}  # fmt: skip
NOT_KEPT = {
    "another header": KEPT["where not equal jumps"].replace("e551", "e552"),
    "another field": KEPT["where not equal jumps"].replace("[rax+4]", "[rax+8]"),
    "the other way": KEPT["where not equal jumps"].replace("jne", "je"),
    "above": KEPT["where not equal jumps"].replace("jne", "jb"),
    "more bytes": KEPT["where not equal jumps"].replace("ecx", "rcx"),
    "another variable": KEPT["where not equal jumps"].replace("flags", "other"),
    "written again": KEPT["where not equal jumps"].replace("\n mov [rip", "\n mov ecx, [rsp]\n mov [rip"),
    "from elsewhere too": KEPT["behind a loop"].replace("jb 1b", "jb 1b\n test eax, eax\n je 3f\n mov r13d, [rsp]\n3:"),
    "lost in a call": KEPT["behind a call"].replace("r13d", "ecx"),
}  # fmt: skip

THREADS = """
#include <pthread.h>
#include <unistd.h>
static void *start(void *x) { write(1, "thread\\n", 7); return x; }
int main(void) {
    pthread_t thread;
    return pthread_create(&thread, 0, start, 0) || pthread_join(thread, 0);
}
"""
HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
CALLING = HELLO.replace("return 0", "extern int f(void); return f()")
JIT = """
#include <sys/mman.h>
int main(void) {
    return mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}
"""
LATER_CODE = """
#include <sys/mman.h>
int main(void) {
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
"""


def rights(profile: Profile, name: str) -> set[int]:
    """Return the rights that a call may ask for in the first phase; none where anything may be."""
    found = [rule for rule in profile.phases[0].rules if rule.name == name]
    return {condition.value for rule in found for (condition,) in rule.conditions}


def profile_of(data: bytes, **options: object) -> Profile:
    return derive(data, "program", files=RootedFiles("/"), **options)  # type: ignore[arg-type]


def names(profile: Profile) -> set[str]:
    return {line.split(":")[0] for line in profile.assumptions}


@pytest.mark.parametrize("case", KEPT)
def test_the_flags_of_the_stack_are_those_of_the_header(assemble: Assemble, case: str) -> None:
    program = assemble("_start: mov rax, [rsp+16]\n" + KEPT[case] + ASKING, *STRICT)
    profile = profile_of(program)
    assert rights(profile, "mmap") == {RW}
    assert HEADER_RIGHTS.name in names(profile)


@pytest.mark.parametrize("case", NOT_KEPT)
def test_what_only_looks_like_the_flags_of_the_stack(assemble: Assemble, case: str) -> None:
    program = assemble("_start: mov rax, [rsp+16]\n" + NOT_KEPT[case] + ASKING, *STRICT)
    assert RWX in rights(profile_of(program), "mmap")


def test_what_stands_behind_the_flags_of_the_stack_is_something_else(assemble: Assemble) -> None:
    asking = ASKING.replace("mov edx, [rip+flags]", "mov rdx, [rip+flags]\n shr rdx, 32")
    assert asking != ASKING
    program = assemble("_start: mov rax, [rsp+16]\n" + KEPT["where not equal jumps"] + asking, *STRICT)
    assert rights(profile_of(program), "mmap") != {RW}


def test_a_stack_that_is_to_be_executable(assemble: Assemble) -> None:
    program = assemble(
        "_start: mov rax, [rsp+16]\n" + KEPT["where not equal jumps"] + ASKING, "-Wl,-z,execstack"
    )
    profile = profile_of(program)
    assert RWX in rights(profile, "mmap")
    assert HEADER_RIGHTS.name not in names(profile)


@pytest.mark.parametrize("options", [(), ("-static",), ("-static-pie",)])
def test_threads_of_real_programs(compile_c: Compile, options: tuple[str, ...]) -> None:
    program = compile_c(THREADS, *options)
    profile = profile_of(program)
    assert rights(profile, "mmap") == {0, R, RW} | (set() if options else {RX})
    assert rights(profile, "mprotect") == {0, R, RW}
    assert not gains_exec(profile.phases[0].rules)
    assert gains_exec(profile_of(program, assume=DEFAULT - {HEADER_RIGHTS}).phases[0].rules)


@pytest.mark.parametrize("options", [(), ("-static",)])
def test_threads_with_an_executable_stack(compile_c: Compile, options: tuple[str, ...]) -> None:
    profile = profile_of(compile_c(THREADS, *options, "-Wl,-z,execstack"))
    assert gains_exec(profile.phases[0].rules)


def test_a_library_with_an_executable_stack(compile_c: Compile, tmp_path: Path) -> None:
    library = tmp_path / "libfault.so"
    library.write_bytes(compile_c("int f(void) { return 0; }", "-shared", "-fPIC", "-Wl,-z,execstack"))
    program = compile_c(CALLING, "-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{tmp_path}")
    assert gains_exec(profile_of(program).phases[0].rules)
    whole = compile_c("int f(void) { return 0; }", "-shared", "-fPIC")
    library.write_bytes(whole)
    assert not gains_exec(profile_of(program).phases[0].rules)


def test_relocations_in_the_text(compile_c: Compile, tmp_path: Path) -> None:
    library = tmp_path / "libtext.so"
    absolute = 'extern int y; __asm__(".globl f\\nf: movabs $g, %rax\\n ret\\n"); int g(void) { return 1; }'
    library.write_bytes(compile_c(absolute, "-shared", "-Wl,-z,notext", "-Wl,-z,noexecstack"))
    assert parse_elf(library.read_bytes(), "l", shared=True).relocates_text
    program = compile_c(CALLING, "-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{tmp_path}")
    assert not rights(profile_of(program), "mprotect")
    assert gains_exec(profile_of(program).phases[0].rules)


@pytest.mark.parametrize("source", [JIT, LATER_CODE], ids=["at once", "later"])
@pytest.mark.parametrize("options", [(), ("-static",)])
def test_a_program_that_makes_code_itself(compile_c: Compile, source: str, options: tuple[str, ...]) -> None:
    assert gains_exec(profile_of(compile_c(source, *options)).phases[0].rules)


def test_a_loader_that_maps_for_others_too(compile_c: Compile) -> None:
    """Of musl, the loader is the C library: what it passes on is anybody's."""
    profile = profile_of(compile_c(JIT, compiler="musl-gcc"))
    assert gains_exec(profile.phases[0].rules)
    assert not rights(profile_of(compile_c(HELLO, compiler="musl-gcc")), "mmap")
