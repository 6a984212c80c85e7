"""Which files a program uses, as its code shows: objects with their origin, paths, functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from shim.analysis.derive import derivation
from shim.analysis.footprint import footprint
from shim.elf.files import RootedFiles
from shim.errors import ProfileError
from shim.profile.footprint import Footprint, Mapped, dumps, loads

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

NAMES_PATH = """
_start: {reference}
 mov eax, 60
 syscall
 hlt
.section .rodata
first: .asciz "/etc/first"
.byte 1
second: .asciz "/etc/second"
packed: .ascii "/etc/ssl/certs/ca-certificates.crtand more without an end"
.data
.balign 8
table: .quad second
"""


def found_in(data: bytes, path: str = "/program", modules: tuple[str, ...] = ()) -> Footprint:
    derived = derivation(data, path, files=RootedFiles("/"), modules=modules)
    return footprint(derived.program, derived.remaining)


def paths(found: Footprint) -> set[str]:
    return {named.path for named in found.paths}


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("lea rdi, [rip+first]", {"/etc/first"}),
        ("mov rdi, [rip+table]", {"/etc/second"}),
        ("lea rsi, [rip+packed]", {"/etc/ssl/certs/ca-certificates.crt"}),
        ("nop", set()),
        ("jmp 1f\n lea rdi, [rip+first]\n 1:", set()),
        ("lea rdi, [rip+first+1]", set()),
    ],
    ids=["by code", "by data", "without an end", "nobody", "code that never runs", "the middle of it"],
)
def test_a_path_counts_where_live_code_names_it(assemble: Assemble, reference: str, named: set[str]) -> None:
    assert paths(found_in(assemble(NAMES_PATH.format(reference=reference)))) == named


def test_a_function_that_is_not_called_counts_for_nothing(compile_c: Compile) -> None:
    source = """
    #include <stdio.h>
    #include <pwd.h>
    int unused(void) { return getpwnam("x") != 0; }
    int main(int argc, char **argv) { return fopen("/etc/used", "r") == 0; }
    """
    found = found_in(compile_c(source))
    assert "/etc/used" in paths(found)
    names = {live.name for live in found.functions}
    assert "fopen" in names
    assert "getpwnam" not in names


def test_who_calls_a_function_of_another_object(compile_c: Compile) -> None:
    source = '#include <pwd.h>\nint main(void) { return getpwnam("x") != 0; }\n'
    found = found_in(compile_c(source), "/usr/bin/caller")
    [called] = [live for live in found.functions if live.name == "getpwnam"]
    assert called.by[0] == "/usr/bin/caller"
    assert called.object.endswith("/libc.so.6")


def test_each_object_has_an_origin(compile_c: Compile, tmp_path: Path) -> None:
    library = tmp_path / "libown.so"
    library.write_bytes(compile_c("int own(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libown.so"))
    program = compile_c(
        "int own(void); int main(void) { return own(); }",
        "-Wl,--no-as-needed",
        str(library),
        f"-Wl,-rpath,{tmp_path}",
    )
    origins = {one.object: one for one in found_in(program).origins}
    assert origins["/program"].mapped is Mapped.PROGRAM
    needed = origins[str(library)]
    assert (needed.mapped, needed.by, needed.name) == (Mapped.NEEDED, "/program", "libown.so")
    [interpreter] = [one for one in origins.values() if one.mapped is Mapped.INTERPRETER]
    assert interpreter.by == "/program"


@pytest.mark.parametrize("opens", [True, False], ids=["opened", "only in its data"])
def test_a_library_is_opened_by_the_code_that_names_it(
    compile_c: Compile, tmp_path: Path, *, opens: bool
) -> None:
    plugin = tmp_path / "plugin.so"
    plugin.write_bytes(compile_c("int entry(void) { return 1; }", "-shared", "-fPIC"))
    name = f'"{plugin}"' if opens else "argv[1]"
    source = f"""
    #include <dlfcn.h>
    const char *const never = "{plugin}";
    int main(int argc, char **argv) {{ return dlopen({name}, RTLD_NOW) == 0; }}
    """
    found = found_in(compile_c(source))
    origins = {one.object: one for one in found.origins}
    assert (str(plugin) in origins) is opens
    if opens:
        assert origins[str(plugin)].mapped is Mapped.OPENED
        assert (origins[str(plugin)].by, origins[str(plugin)].name) == ("/program", str(plugin))


def test_a_declared_module_says_so(compile_c: Compile, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.so"
    plugin.write_bytes(compile_c("int entry(void) { return 1; }", "-shared", "-fPIC"))
    program = compile_c("int main(void) { return 0; }")
    origins = {one.object: one for one in found_in(program, modules=(str(plugin),)).origins}
    assert origins[str(plugin)].mapped is Mapped.DECLARED


def test_what_an_idle_module_brings_too_is_still_mapped(compile_c: Compile, tmp_path: Path) -> None:
    shared = tmp_path / "libshared.so"
    shared.write_bytes(
        compile_c("int shared(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libshared.so")
    )
    for name in ("a-idle.so", "b-opened.so"):
        link = (
            "-shared",
            "-fPIC",
            "-Wl,--no-as-needed",
            str(shared),
            f"-Wl,-rpath,{tmp_path}",
            f"-Wl,-soname,{name}",
        )
        (tmp_path / name).write_bytes(compile_c("int entry(void) { return 1; }", *link))
    source = f"""
    #include <dlfcn.h>
    const char *const never = "{tmp_path}/a-idle.so";
    int main(void) {{ return dlopen("{tmp_path}/b-opened.so", RTLD_NOW) == 0; }}
    """
    data = compile_c(source)
    derived = derivation(data, "/program", files=RootedFiles("/"))
    found = footprint(derived.program, derived.remaining)
    assert f"{tmp_path}/a-idle.so" in found.idle
    assert str(shared) not in found.idle
    assert [one.path for one in derived.profile.objects] == [one.object for one in found.origins]
    [origin] = [one for one in found.origins if one.object == str(shared)]
    assert (origin.mapped, origin.by) == (Mapped.NEEDED, f"{tmp_path}/b-opened.so")


def test_reading_gives_back_what_was_written(compile_c: Compile) -> None:
    found = found_in(compile_c("int main(void) { return 0; }"))
    assert loads(dumps(found), "it") == found


@given(
    st.binary(max_size=80)
    | st.sampled_from([b"[]", b"{}", b'{"origins": [[1]]}', b'{"origins": [["a","b","c","d"]]}'])
)
def test_anything_else_is_no_footprint(data: bytes) -> None:
    with pytest.raises(ProfileError):
        loads(data, "it")
