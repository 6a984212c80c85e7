"""AArch64 programs: assembled or compiled by cross tools, and run under qemu-user for the truth about them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
Cross = Callable[..., bytes]
Strace = Callable[..., set[str]]

_CALL = re.compile(r"(?:^|\s)\d+ ([a-z_0-9]+)\(", re.MULTILINE)


def cross_tool(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(
            f"{tool} is not installed (apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"
        )
    return path


def built(command: list[str], source: str, target: Path) -> bytes:
    done = subprocess.run(
        [*command, "-o", str(target)], input=source, text=True, capture_output=True, check=False, timeout=60
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}")
    return target.read_bytes()


@pytest.fixture(scope="session")
def assemble_aarch64(tmp_path_factory: pytest.TempPathFactory) -> Cross:
    """Return a function that turns assembly with a `_start` into the bytes of a static program."""
    folder = tmp_path_factory.mktemp("aarch64-assembled")
    known: dict[tuple[str, tuple[str, ...]], bytes] = {}

    def make(source: str, *options: str) -> bytes:
        key = (source, options)
        if key not in known:
            command = [cross_tool(COMPILER), "-nostdlib", "-static", *options, "-march=armv8.5-a"]
            text = ".arch_extension pauth\n.globl _start\n.text\n" + source + "\n"
            known[key] = built([*command, "-x", "assembler", "-"], text, folder / f"program{len(known)}")
        return known[key]

    return make


@pytest.fixture(scope="session")
def compile_aarch64(tmp_path_factory: pytest.TempPathFactory) -> Cross:
    """Return a function that compiles C into the bytes of a program."""
    folder = tmp_path_factory.mktemp("aarch64-compiled")
    known: dict[tuple[str, tuple[str, ...]], bytes] = {}

    def make(source: str, *options: str) -> bytes:
        key = (source, options)
        if key not in known:
            command = [cross_tool(COMPILER), "-O2", "-w", *options, "-x", "c", "-"]
            known[key] = built(command, source, folder / f"program{len(known)}")
        return known[key]

    return make


@pytest.fixture
def strace_aarch64(tmp_path: Path) -> Strace:
    """Return a function that runs a program and returns the names of the calls it made."""

    def run(data: bytes, *arguments: str) -> set[str]:
        program, log = tmp_path / "traced", tmp_path / "strace"
        program.write_bytes(data)
        program.chmod(0o755)
        subprocess.run(
            # Standard error is not buffered: there the lines of two processes run into one another.
            [cross_tool(EMULATOR), "-strace", "-D", str(log), str(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return set(_CALL.findall(log.read_text("latin-1")))

    return run
