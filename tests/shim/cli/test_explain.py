"""Does `shim explain` say why, where and under which conditions, and tell what is not there?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
static void reached(void) { chroot("/"); }
int main(void) { reached(); madvise(0, 0, MADV_DONTNEED); return getppid() == 1; }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    source = folder / "program.c"
    source.write_text(PROGRAM)
    subprocess.run(["musl-gcc", "-static", "-O0", "-o", folder / "program", source], check=True)
    return folder / "program"


def explain(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [Path(sys.executable).with_name("shim"), "explain", "--no-cache", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_chain_and_places(program: Path) -> None:
    done = explain(program, "chroot")
    assert done.returncode == 0
    chain = done.stdout.split("where,")[0]
    assert chain.index("main") < chain.index("reached") < chain.index("chroot", chain.index("reached"))
    assert f"chroot in {program}" in done.stdout


def test_a_number_is_a_name(program: Path) -> None:
    assert explain(program, "161").stdout == explain(program, "chroot").stdout


def test_conditions_are_spelled(program: Path) -> None:
    assert "only where advice & 0xffffffff = 0x4" in explain(program, "madvise").stdout


def test_what_is_not_in_the_profile(program: Path) -> None:
    done = explain(program, "reboot")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, f"{program}: reboot is not in the profile")


def test_nothing_unresolved(program: Path) -> None:
    done = explain(program, "--unresolved")
    assert (done.returncode, "is bounded" in done.stdout) == (0, True)


def test_unresolved_places_are_listed(tmp_path: Path) -> None:
    source, program = tmp_path / "open.s", tmp_path / "open"
    source.write_text(".globl _start\n_start: mov rax, [rsp]\n syscall\n hlt\n")
    subprocess.run(
        [
            "gcc",
            "-nostdlib",
            "-static",
            "-masm=intel",
            "-Wa,-msyntax=intel,-mnaked-reg",
            "-o",
            program,
            source,
        ],
        check=True,
    )
    done = explain(program, "--unresolved")
    assert done.returncode == 1
    assert f" at 0x401004 in {program}: " in done.stdout


@pytest.mark.parametrize("words", [[], ["read", "--unresolved"], ["no_such_call"]])
def test_usage(program: Path, words: list[str]) -> None:
    done = explain(program, *words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
