"""Where references bind and what memory holds: asked of the real loader, binding by binding and word by word."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shim.elf.closure import Closure, RootedFiles, closure
from shim.elf.image import LOAD_BASE, parse_elf
from shim.elf.link import Linkage, UnboundError, exported, exported_resolvers, link, loader_references
from shim.elf.loaded import STRIDE
from shim.errors import UnsupportedElfError
from tests.shim.elf.loader_truth import Workshop, ask_the_loader

LOADER = "/lib64/ld-linux-x86-64.so.2"
CORPUS = Path(__file__).resolve().parents[3] / "build" / "corpus" / "bin" / "open"


def closure_of(program: Path, **options: tuple[str, ...]) -> Closure:
    return closure(parse_elf(program.read_bytes(), str(program)), RootedFiles(), **options)


def referrer(address: int) -> int:
    return max(0, (address - LOAD_BASE) // STRIDE)


def names(found: Closure, linked: Linkage) -> frozenset[tuple[str, str, str, str]]:
    """Return (file, defining file, symbol, version) of every binding but those of the loader itself."""
    path = [loaded.path for loaded in found.objects]
    return frozenset(
        (path[referrer(slot)], path[binding.definer], binding.symbol, binding.version)
        for slot, binding in linked.bindings.items()
        if referrer(slot) != found.interpreter
    )


def agree(program: Path, **environment: str) -> tuple[Closure, Linkage]:
    preload = tuple(environment["LD_PRELOAD"].split(":")) if environment else ()
    found = closure_of(program, preload=preload)
    linked = link(found)
    truth = ask_the_loader(program, environment)
    assert truth.bindings, truth.output
    assert names(found, linked) == truth.bindings
    return found, linked


def definer(found: Closure, linked: Linkage, symbol: str, by: str) -> set[str]:
    """Return the file names of the objects to which references of `by` to `symbol` are bound."""
    return {
        Path(found.objects[binding.definer].path).name
        for slot, binding in linked.bindings.items()
        if binding.symbol == symbol and Path(found.objects[referrer(slot)].path).name == by
    }


def here(workshop: Workshop) -> str:
    return f"-Wl,-rpath,{workshop.folder}"


def test_the_first_definition_wins_also_a_weak_one(workshop: Workshop) -> None:
    workshop.library(
        "libweak.so", "__attribute__((weak)) int f(void) { return 1; }", "-Wl,-soname,libweak.so"
    )
    workshop.library(
        "libstrong.so", "int f(void) { return 2; } int g(void) { return f(); }", "-Wl,-soname,libstrong.so"
    )
    program = workshop.program(
        "main",
        "int f(void), g(void); int main(void) { return f() + g(); }",
        "./libweak.so",
        "./libstrong.so",
        here(workshop),
    )
    found, linked = agree(program)
    assert (
        definer(found, linked, "f", "main") == definer(found, linked, "f", "libstrong.so") == {"libweak.so"}
    )


def test_the_program_and_preloaded_objects_interpose(workshop: Workshop) -> None:
    workshop.library(
        "libf.so",
        "int f(void) { return 1; } int g(void) { return f(); } int h(void) { return g(); }",
        "-Wl,-soname,libf.so",
    )
    early = workshop.library("early.so", "int g(void) { return 3; }")
    program = workshop.program(
        "main",
        "int f(void) { return 2; } int h(void); int main(void) { return h(); }",
        "./libf.so",
        here(workshop),
        "-rdynamic",
    )
    found, linked = agree(program, LD_PRELOAD=str(early))
    assert definer(found, linked, "f", "libf.so") == {"main"}
    assert definer(found, linked, "g", "libf.so") == {"early.so"}


def test_symbolic_objects_look_in_themselves_first(workshop: Workshop) -> None:
    source = "int f(void) { return 1; } int g(void) { return f(); } int (*p)(void) = f;"
    workshop.library("libf.so", source, "-Wl,-soname,libf.so", "-Wl,-Bsymbolic")
    plain = workshop.library(
        "libplain.so", source.replace("g(", "k(").replace("*p", "*q"), "-Wl,-soname,libplain.so"
    )
    patched = bytearray(plain.read_bytes())
    replace_tag(patched, 0x6FFFFFF9, 0x10)  # DT_RELACOUNT, a hint, becomes DT_SYMBOLIC
    plain.write_bytes(patched)
    program = workshop.program(
        "main",
        "int f(void) { return 2; } int g(void), k(void); int main(void) { return g() + k(); }",
        "./libf.so",
        "./libplain.so",
        here(workshop),
        "-rdynamic",
    )
    found, linked = agree(program)
    assert definer(found, linked, "f", "libplain.so") == {"libplain.so"}


def replace_tag(raw: bytearray, tag: int, new_tag: int) -> None:
    """Turn one entry of PT_DYNAMIC into another, in place."""
    [start] = struct.unpack_from("<Q", raw, 32)
    [count] = struct.unpack_from("<H", raw, 56)
    for index in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", raw, start + index * 56)
        for entry in range(offset, offset + size, 16) if kind == 2 else ():
            if struct.unpack_from("<Q", raw, entry) == (tag,):
                struct.pack_into("<Q", raw, entry, new_tag)
                return
    pytest.fail(f"no dynamic tag {tag:#x}")


SCRIPT = "V1 { global: f; local: *; }; V2 { global: f; g; } V1;"
VERSIONED = """
__attribute__((symver("f@V1"))) int f1(void) { return 1; }
__attribute__((symver("f@@V2"))) int f2(void) { return 2; }
int g(void) { return 3; }
"""


def versioned(workshop: Workshop, script: str = SCRIPT, source: str = VERSIONED) -> Path:
    (workshop.folder / "script").write_text(script)
    return workshop.library("libv.so", source, "-Wl,-soname,libv.so", "-Wl,--version-script=script")


def test_versions_choose_their_definition(workshop: Workshop) -> None:
    versioned(workshop)
    old = '__asm__(".symver f,f@V1"); int f(void); int user(void) { return f(); }'
    workshop.library("libold.so", old, "./libv.so", "-Wl,-soname,libold.so")
    program = workshop.program(
        "main",
        "int f(void), g(void), user(void); int main(void) { return f() + g() + user(); }",
        "./libold.so",
        "./libv.so",
        here(workshop),
    )
    found, linked = agree(program)
    bound = {(referrer(slot), b.version): b.address for slot, b in linked.bindings.items() if b.symbol == "f"}
    old_object = next(loaded for loaded in found.objects if loaded.path.endswith("libold.so"))
    assert bound[0, "V2"] != bound[old_object.index, "V1"]
    assert exported(next(o for o in found.objects if o.path.endswith("libv.so")))["f"] == bound[0, "V2"]


UNVERSIONED = [
    (SCRIPT, VERSIONED),  # two versions: the oldest is not index 2, the base version decides
    ("V1 { global: f; g; local: *; };", "int f(void) { return 1; } int g(void) { return 2; }"),
    (
        "V1 { global: g; }; V2 { global: f; } V1; V3 { global: h; } V2;",
        "int f(void) { return 1; } int g(void) { return 2; } int h;",
    ),
]


@pytest.mark.parametrize(("script", "source"), UNVERSIONED)
def test_references_without_a_version_take_the_oldest(workshop: Workshop, script: str, source: str) -> None:
    """The program was linked with a library that had no versions yet."""
    workshop.library("libv.so", "int f(void) { return 0; } int g(void) { return 0; }", "-Wl,-soname,libv.so")
    program = workshop.program(
        "main", "int f(void), g(void); int main(void) { return f() + g(); }", "./libv.so", here(workshop)
    )
    versioned(workshop, script, source)
    agree(program)


def test_versioned_references_accept_an_unversioned_library(workshop: Workshop) -> None:
    versioned(workshop)
    program = workshop.program(
        "main", "int f(void), g(void); int main(void) { return f() + g(); }", "./libv.so", here(workshop)
    )
    workshop.library("libv.so", "int f(void) { return 0; } int g(void) { return 0; }", "-Wl,-soname,libv.so")
    agree(program)


def test_a_version_that_moved_to_another_library_is_found_there(workshop: Workshop) -> None:
    versioned(workshop, "V1 { global: f; };", "int f(void) { return 1; }")
    program = workshop.program(
        "main", "int f(void); int main(void) { return f(); }", "./libv.so", here(workshop)
    )
    (workshop.folder / "script").write_text("V1 { global: f; };")
    workshop.library(
        "libmoved.so", "int f(void) { return 2; }", "-Wl,-soname,libmoved.so", "-Wl,--version-script=script"
    )
    (workshop.folder / "script").write_text("V1 { global: other; };")
    workshop.library(
        "libv.so",
        "int other;",
        "./libmoved.so",
        "-Wl,-soname,libv.so",
        "-Wl,--version-script=script",
        here(workshop),
    )
    found, linked = agree(program)
    assert definer(found, linked, "f", "main") == {"libmoved.so"}


def test_a_version_that_a_library_lacks_is_refused_as_by_the_loader(workshop: Workshop) -> None:
    versioned(workshop)
    program = workshop.program(
        "main", "int f(void), g(void); int main(void) { return f() + g(); }", "./libv.so", here(workshop)
    )
    versioned(workshop, "V1 { global: f; g; };", "int f(void) { return 1; } int g(void) { return 2; }")
    assert "version `V2' not found" in ask_the_loader(program).output
    with pytest.raises(UnboundError, match="version V2 not in") as caught:
        link(closure_of(program))
    assert len(caught.value.versions) == 1


def test_hidden_and_protected_symbols(workshop: Workshop) -> None:
    source = """
    __attribute__((visibility("protected"))) int p(void) { return 1; }
    __attribute__((visibility("protected"))) int d = 1;
    __attribute__((visibility("hidden"))) int h(void) { return 1; }
    int (*pointer)(void) = p; int *data = &d; int (*hidden)(void) = h; int g(void) { return p() + h() + d; }
    """
    workshop.library("libp.so", source, "-Wl,-soname,libp.so")
    main = "int p(void) { return 2; } int d = 2; int h(void) { return 2; } int g(void); int main(void) { return g(); }"
    program = workshop.program("main", main, "./libp.so", here(workshop), "-rdynamic")
    _, linked = agree(program)
    assert not any(b.symbol == "h" for b in linked.bindings.values())


def test_a_hidden_symbol_in_the_table_binds_at_home_and_nowhere_else(workshop: Workshop) -> None:
    """No linker leaves one there, but the loader has a rule for it."""
    library = workshop.library(
        "libf.so", "int f(void) { return 1; } int g(void) { return f(); }", "-Wl,-soname,libf.so"
    )
    main = "int f(void) { return 2; } int g(void); int main(void) { return f() + g(); }"
    program = workshop.program("main", main, "./libf.so", here(workshop), "-rdynamic")
    found = closure_of(program)
    table, raw = found.objects[1], bytearray(library.read_bytes())
    start = table.dynamic.tags["DT_SYMTAB"] - table.image.base
    raw[start + 24 * table.symbols.names.index(b"f") + 5] = 2
    library.write_bytes(raw)
    assert not any(symbol == "f" for _, _, symbol, _ in ask_the_loader(program).bindings)
    hidden = closure_of(program)
    assert definer(hidden, link(hidden), "f", "libf.so") == {"libf.so"}
    assert "f" not in exported(hidden.objects[1])
    assert definer(found, link(found), "f", "libf.so") == {"main"}


def test_weak_references_that_nobody_answers_are_zero(workshop: Workshop) -> None:
    source = "__attribute__((weak)) int nobody(void); int (*p)(void) = nobody; int main(void) { return nobody ? 1 : 0; }"
    found, linked = agree(workshop.program("main", source))
    symbols = found.objects[0].symbols
    slots = [slot for slot, value in linked.pointers.items() if value == 0 and referrer(slot) == 0]
    assert b"nobody" in symbols.names
    assert len(slots) >= 2


MISSING = "int nobody(void); int g(void) { return nobody(); }"


def test_functions_that_nobody_defines_fail_when_called_if_bound_lazily(workshop: Workshop) -> None:
    workshop.library("libg.so", MISSING, "-Wl,-soname,libg.so", "-Wl,-z,lazy")
    program = workshop.program(
        "main",
        "int g(void); int main(void) { return 0; }",
        "./libg.so",
        here(workshop),
        "-Wl,--allow-shlib-undefined",
    )
    assert subprocess.run([program], check=False).returncode == 0
    [undefined] = link(closure_of(program)).undefined
    assert (undefined.symbol, undefined.referrer) == ("nobody", 1)


FATAL = [
    (MISSING, "-Wl,-z,now"),
    (MISSING + " int (*p)(void) = nobody;", "-Wl,-z,lazy"),
    ("extern int nobody; int g(void) { return nobody; }", "-Wl,-z,lazy"),
]


@pytest.mark.parametrize(("source", "option"), FATAL)
def test_references_that_stop_the_loader_are_an_error(workshop: Workshop, source: str, option: str) -> None:
    workshop.library("libg.so", source, "-Wl,-soname,libg.so", option)
    program = workshop.program(
        "main",
        "int g(void); int main(void) { return 0; }",
        "./libg.so",
        here(workshop),
        "-Wl,--allow-shlib-undefined",
    )
    assert subprocess.run([program], check=False, capture_output=True).returncode == 127
    with pytest.raises(UnboundError, match="undefined symbol nobody") as caught:
        link(closure_of(program))
    assert {symbol.symbol for symbol in caught.value.symbols} == {"nobody"}


def test_many_missing_symbols_are_one_short_line(workshop: Workshop) -> None:
    calls = " + ".join(f"f{i}()" for i in range(40))
    prototypes = "".join(f"int f{i}(void);" for i in range(40))
    workshop.library(
        "libg.so", f"{prototypes} int g(void) {{ return {calls}; }}", "-Wl,-soname,libg.so", "-Wl,-z,now"
    )
    program = workshop.program(
        "main", "int main(void) { return 0; }", "./libg.so", here(workshop), "-Wl,--allow-shlib-undefined"
    )
    with pytest.raises(UnboundError, match="and 20 more") as caught:
        link(closure_of(program))
    assert len(caught.value.symbols) == 40


def test_copies_carry_their_pointers(workshop: Workshop) -> None:
    library = "int x; struct { int *a; long n; int (*f)(void); } table = { &x, 7, 0 }; int get(void) { return table.n; } void *init = &table;"
    workshop.library(
        "libt.so",
        library.replace("0 }", "get }").replace("int x;", "int x; int get(void);"),
        "-Wl,-soname,libt.so",
    )
    main = "extern struct { int *a; long n; int (*f)(void); } table; int main(void) { return table.f(); }"
    program = workshop.program("main", main, "./libt.so", here(workshop), "-no-pie", "-fno-pic")
    found, linked = agree(program)
    [(destination, source, size)] = linked.copies
    assert (referrer(destination), found.objects[referrer(source)].soname, size) == (0, "libt.so", 24)
    assert linked.pointers[destination] == linked.pointers[source]
    assert linked.pointers[destination + 16] == exported(found.objects[1])["get"]
    assert definer(found, linked, "table", "libt.so") == {"main"}


def test_a_function_of_the_program_stands_in_for_its_address(workshop: Workshop) -> None:
    """Without -fPIC the address of f is a PLT entry of the program, and the library must agree."""
    workshop.library(
        "libf.so", "int f(void) { return 1; } void *p(void) { return f; }", "-Wl,-soname,libf.so"
    )
    main = "int f(void); void *p(void); void *volatile q; int main(void) { q = f; return f() + (p() != q); }"
    program = workshop.program("main", main, "./libf.so", here(workshop), "-no-pie", "-fno-pic")
    found, linked = agree(program)
    assert definer(found, linked, "f", "libf.so") == {"main"}
    assert definer(found, linked, "f", "main") == {"libf.so"}


IFUNC = """
static int one(void) { return 1; }
static int (*choose(void))(void) { return one; }
int f(void) __attribute__((ifunc("choose")));
static int local(void) __attribute__((ifunc("choose")));
int (*table[])(void) = { local };
int g(void) { return f() + local(); }
"""


def test_indirect_functions_have_resolvers(workshop: Workshop) -> None:
    workshop.library("libi.so", IFUNC, "-Wl,-soname,libi.so")
    program = workshop.program(
        "main",
        "int f(void), g(void); int (*p)(void) = f; int main(void) { return p() + f() + g(); }",
        "./libi.so",
        here(workshop),
    )
    found, linked = agree(program)
    resolvers = {value for slot, value in linked.resolvers.items() if referrer(slot) in (0, 1)}
    assert resolvers == {exported_resolvers(found.objects[1])["f"]}
    assert sum(referrer(slot) == 1 for slot in linked.resolvers) >= 2
    assert sum(referrer(slot) == 0 for slot in linked.resolvers) >= 1
    assert "f" not in exported(found.objects[1])
    assert not set(linked.resolvers) & set(linked.pointers)


def test_thread_local_slots_are_named_and_hold_no_pointer(workshop: Workshop) -> None:
    source = (
        "__thread int t = 3; static __thread int s; int *g(void) { return &t; } int *h(void) { return &s; }"
    )
    workshop.library("libt.so", source, "-Wl,-soname,libt.so")
    workshop.library(
        "libd.so",
        source.replace("t =", "u =").replace("&t", "&u").replace("g(", "k(").replace("h(", "l("),
        "-Wl,-soname,libd.so",
        "-mtls-dialect=gnu2",
    )
    main = "extern __thread int t; int *g(void), *k(void); int main(void) { return t + *g() + *k(); }"
    program = workshop.program("main", main, "./libt.so", "./libd.so", here(workshop))
    found, linked = agree(program)
    assert {referrer(slot) for slot in linked.tls} >= {0, 1}
    assert {referrer(slot) for slot in linked.tls_descriptors} == {2}
    assert not (linked.tls | linked.tls_descriptors) & set(linked.pointers)
    assert found.objects[1].soname == "libt.so"
    assert "t" not in exported(found.objects[1])


def test_unique_symbols_are_one_in_the_process(workshop: Workshop) -> None:
    source = "template <class T> struct S { static T v; }; template <class T> T S<T>::v = 1; int NAME() { return S<int>::v++; }"
    for name in ("one", "two"):
        workshop.library(
            f"lib{name}.so",
            source.replace("NAME", name),
            f"-Wl,-soname,lib{name}.so",
            "-Wl,-Bsymbolic",
            compiler="g++",
        )
    program = workshop.program(
        "main",
        "int one(); int two(); int main() { return one() + two(); }",
        "./libone.so",
        "./libtwo.so",
        here(workshop),
        compiler="g++",
    )
    agree(program)


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
def test_both_kinds_of_hash_table(workshop: Workshop, style: str) -> None:
    workshop.library(
        "libf.so",
        "int f(void) { return 1; } int g(void) { return f(); } int v;",
        "-Wl,-soname,libf.so",
        f"-Wl,--hash-style={style}",
    )
    program = workshop.program(
        "main",
        "int f(void), g(void); int main(void) { return f() + g(); }",
        "./libf.so",
        here(workshop),
        f"-Wl,--hash-style={style}",
    )
    found, _ = agree(program)
    assert set(exported(found.objects[1])) >= {"f", "g", "v"}


def test_packed_relative_relocations(workshop: Workshop) -> None:
    source = "static int x; int *a[200] = { [0 ... 199] = &x }; int f(void) { return *a[3]; }"
    workshop.library("libf.so", source, "-Wl,-soname,libf.so", "-Wl,-z,pack-relative-relocs")
    program = workshop.program(
        "main", "int f(void); int main(void) { return f(); }", "./libf.so", here(workshop)
    )
    found, linked = agree(program)
    assert "DT_RELR" in found.objects[1].dynamic.tags
    start = exported(found.objects[1])["a"]
    assert len({linked.pointers[start + 8 * index] for index in range(200)}) == 1


def test_objects_without_section_headers_are_read_alike(workshop: Workshop) -> None:
    library = workshop.library(
        "libf.so", "int f(void) { return 1; } int g(void) { return f(); }", "-Wl,-soname,libf.so"
    )
    program = workshop.program(
        "main", "int f(void), g(void); int main(void) { return f() + g(); }", "./libf.so", here(workshop)
    )
    want = link(closure_of(program))
    for path in (library, program):
        raw = bytearray(path.read_bytes())
        struct.pack_into("<Q", raw, 40, 0)
        struct.pack_into("<HH", raw, 60, 0, 0)
        path.write_bytes(raw)
    assert link(closure_of(program)) == want


def test_modules_bind_in_the_global_scope_and_then_in_their_own(workshop: Workshop) -> None:
    workshop.library(
        "libdep.so", "int dep(void) { return 1; } int shared(void) { return 1; }", "-Wl,-soname,libdep.so"
    )
    source = "int dep(void), shared(void); int own(void) { return 1; } int m(void) { return dep() + shared() + own(); }"
    module = workshop.library("module.so", source, "./libdep.so", here(workshop))
    program = workshop.program(
        "main", "int shared(void) { return 2; } int main(void) { return 0; }", "-rdynamic"
    )
    found = closure_of(program, extra=(str(module),))
    linked = link(found)
    assert definer(found, linked, "dep", "module.so") == {"libdep.so"}
    assert definer(found, linked, "own", "module.so") == {"module.so"}
    assert definer(found, linked, "shared", "module.so") == {"main"}
    plain = link(closure_of(program))
    assert {slot: b for slot, b in linked.bindings.items() if referrer(slot) < 3} == plain.bindings


def test_modules_that_cannot_be_opened_stop_nothing(workshop: Workshop) -> None:
    versioned(workshop)
    lacking = workshop.library(
        "lacking.so", "int f(void); int m(void) { return f(); }", "./libv.so", here(workshop)
    )
    versioned(workshop, "V1 { global: f; g; };", "int f(void) { return 1; } int g(void) { return 2; }")
    eager = workshop.library("eager.so", MISSING, "-Wl,-z,now")
    good = workshop.library("good.so", "int m(void) { return 0; }")
    program = workshop.program("main")
    for module, opens in ((lacking, False), (eager, False), (good, True)):
        command = [sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(module)!r})"]
        assert (subprocess.run(command, check=False, capture_output=True).returncode == 0) == opens
    found = closure_of(program, extra=(str(lacking), str(eager), str(good)))
    refused = {Path(found.objects[index].path).name: why for index, why in link(found).refused.items()}
    assert set(refused) == {"lacking.so", "eager.so"}
    assert refused["eager.so"] == "undefined symbol nobody"
    assert refused["lacking.so"].startswith("version V2 not in")


def test_a_relocation_type_that_no_loader_applies_is_named(workshop: Workshop) -> None:
    workshop.library("libf.so", "int x; int *p = &x;", "-Wl,-soname,libf.so")
    program = workshop.program("main", "int main(void) { return 0; }", "./libf.so", here(workshop))
    library = workshop.folder / "libf.so"
    raw = bytearray(library.read_bytes())
    place = raw.index(struct.pack("<I", 6), offset_of_rela(library))
    struct.pack_into("<I", raw, place, 99)
    library.write_bytes(raw)
    with pytest.raises(UnsupportedElfError, match="type 99") as caught:
        link(closure_of(program))
    assert "libf.so: relocation at 0x" in caught.value.where


def offset_of_rela(path: Path) -> int:
    image = parse_elf(path.read_bytes(), str(path), base=0, shared=True)
    return dict(image.dynamic)["DT_RELA"]


def test_the_loader_looks_up_a_few_names_itself(workshop: Workshop) -> None:
    found = closure_of(workshop.program("main"))
    references = {binding.symbol: binding for binding in loader_references(found)}
    assert {"malloc", "free", "__libc_early_init"} <= set(references)
    assert {found.objects[b.definer].soname for b in references.values()} == {"libc.so.6"}


def test_musl_binds_and_finds_its_own_stages(workshop: Workshop) -> None:
    program = workshop.program(
        "main", '#include <stdio.h>\nint main(void) { return puts("x"); }', compiler="musl-gcc"
    )
    found = closure_of(program)
    linked = link(found)
    assert {b.symbol: b.definer for b in linked.bindings.values()}["puts"] == found.interpreter
    assert {b.symbol for b in loader_references(found)} == {"__dls2b", "__dls3"}


# What a process holds when its loader is done: it stops at its entry point, before a byte of it has run.
STOP = """
__asm__(".globl stop\\nstop: mov $34, %eax\\nsyscall\\njmp stop");
int main(void) { return 0; }
"""


@pytest.fixture
def stopped(workshop: Workshop) -> Iterator[tuple[Path, int]]:
    """Yield a program that stops at its entry, and its process, with every library that the machine may have."""
    libraries = ("libcrypto.so.3", "libstdc++.so.6", "libpcre2-8.so.0", "libsystemd.so.0", "libm.so.6")
    folder = Path("/lib/x86_64-linux-gnu")
    there = [str(folder / name) for name in libraries if (folder / name).exists()]
    program = workshop.program("main", STOP, *there, "-Wl,-e,stop", "-Wl,-z,now")
    process = subprocess.Popen([program], env={"LD_BIND_NOW": "1"})
    try:
        syscall = Path(f"/proc/{process.pid}/syscall")
        deadline = time.monotonic() + 10
        while not syscall.read_text().startswith("34 "):
            if time.monotonic() > deadline:
                pytest.skip("/proc/PID/syscall does not show where the process is")
            time.sleep(0.01)
        yield program, process.pid
    except OSError as error:
        pytest.skip(f"/proc/PID/syscall cannot be read: {error}")
    finally:
        process.kill()
        process.wait()


def bases(found: Closure, pid: int) -> dict[int, int]:
    """Return object index -> how far the process has it from where the closure has it."""
    first: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-\S+ \S+ ([0-9a-f]+) \S+ \S+\s+(/.*)", line)
        if match and int(match[2], 16) == 0:
            first.setdefault(match[3], int(match[1], 16))
    return {
        loaded.index: first[os.path.realpath(loaded.path)] - (loaded.image.segments[0].address & ~0xFFF)
        for loaded in found.objects
    }


def vdso_of(pid: int) -> range:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            return range(*(int(part, 16) for part in line.split(" ")[0].split("-")))
    return range(0)


def test_memory_of_a_real_process_holds_what_is_computed(stopped: tuple[Path, int]) -> None:
    program, pid = stopped
    found = closure_of(program)
    linked = link(found)
    shift, vdso = bases(found, pid), vdso_of(pid)
    final = [loaded.image.relro for loaded in found.objects]
    wrong, checked, changed, idle = [], 0, 0, 0
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for slot, value in linked.pointers.items():
            index = referrer(slot)
            memory.seek(slot + shift[index])
            held = int.from_bytes(memory.read(8), "little")
            want = value + (shift.get(referrer(value), 0) if value >= LOAD_BASE else 0)
            if held == want:
                checked += 1
            elif slot in final[index] and index != found.interpreter:
                wrong.append((found.objects[index].path, hex(slot), hex(held), hex(want)))
            else:
                changed += 1
        for slot, resolver in linked.resolvers.items():
            memory.seek(slot + shift[referrer(slot)])
            held = int.from_bytes(memory.read(8), "little")
            target = held - shift[referrer(resolver)]
            image = found.objects[referrer(resolver)].image
            # glibc has two resolvers that only initialise and return 0, and `time` is that of the vDSO.
            idle += held == 0
            inside = any(s.executable and s.address <= target < s.end for s in image.segments)
            assert inside or held == 0 or held in vdso, hex(slot)
    assert idle <= 2
    assert wrong == []
    assert checked > 1000
    # Writable data that constructors and the loader have changed since.
    assert changed < checked / 50


REAL = ["/bin/ls", "/usr/sbin/nginx", "/usr/bin/python3", "/usr/bin/ssh", "/usr/bin/make"]


@pytest.mark.parametrize(
    "path", [*REAL, *(str(CORPUS / name) for name in ("nginx", "haproxy", "redis-server"))]
)
def test_real_programs_bind_as_the_loader_binds(path: str) -> None:
    program = Path(os.path.realpath(path))
    if not program.exists() or parse_elf(program.read_bytes(), path).interpreter != LOADER:
        pytest.skip(f"{Path(path).name} is no dynamic program here")
    agree(program)
