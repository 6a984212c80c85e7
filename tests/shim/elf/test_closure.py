"""Which files the loader maps: every rule is held against the machine's own loader where it can be asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shim.elf.closure import Closure, FileSource, MissingObjectsError, RootedFiles, closure
from shim.elf.image import parse_elf
from shim.elf.loaded import STRIDE, base_of
from shim.elf.search import DEFAULT_DIRECTORIES, default_directories
from shim.errors import NotElfError, UnsupportedElfError
from tests.shim.elf.loader_truth import Trace, Workshop, ask_the_loader

LOADER = "/lib64/ld-linux-x86-64.so.2"
LEAF = "int leaf(void) { return 1; }"
MIDDLE = "int leaf(void); int middle(void) { return leaf(); }"
NOTHING = "int main(void) { return 0; }"
MAIN = "int middle(void); int main(void) { return middle(); }"


class FilesOf:
    """A few files over those of the machine: a path that is mapped to None is absent."""

    def __init__(self, files: dict[str, bytes | None]) -> None:
        self.files = files
        self.real = RootedFiles()

    def read(self, path: str) -> bytes | None:
        return self.files[path] if path in self.files else self.real.read(path)

    def canonical(self, path: str) -> str:
        return path if path in self.files else self.real.canonical(path)

    def listing(self, path: str) -> tuple[str, ...]:
        return self.real.listing(path)


def closure_of(program: Path, files: FileSource | None = None, **options: tuple[str, ...]) -> Closure:
    return closure(parse_elf(program.read_bytes(), str(program)), files or RootedFiles(), **options)


def paths(found: Closure) -> tuple[str, ...]:
    return tuple(loaded.path for loaded in found.objects[1:])


def agrees(found: Closure, truth: Trace) -> None:
    """The real loader prints its own file last or where it is needed; order matters for all others."""
    without = [path for path in paths(found) if "ld-linux" not in path]
    assert without == [path for path in truth.paths if "ld-linux" not in path], truth.output
    assert sorted(paths(found)) == sorted(truth.paths)


def test_objects_stand_in_breadth_first_order(workshop: Workshop) -> None:
    for name in "efg":
        workshop.library(f"lib{name}.so", f"int {name};", f"-Wl,-soname,lib{name}.so")
    here = f"-Wl,-rpath,{workshop.folder}"
    workshop.library("libb.so", "", "./libe.so", "./libg.so", "-Wl,-soname,libb.so", here)
    workshop.library("libc2.so", "", "./libf.so", "./libe.so", "-Wl,-soname,libc2.so", here)
    program = workshop.program(
        "main",
        MAIN.replace("middle", "main2") + "int main2(void){return 0;}",
        "./libb.so",
        "./libc2.so",
        here,
    )
    found = closure_of(program)
    agrees(found, ask_the_loader(program))
    names = [Path(path).name for path in paths(found)]
    assert names == [
        "libb.so",
        "libc2.so",
        "libc.so.6",
        "libe.so",
        "libg.so",
        "libf.so",
        "ld-linux-x86-64.so.2",
    ]
    assert found.global_scope == tuple(range(8))
    assert found.interpreter == names.index("ld-linux-x86-64.so.2") + 1
    assert [found.objects[i].soname for i in found.objects[1].needed] == ["libe.so", "libg.so", "libc.so.6"]


def test_every_object_has_its_own_place(workshop: Workshop) -> None:
    found = closure_of(workshop.program("main"))
    assert found.loader == "glibc"
    for loaded in found.objects:
        assert loaded.image.base == base_of(loaded.index)
        assert all(
            loaded.image.base <= s.address and s.end <= loaded.image.base + STRIDE
            for s in loaded.image.segments
        )


def test_a_program_that_is_not_position_independent_stays_where_it_is(workshop: Workshop) -> None:
    found = closure_of(workshop.program("main", NOTHING, "-no-pie"))
    assert found.objects[0].image.base == 0
    assert found.objects[1].image.base == base_of(1)


def test_a_static_program_is_alone(workshop: Workshop) -> None:
    for options in (["-static"], ["-static-pie"]):
        found = closure_of(workshop.program("main", NOTHING, *options))
        assert (len(found.objects), found.interpreter, found.loader) == (1, None, "")


def test_an_interpreter_that_nobody_needs_is_mapped_and_not_searched(workshop: Workshop) -> None:
    program = workshop.program(
        "main", "void _start(void) { for (;;); }", "-nostdlib", "-Wl,-dynamic-linker," + LOADER, "-pie"
    )
    found = closure_of(program)
    assert (paths(found), found.global_scope, found.interpreter) == ((LOADER,), (0,), 1)


def nested(workshop: Workshop, *options: str) -> Path:
    """main in the folder needs lib/libmiddle.so, which needs lib/deep/libleaf.so by its name only."""
    workshop.library("lib/deep/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    workshop.library("lib/libmiddle.so", MIDDLE, "lib/deep/libleaf.so", "-Wl,-soname,libmiddle.so")
    link = ["lib/libmiddle.so", "-Wl,--allow-shlib-undefined"]
    return workshop.program(
        "main", MAIN, *link, *(option.replace("HERE", str(workshop.folder)) for option in options)
    )


PATHS = [
    ("-Wl,-rpath,HERE/lib:HERE/lib/deep,--disable-new-dtags", True),
    ("-Wl,-rpath,HERE/lib:HERE/lib/deep,--enable-new-dtags", False),
    ("-Wl,-rpath,$ORIGIN/lib:${ORIGIN}/lib/deep,--disable-new-dtags", True),
    ("-Wl,-rpath,$ORIGIN/lib/../lib//:$ORIGIN/lib/deep/,--disable-new-dtags", True),
    ("-Wl,-rpath,HERE/lib:$ORIGIN/$NOTHING:HERE/lib/deep,--disable-new-dtags", True),
]


@pytest.mark.parametrize(("option", "complete"), PATHS)
def test_rpath_is_inherited_and_runpath_is_not(workshop: Workshop, option: str, *, complete: bool) -> None:
    program = nested(workshop, option)
    if complete:
        agrees(closure_of(program), ask_the_loader(program))
        return
    assert "libleaf.so => not found" in ask_the_loader(program).output
    with pytest.raises(MissingObjectsError) as caught:
        closure_of(program)
    [error] = caught.value.missing
    assert (error.name, error.needed_by) == ("libleaf.so", f"{workshop.folder}/lib/libmiddle.so")
    assert error.looked_in[0] == "/etc/ld.so.cache"


def test_rpath_is_void_in_an_object_with_runpath(workshop: Workshop) -> None:
    """The middle has a DT_RUNPATH that leads nowhere: the program's DT_RPATH no longer counts for what it needs."""
    workshop.library("lib/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    workshop.library(
        "lib/libmiddle.so",
        MIDDLE,
        "lib/libleaf.so",
        "-Wl,-soname,libmiddle.so",
        "-Wl,-rpath,/nowhere,--enable-new-dtags",
    )
    program = workshop.program(
        "main",
        MAIN,
        "lib/libmiddle.so",
        f"-Wl,-rpath,{workshop.folder}/lib,--disable-new-dtags",
        "-Wl,--allow-shlib-undefined",
    )
    assert "libleaf.so => not found" in ask_the_loader(program).output
    with pytest.raises(MissingObjectsError) as caught:
        closure_of(program)
    assert caught.value.missing[0].looked_in[0] == "/nowhere"


