"""Which functions may go from a file: whole ones that nothing reaches or points into, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.program import Program, load_program
from shim.analysis.unreachable import unreachable
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.elf.process import load_process

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

# Functions are 32 bytes of no-operations each, so that none is taken for padding between others.
BODY = ".cfi_startproc\n .rept 8\n inc eax\n dec eax\n .endr\n {more}\n ret\n .cfi_endproc\n"
START = "_start: .cfi_startproc\n {code}\n mov eax, 60\n syscall\n hlt\n .cfi_endproc\n"
FRAMED = START + ".type idle, @function\n.balign 16\nidle: " + BODY.format(more="{more}") + "{data}\n"
# The lines of one that is stripped would not tell where a function ends: what counts is .eh_frame.
OPTIONS = ("-Wl,--eh-frame-hdr",)


def analysed(data: bytes) -> Program:
    return load_program(load_process(parse_elf(data, "/program"), RootedFiles("/"), ()))


def taken(data: bytes, name: str) -> int:
    """How many bytes of the function called `name` may go."""
    program = analysed(data)
    [symbol] = [one for one in program.functions.symbols if one.name == name]
    segment = next(one for one in program.image.segments if one.address <= symbol.address < one.end)
    start = symbol.address - segment.address + segment.offset
    extent = program.functions.extent(symbol.address)
    extent = range(extent.start, min(extent.stop, segment.end))  # of one that nobody knows, all behind it
    places = {
        offset
        for one in unreachable(program)
        if one.object == "/program"
        for at, size in one.places
        for offset in range(at, at + size)
    }
    return len(places & set(range(start, start + len(extent))))


@pytest.mark.parametrize(
    ("code", "more", "data", "goes"),
    [
        ("nop", "", "", True),
        ("call idle", "", "", False),
        ("jmp idle", "", "", False),
        ("lea rax, [rip+idle]\n call rax", "", "", False),
        ("lea rax, [rip+idle]", "", "", False),
        ("mov rax, offset idle", "", "", False),
        ("mov rax, [rip+slot]\n call rax", "", ".data\nslot: .quad idle", False),
        ("lea rax, [rip+slot]", "", ".data\n.balign 8\nslot: .quad 0, idle", False),
        ("nop", "", ".data\nslot: .quad idle", True),
        ("nop", "", '.section .init_array,"aw"\n.quad idle', False),
        ("lea rax, [rip+inside]", "inside: .byte 1, 2, 3, 4", "", False),
        ("mov eax, [rip+inside]", "inside: .byte 1, 2, 3, 4", "", False),
        ("mov rsi, [rip+slot]", "inside: .byte 1, 2, 3, 4", ".data\nslot: .quad inside", False),
        ("test eax, eax\n jz inside", "inside: nop", "", False),
        ("jmp [rip+slot]", "inside: nop", ".section .rodata\nslot: .quad inside", False),
    ],
    ids=[
        "nobody", "a call", "a jump", "an address that is called", "an address alone", "an absolute address",
        "a pointer that is read", "a table that is named", "a pointer that nobody reads", "an initialiser",
        "data in it", "data in it that is read", "a pointer to data in it", "a branch into it",
        "a constant jump into it",
    ],
)  # fmt: skip
def test_only_what_nobody_refers_to_goes(
    assemble: Assemble, code: str, more: str, data: str, goes: object
) -> None:
    source = FRAMED.format(code=code, more=more, data=data)
    found = taken(assemble(source, *OPTIONS, "-no-pie"), "idle")
    assert (found > 0) == goes, found
    assert found == 0 or found > 32


def test_a_function_without_an_extent_stays(assemble: Assemble) -> None:
    source = FRAMED.format(code="nop", more="", data="").replace("idle: .cfi_startproc", "idle:")
    source = source.replace("ret\n .cfi_endproc", "ret\n")
    assert taken(assemble(source, *OPTIONS), "idle") == 0


def test_padding_goes_and_other_bytes_between_do_not(assemble: Assemble) -> None:
    two = BODY.format(more="") + "{between}\nother: " + BODY.format(more="")
    sizes = {}
    for name, between in (("padding", ".balign 64"), ("data", ".byte 1, 2, 3, 4, 5, 6\n .balign 64")):
        source = START.format(code="nop") + ".balign 64\nidle: " + two.format(between=between)
        [found] = unreachable(analysed(assemble(source, *OPTIONS)))
        sizes[name] = [size for _, size in found.places]
    assert len(sizes["padding"]) == 1
    assert len(sizes["data"]) == 2
    assert sizes["padding"][0] > 64 > sizes["data"][0]


def test_nothing_goes_where_a_jump_could_not_be_followed(assemble: Assemble) -> None:
    program = analysed(assemble(FRAMED.format(code="nop", more="", data=""), *OPTIONS))
    program.reach.unresolved.append((program.image.entry, "a jump that leads anywhere"))
    assert unreachable(program) == ()


def test_code_that_the_loader_changes_stays(compile_c: Compile) -> None:
    source = """
    __asm__(".text\\n.globl table\\ntable: .quad puts\\n");
    __attribute__((noinline, used)) int idle(int c) { return c * c * c * c / 7 + c; }
    int main(void) { return 0; }
    """
    changed = compile_c(source, "-Wl,-z,notext", "-pie")
    assert "DT_TEXTREL" in dict(parse_elf(changed, "/program").dynamic)
    assert taken(changed, "idle") == 0
    assert taken(compile_c(source.replace(".quad puts", "nop"), "-pie"), "idle") > 0


def test_the_loader_is_kept_whole(compile_c: Compile) -> None:
    """It calls what the C library has as well by its own copies, until it has bound its own calls again."""
    program = analysed(compile_c("int main(void) { return 0; }"))
    loader = program.process.interpreter
    assert loader is not None
    found = {one.object for one in unreachable(program)}
    assert "/program" in found
    assert loader.path not in found


C = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int __attribute__((noinline)) by_pointer(const void *a, const void *b)
{ return *(const int *)a - *(const int *)b; }
static int __attribute__((noinline)) chosen(int n)
{ switch (n) { case 0: return puts("a"); case 1: return putchar(3); case 2: return getchar();
  case 3: return rand(); case 4: return abort(), 0; case 5: return system("x"); default: return n; } }
__attribute__((noinline, used)) int idle(int n) { return printf("%d %s\\n", n, getenv("X")); }
int main(int n, char **v) { int a[] = {2, 1}; qsort(a, 2, 4, by_pointer); return chosen(n) + a[0]; }
"""


