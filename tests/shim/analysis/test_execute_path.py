"""Which functions can run, by name: small programs whose answer is known."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from shim.analysis.execute_path import execute_path
from shim.elf.files import RootedFiles
from shim.elf.gocopies import go_copied
from shim.elf.image import parse_elf
from shim.errors import NotElfError
from shim.profile.execute_path import ExecutePath, ObjectFunctions

SOURCE = """
#include <stdlib.h>
__attribute__((noinline)) int unused(int x) { return system("x") + x; }
__attribute__((noinline)) static int used(int x) { return x + (getenv("X") != 0); }
__attribute__((noinline)) int by_pointer(int x) { return x * 3; }
int (*volatile pointer)(int) = by_pointer;
int main(int count, char **words) { (void)words; return used(count) + pointer(count); }
"""
GO_SOURCE = """package main

import "os"

//go:noinline
func kept(x int) int { return x * 3 }

func copied(x int) int { return x + 1 }

func both(x int) int { println("both"); return x }

var pointer = both

func dropped(x int) int { println("never"); return x }

func main() { os.Exit(kept(copied(both(pointer(len(os.Args)))))) }
"""

pytestmark = pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="no musl-gcc here")


def compiled(folder: Path, *command: str) -> Path:
    (folder / "p.c").write_text(SOURCE)
    subprocess.run([*command, "-o", "p", "p.c"], cwd=folder, check=True, capture_output=True)
    return folder / "p"


def path_of(program: Path) -> ExecutePath:
    return execute_path(program.read_bytes(), str(program), files=RootedFiles("/"))


def first(program: Path) -> ObjectFunctions:
    found = path_of(program)
    assert found.incomplete == ()
    return found.objects[0]


def test_what_nothing_calls_cannot_run(tmp_path: Path) -> None:
    found = first(compiled(tmp_path, "musl-gcc", "-O1", "-static"))
    assert {"main", "used", "by_pointer"} <= found.live
    assert {"unused", "system"} <= found.names - found.live
    assert (found.any_live, found.copied, found.nameless) == (True, None, False)


def test_a_library_function_that_only_dead_code_calls(tmp_path: Path) -> None:
    program, *libraries = path_of(compiled(tmp_path, "gcc", "-O1")).objects
    assert "used" in program.live
    assert "unused" in program.names - program.live
    libc = next(one for one in libraries if "libc.so" in one.path)
    assert "getenv" in libc.live
    assert "system" in libc.names - libc.live
    assert libc.nameless


def test_a_stripped_program_may_leave_names_out(tmp_path: Path) -> None:
    program = compiled(tmp_path, "musl-gcc", "-O1", "-static")
    assert not first(program).nameless
    subprocess.run(["strip", "--discard-all", str(program)], check=True)
    assert "main" in first(program).names  # global names are still there
    assert first(program).nameless


def test_without_unwind_tables_only_local_names_show_that_none_is_left_out(tmp_path: Path) -> None:
    plain = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
    program = compiled(tmp_path, "musl-gcc", "-O1", "-static", *plain)
    assert not first(program).nameless
    subprocess.run(["strip", "--discard-all", str(program)], check=True)
    assert first(program).nameless


def test_a_number_that_is_not_known_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(
        'int main(int count) { __asm__ volatile("syscall" :: "a"(count)); return 0; }\n'
    )
    subprocess.run(["musl-gcc", "-static", "-o", "p", "p.c"], cwd=tmp_path, check=True)
    (reason,) = path_of(tmp_path / "p").incomplete
    assert str(tmp_path / "p") in reason


def test_what_is_no_program() -> None:
    with pytest.raises(NotElfError):
        execute_path(b"#!/bin/sh\n", "x")


@pytest.fixture(scope="module")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go here")
    folder = tmp_path_factory.mktemp("go")
    (folder / "p.go").write_text(GO_SOURCE)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GO111MODULE": "off", "CGO_ENABLED": "0"}
    subprocess.run([go, "build", "-o", "p", "p.go"], cwd=folder, env=environment, check=True)
    return folder / "p"


def test_go_says_what_was_copied(go_program: Path) -> None:
    copied = go_copied(parse_elf(go_program.read_bytes(), "p"))
    assert copied is not None
    assert {"main.copied", "main.both"} <= copied
    assert "main.kept" not in copied
    assert "main.dropped" not in copied


def test_functions_of_a_go_program(go_program: Path) -> None:
    found = first(go_program)
    assert {"main.main", "main.kept", "main.both"} <= found.live
    assert not any(name.startswith(("main.copied", "main.dropped")) for name in found.names)
    assert not found.nameless


def test_other_programs_do_not_say_what_was_copied(tmp_path: Path) -> None:
    assert go_copied(parse_elf(compiled(tmp_path, "gcc").read_bytes(), "p")) is None