def test_lib_token_is_the_loaders(workshop: Workshop) -> None:
    lib = default_directories(Path(LOADER).read_bytes())[0].lstrip("/") if Path(LOADER).exists() else "lib"
    workshop.library(f"{lib}/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    program = workshop.program(
        "main", MAIN.replace("middle", "leaf"), f"{lib}/libleaf.so", "-Wl,-rpath,$ORIGIN/$LIB"
    )
    agrees(closure_of(program), ask_the_loader(program))


def test_default_directories_are_those_compiled_into_the_loader() -> None:
    if not Path(LOADER).exists():
        pytest.skip(f"{LOADER} is absent")
    said = subprocess.run([LOADER, "--help"], capture_output=True, text=True, check=True).stdout
    listed = tuple(
        line.strip().split(" (")[0] for line in said.splitlines() if "(system search path)" in line
    )
    assert default_directories(Path(LOADER).read_bytes()) == listed
    assert default_directories(b"\x7fELF") == DEFAULT_DIRECTORIES


def test_a_library_of_another_machine_is_passed_over(workshop: Workshop) -> None:
    library = workshop.library("good/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    for folder, place, value in (("class", 4, 1), ("machine", 18, 3)):
        raw = bytearray(library.read_bytes())
        raw[place] = value
        (workshop.folder / folder).mkdir()
        (workshop.folder / folder / "libleaf.so").write_bytes(raw)
    rpath = ":".join(f"{workshop.folder}/{folder}" for folder in ("class", "machine", "good"))
    program = workshop.program(
        "main", MAIN.replace("middle", "leaf"), "good/libleaf.so", f"-Wl,-rpath,{rpath}"
    )
    agrees(closure_of(program), ask_the_loader(program))


def test_a_file_that_is_no_object_ends_the_search(workshop: Workshop) -> None:
    workshop.library("good/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    (workshop.folder / "bad").mkdir()
    (workshop.folder / "bad/libleaf.so").write_text("INPUT(libleaf.so.1)\n" * 10)
    program = workshop.program(
        "main",
        MAIN.replace("middle", "leaf"),
        "good/libleaf.so",
        f"-Wl,-rpath,{workshop.folder}/bad:{workshop.folder}/good",
    )
    assert "invalid ELF header" in ask_the_loader(program).output
    with pytest.raises(NotElfError, match=r"bad/libleaf\.so"):
        closure_of(program)


def test_all_missing_objects_are_named_at_once(workshop: Workshop) -> None:
    for name in ("libone.so", "libtwo.so"):
        workshop.library(name, f"int {name[3:6]};", f"-Wl,-soname,{name}")
    program = workshop.program(
        "main",
        MAIN.replace("middle", "x") + "int x(void){return 0;}",
        "./libone.so",
        "./libtwo.so",
        "-Wl,-rpath,/nowhere",
    )
    with pytest.raises(MissingObjectsError) as caught:
        closure_of(program)
    assert [error.name for error in caught.value.missing] == ["libone.so", "libtwo.so"]
    assert caught.value.missing[0].looked_in[:2] == ("/nowhere", "/etc/ld.so.cache")
    assert str(caught.value).startswith(
        f"{program}: found 2 needed objects missing: libone.so, needed by {program}"
    )


def test_circles_end(workshop: Workshop) -> None:
    here = f"-Wl,-rpath,{workshop.folder}"
    workshop.library("liba.so", "int a;", "-Wl,-soname,liba.so", here)
    workshop.library("libb.so", "int b;", "./liba.so", "-Wl,-soname,libb.so", here)
    workshop.library("liba.so", "int a;", "./libb.so", "-Wl,-soname,liba.so", here)
    program = workshop.program("main", NOTHING, "./liba.so", here)
    agrees(closure_of(program), ask_the_loader(program))


def test_one_file_under_two_names_is_one_object(workshop: Workshop) -> None:
    """Neither name is the DT_SONAME: only the file tells that it is the same."""
    workshop.library("libleaf.so", LEAF)
    (workshop.folder / "liblink.so").symlink_to("libleaf.so")
    here = f"-Wl,-rpath,{workshop.folder}"
    workshop.library("libmiddle.so", MIDDLE, "-L.", "-l:liblink.so", "-Wl,-soname,libmiddle.so", here)
    program = workshop.program("main", MAIN, "-L.", "-l:libleaf.so", "-l:libmiddle.so", here)
    found = closure_of(program)
    agrees(found, ask_the_loader(program))
    assert sum("libleaf" in path or "liblink" in path for path in paths(found)) == 1
    assert {"libleaf.so", "liblink.so"} <= found.objects[1].names


def test_the_soname_of_a_loaded_object_serves_later_requests(workshop: Workshop) -> None:
    """The program names a file by its path; another library asks for the soname, which no directory has."""
    workshop.library("stub/libleaf.so.7", LEAF, "-Wl,-soname,libleaf.so.7")
    workshop.library("real/any-name.so", LEAF, "-Wl,-soname,libleaf.so.7")
    workshop.library("libmiddle.so", MIDDLE, "stub/libleaf.so.7", "-Wl,-soname,libmiddle.so")
    shutil.move(workshop.folder / "real/any-name.so", workshop.folder / "any.so")
    workshop.library("nameless.so", LEAF)
    program = workshop.program(
        "main",
        MAIN,
        f"{workshop.folder}/nameless.so",
        "./libmiddle.so",
        "-Wl,--allow-shlib-undefined",
        f"-Wl,-rpath,{workshop.folder}",
    )
    shutil.copy(workshop.folder / "any.so", workshop.folder / "nameless.so")
    found = closure_of(program)
    agrees(found, ask_the_loader(program))
    assert found.objects[1].path == f"{workshop.folder}/nameless.so"
    assert found.objects[2].needed[0] == 1


def test_preloaded_objects_come_before_what_is_needed(workshop: Workshop) -> None:
    early = workshop.library("early.so", LEAF)
    program = workshop.program("main")
    found = closure_of(program, preload=(str(early),))
    agrees(found, ask_the_loader(program, {"LD_PRELOAD": str(early)}))
    assert found.global_scope[:2] == (0, 1)


def test_the_preload_file_is_read_and_may_name_absent_files(workshop: Workshop) -> None:
    early = workshop.library("early.so", LEAF)
    text = f"# libc stays\n{early} /absent.so:\tlibc.so.6 # last\n".encode()
    found = closure_of(workshop.program("main"), FilesOf({"/etc/ld.so.preload": text}))
    assert [Path(path).name for path in paths(found)] == ["early.so", "libc.so.6", "ld-linux-x86-64.so.2"]
    assert any("/absent.so" in finding for finding in found.findings)


def test_an_absent_preload_is_an_error(workshop: Workshop) -> None:
    with pytest.raises(MissingObjectsError, match=r"/absent\.so"):
        closure_of(workshop.program("main"), preload=("/absent.so",))


def test_modules_come_last_with_a_scope_of_their_own(workshop: Workshop) -> None:
    here = f"-Wl,-rpath,{workshop.folder}"
    workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    module = workshop.library("module.so", MIDDLE, "./libleaf.so", here)
    second = workshop.library("second.so", MIDDLE, "./libleaf.so", here)
    found = closure_of(workshop.program("main"), extra=(str(module), str(second)))
    names = [Path(path).name for path in paths(found)]
    assert names == ["libc.so.6", "ld-linux-x86-64.so.2", "module.so", "libleaf.so", "second.so"]
    assert found.global_scope == (0, 1, 2)
    assert found.local_scopes[3] == found.local_scopes[4] == (3, 4, 1, 2)
    assert found.local_scopes[5] == (5, 4, 1, 2)
    assert found.local_scopes[:3] == ((), (), ())


def test_a_module_that_is_there_already_changes_nothing(workshop: Workshop) -> None:
    program = workshop.program("main")
    assert closure_of(program, extra=("libc.so.6",)) == closure_of(program)


def test_relative_paths_are_refused_or_reported(workshop: Workshop) -> None:
    workshop.library("libleaf.so", LEAF)
    program = workshop.program("main", MAIN.replace("middle", "leaf"), "./libleaf.so")
    with pytest.raises(UnsupportedElfError, match=r"relative path '\./libleaf\.so'"):
        closure_of(program)
    workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    program = workshop.program(
        "main", MAIN.replace("middle", "leaf"), "./libleaf.so", f"-Wl,-rpath,:lib:{workshop.folder}"
    )
    found = closure_of(program)
    assert len(found.findings) == 2
    assert all("working directory" in finding for finding in found.findings)


def test_origin_needs_to_know_where_the_program_is(workshop: Workshop) -> None:
    program = nested(workshop, "-Wl,-rpath,$ORIGIN/lib")
    with pytest.raises(UnsupportedElfError, match="ORIGIN"):
        closure(parse_elf(program.read_bytes(), "main"), RootedFiles())


def test_origin_of_a_linked_program_is_that_of_the_file(workshop: Workshop) -> None:
    program = nested(workshop, "-Wl,-rpath,$ORIGIN/lib:$ORIGIN/lib/deep,--disable-new-dtags")
    link = workshop.folder / "bin" / "main"
    link.parent.mkdir()
    link.symlink_to(program)
    agrees(closure_of(link), ask_the_loader(link))


@pytest.mark.parametrize("tag", ["-f", "-F"])
def test_filters_are_refused(workshop: Workshop, tag: str) -> None:
    workshop.library("libreal.so", LEAF)
    workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so", f"-Wl,{tag},libreal.so")
    program = workshop.program(
        "main", MAIN.replace("middle", "leaf"), "./libleaf.so", f"-Wl,-rpath,{workshop.folder}"
    )
    with pytest.raises(UnsupportedElfError, match=r"DT_FILTER|DT_AUXILIARY"):
        closure_of(program)


def test_auditors_are_refused(workshop: Workshop) -> None:
    with pytest.raises(UnsupportedElfError, match="DT_AUDIT"):
        closure_of(workshop.program("main", NOTHING, "-Wl,--audit,libwatch.so"))


def test_a_program_is_no_library(workshop: Workshop) -> None:
    workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    program = workshop.program(
        "main", MAIN.replace("middle", "leaf"), "./libleaf.so", f"-Wl,-rpath,{workshop.folder}"
    )
    other = workshop.program("other")
    other.replace(workshop.folder / "libleaf.so")
    with pytest.raises(UnsupportedElfError, match="position-independent executable"):
        closure_of(program)
    workshop.program("other", NOTHING, "-no-pie").replace(workshop.folder / "libleaf.so")
    with pytest.raises(UnsupportedElfError, match="ET_EXEC"):
        closure_of(program)


def test_other_loaders_are_refused(workshop: Workshop) -> None:
    program = workshop.program("main", NOTHING, "-Wl,-dynamic-linker,/lib/ld-other.so.1")
    with pytest.raises(MissingObjectsError, match=r"ld-other\.so\.1"):
        closure_of(program)
    library = workshop.library("any.so", LEAF, "-Wl,-soname,ld-other.so.1").read_bytes()
    with pytest.raises(UnsupportedElfError, match="loader"):
        closure_of(program, FilesOf({"/lib/ld-other.so.1": library}))
    relative = workshop.program("main", NOTHING, "-Wl,-dynamic-linker,ld.so")
    with pytest.raises(UnsupportedElfError, match="absolute"):
        closure_of(relative)


def test_libraries_without_an_interpreter_are_refused(workshop: Workshop) -> None:
    program = workshop.program(
        "main", "void _start(void) {}", "-nostdlib", "-no-pie", "-l:libc.so.6", "-Wl,--no-dynamic-linker"
    )
    with pytest.raises(UnsupportedElfError, match="PT_INTERP"):
        closure_of(program)


def rooted(workshop: Workshop, *directories: str) -> Path:
    """A root directory with the machine's loader and libc, a program that needs libleaf.so, and its own cache."""
    root = workshop.folder / "root"
    for path in (LOADER, "/lib/x86_64-linux-gnu/libc.so.6"):
        if not Path(path).exists():
            pytest.skip(f"{path} is absent: the test copies a Debian-like root")
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    for directory in directories:
        (root / directory[1:]).mkdir(parents=True, exist_ok=True)
        workshop.library(f"root{directory}/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    workshop.program("root/main", MAIN.replace("middle", "leaf"), f"root{directories[0]}/libleaf.so")
    return root


def closure_in(root: Path, **options: tuple[str, ...]) -> Closure:
    return closure(parse_elf((root / "main").read_bytes(), "/main"), RootedFiles(str(root)), **options)


def write_cache(root: Path, *directories: str) -> None:
    ldconfig = shutil.which("ldconfig") or shutil.which("/sbin/ldconfig")
    if ldconfig is None:
        pytest.skip("ldconfig is not installed")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/ld.so.conf").write_text("".join(f"{directory}\n" for directory in directories))
    subprocess.run([ldconfig, "-r", str(root)], check=True, capture_output=True)


def test_the_cache_comes_before_the_default_directories(workshop: Workshop) -> None:
    root = rooted(workshop, "/opt/lib", "/usr/lib")
    assert paths(closure_in(root))[0] == "/usr/lib/libleaf.so"
    write_cache(root, "/opt/lib")
    assert paths(closure_in(root))[0] == "/opt/lib/libleaf.so"
    (root / "opt/lib/libleaf.so").unlink()
    assert paths(closure_in(root))[0] == "/usr/lib/libleaf.so"


def test_nodefaultlib_bars_the_default_directories_also_in_the_cache(workshop: Workshop) -> None:
    root = rooted(workshop, "/usr/lib/sub", "/opt/lib")
    link = ["root/opt/lib/libleaf.so", "-nostdlib", "-Wl,-e,main", "-Wl,-z,nodefaultlib"]
    workshop.program("root/main", MAIN.replace("middle", "leaf"), *link)
    write_cache(root, "/usr/lib/sub")
    with pytest.raises(MissingObjectsError) as caught:
        closure_in(root)
    assert caught.value.missing[0].looked_in == ("/etc/ld.so.cache",)
    write_cache(root, "/opt/lib")
    assert paths(closure_in(root))[0] == "/opt/lib/libleaf.so"


@pytest.mark.parametrize("cached", [False, True])
def test_hwcaps_variants_are_findings_or_chosen(workshop: Workshop, *, cached: bool) -> None:
    root = rooted(workshop, "/usr/lib", "/usr/lib/glibc-hwcaps/x86-64-v3", "/usr/lib/glibc-hwcaps/x86-64-v2")
    if cached:
        write_cache(root, "/usr/lib")
    found = closure_in(root)
    assert paths(found)[0] == "/usr/lib/libleaf.so"
    assert sorted(finding.split(":")[0] for finding in found.findings) == [
        "/usr/lib/glibc-hwcaps/x86-64-v2/libleaf.so",
        "/usr/lib/glibc-hwcaps/x86-64-v3/libleaf.so",
    ]
    chosen = closure_in(root, levels=("x86-64-v3", "x86-64-v2"))
    assert paths(chosen)[0] == "/usr/lib/glibc-hwcaps/x86-64-v3/libleaf.so"


def test_a_root_never_answers_with_files_outside(workshop: Workshop) -> None:
    root = rooted(workshop, "/opt/lib")
    outside = workshop.library("outside/libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/libleaf.so").symlink_to(outside)
    with pytest.raises(MissingObjectsError):
        closure_in(root)
    (root / "usr/lib/libleaf.so").unlink()
    (root / "usr/lib/libleaf.so").symlink_to("/opt/lib/libleaf.so")
    assert paths(closure_in(root))[0] == "/usr/lib/libleaf.so"


def musl(workshop: Workshop, *options: str) -> Path:
    workshop.library("lib/libleaf.so", LEAF, "-Wl,-soname,libleaf.so", "-nostdlib")
    return workshop.program(
        "main", MAIN.replace("middle", "leaf"), "lib/libleaf.so", *options, compiler="musl-gcc"
    )


def musl_list(program: Path) -> list[str]:
    said = subprocess.run(
        ["/lib/ld-musl-x86_64.so.1", "--list", str(program)], capture_output=True, text=True, check=False
    )
    return [line.split("=>")[-1].strip().split(" (")[0] for line in said.stdout.splitlines() if "=>" in line]


def test_musl_takes_libc_for_itself(workshop: Workshop) -> None:
    program = musl(workshop, f"-Wl,-rpath,{workshop.folder}/lib")
    found = closure_of(program)
    assert found.loader == "musl"
    assert found.interpreter == 2
    assert list(paths(found))[:1] == musl_list(program)[:1] == [f"{workshop.folder}/lib/libleaf.so"]
    assert paths(found)[1] == "/lib/ld-musl-x86_64.so.1"


def test_musl_takes_every_library_of_its_own_for_itself(workshop: Workshop) -> None:
    """Two more names of musl's libc, for which the machine may have libraries of glibc."""
    for name in ("libpthread.so.0", "libm.so.6"):
        workshop.library(f"stub/{name}", f"int stub_{name[3]};", f"-Wl,-soname,{name}", "-nostdlib")
    stubs = ["stub/libpthread.so.0", "stub/libm.so.6", f"-Wl,-rpath,{workshop.folder}/stub"]
    found = closure_of(workshop.program("main", NOTHING, *stubs, compiler="musl-gcc"))
    assert paths(found) == ("/lib/ld-musl-x86_64.so.1",)
    assert found.objects[0].needed == (1, 1, 1)


def test_musl_does_not_know_an_object_by_its_soname(workshop: Workshop) -> None:
    """One file is found by its path, another by the name that is the DT_SONAME of the first: both are mapped."""
    workshop.library("lib/libleaf.so.7", LEAF, "-Wl,-soname,libleaf.so.7", "-nostdlib")
    middle = ["lib/libleaf.so.7", "-Wl,-soname,libmiddle.so", "-nostdlib"]
    workshop.library("lib/libmiddle.so", MIDDLE, *middle)
    workshop.library("any.so", LEAF, "-nostdlib")
    link = [f"{workshop.folder}/any.so", "lib/libmiddle.so", "-Wl,--allow-shlib-undefined"]
    program = workshop.program("main", MAIN, *link, f"-Wl,-rpath,{workshop.folder}/lib", compiler="musl-gcc")
    shutil.copy(workshop.folder / "lib/libleaf.so.7", workshop.folder / "any.so")
    names = [Path(path).name for path in paths(closure_of(program)) if "ld-musl" not in path]
    assert names == ["any.so", "libmiddle.so", "libleaf.so.7"]
    assert [Path(path).name for path in musl_list(program) if "ld-musl" not in path] == names


def test_musl_search_paths_are_inherited_and_configured(workshop: Workshop) -> None:
    program = musl(workshop)
    with pytest.raises(MissingObjectsError) as caught:
        closure_of(program, FilesOf({"/etc/ld-musl-x86_64.path": None}))
    assert caught.value.missing[0].looked_in == ("/lib", "/usr/local/lib", "/usr/lib")
    there = FilesOf({"/etc/ld-musl-x86_64.path": f"/none\n{workshop.folder}/lib\n".encode()})
    assert paths(closure_of(program, there))[0] == f"{workshop.folder}/lib/libleaf.so"


@pytest.mark.parametrize(
    ("rpath", "is_found"), [("$ORIGIN/lib", True), ("${ORIGIN}/lib", True), ("$LIB:$ORIGIN/lib", False)]
)
def test_musl_knows_origin_and_no_other_token(workshop: Workshop, rpath: str, *, is_found: bool) -> None:
    program = musl(workshop, f"-Wl,-rpath,{rpath}")
    assert bool(musl_list(program)[0].startswith(str(workshop.folder))) == is_found
    if is_found:
        assert paths(closure_of(program))[0] == f"{workshop.folder}/lib/libleaf.so"
    else:
        with pytest.raises(MissingObjectsError):
            closure_of(program)


def test_a_search_without_end_is_given_up(workshop: Workshop) -> None:
    workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    rpath = ":".join(f"/{number}" for number in range(5_000))
    (workshop.folder / "options").write_text(f"-rpath={rpath}")
    program = workshop.program("main", MAIN.replace("middle", "leaf"), "./libleaf.so", "-Wl,@options")
    with pytest.raises(UnsupportedElfError, match="more than 20000 files looked for"):
        closure_of(program)


def test_not_more_missing_objects_are_looked_for_than_worth_naming(workshop: Workshop) -> None:
    names = [f"lib{number}.so" for number in range(70)]
    workshop.library("lib0.so", "", "-nostdlib")
    for name in names[1:]:
        shutil.copy(workshop.folder / "lib0.so", workshop.folder / name)
    program = workshop.program("main", NOTHING, "-L.", *(f"-l:{name}" for name in names))
    with pytest.raises(MissingObjectsError) as caught:
        closure_of(program)
    assert len(caught.value.missing) == 64


REAL = ["/bin/ls", "/usr/sbin/nginx", "/usr/bin/python3", "/usr/bin/ssh", "/usr/bin/perl"]


@pytest.mark.parametrize("path", REAL)
def test_installed_programs_agree_with_the_loader(path: str) -> None:
    program = Path(os.path.realpath(path))
    if not program.exists() or parse_elf(program.read_bytes(), path).interpreter != LOADER:
        pytest.skip(f"{path} is no dynamic program here")
    agrees(closure_of(program), ask_the_loader(program))