@pytest.mark.parametrize(
    "options", [("-static",), (), ("-static-pie",)], ids=["static", "dynamic", "static-pie"]
)
def test_what_a_compiler_made(compile_c: Compile, options: tuple[str, ...]) -> None:
    data = compile_c(C, *options)
    assert taken(data, "idle") > 0
    for name in ("main", "by_pointer", "chosen"):
        assert taken(data, name) == 0


LOOKUPS = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#define EXPORTED __attribute__((noinline, used, visibility("default")))
EXPORTED int by_constant(int n) {{ return n * n * n / 5; }}
EXPORTED int by_computed(int n) {{ return n * n * n / 7; }}
EXPORTED int by_nothing(int n) {{ return n * n * n / 9; }}
static const char *const names[] = {{"by_constant"}};
int main(int n, char **v) {{ {code} return 0; }}
"""


@pytest.mark.parametrize(
    ("code", "stay"),
    [
        ("", set()),
        ('dlsym(0, "by_constant");', {"by_constant"}),
        ("puts(names[n]);", {"by_constant"}),
        ("dlsym(0, v[1]);", {"by_constant", "by_computed", "by_nothing"}),
    ],
    ids=["no name", "a name that is looked up", "a name alone", "names that are computed"],
)
def test_what_can_be_found_by_its_name_stays(compile_c: Compile, code: str, stay: set[str]) -> None:
    data = compile_c(LOOKUPS.format(code=code), "-rdynamic", "-ldl")
    for name in ("by_constant", "by_computed", "by_nothing"):
        assert (taken(data, name) == 0) == (name in stay), name


def test_what_the_c_library_looks_up_when_a_thread_ends_stays(compile_c: Compile) -> None:
    source = "#include <pthread.h>\nvoid *run(void *a) { pthread_exit(a); }\nint main(void) { pthread_t t; return pthread_create(&t, 0, run, 0); }\n"
    # The linker maps it from the start: then nothing opens it, and no export of it is a root.
    data = compile_c(source, "-pthread", "-Wl,--no-as-needed", "-lgcc_s")
    program = analysed(data)
    [unwinder] = [one for one in program.process.images if "libgcc_s" in one.path]
    [symbol] = [
        one
        for one in program.functions.symbols
        if one.name == "_Unwind_ForcedUnwind" and program.memory.image(one.address) is unwinder
    ]
    [found] = [one for one in unreachable(program) if one.object == unwinder.path]
    segment = next(one for one in unwinder.segments if one.address <= symbol.address < one.end)
    offset = symbol.address - segment.address + segment.offset
    assert found.places
    assert not any(at <= offset < at + size for at, size in found.places)


@pytest.mark.parametrize("program", ["/usr/bin/curl", "/bin/ls"])
def test_no_reached_instruction_goes(program: str) -> None:
    """Looked at the slow way: every run of every function, against every place."""
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed")
    analysis = load_program(
        load_process(parse_elf(Path(program).read_bytes(), program), RootedFiles("/"), ())
    )
    gone: dict[str, bytearray] = {}
    found = unreachable(analysis)
    for one in found:
        marks = gone[one.object] = bytearray(len(Path(one.object).read_bytes()))
        for offset, size in one.places:
            assert not any(marks[offset : offset + size])
            marks[offset : offset + size] = bytes([1]) * size
    assert sum(map(sum, gone.values())) > 100_000
    for function in analysis.reach.functions.values():
        for run in function.runs:
            image = analysis.memory.image(run.start)
            segment = analysis.memory.segment(run.start)
            assert image is not None
            assert segment is not None
            at = run.start - segment.address + segment.offset
            assert not any(gone.get(image.path, b"")[at : at + run.end - run.start]), hex(run.start)
