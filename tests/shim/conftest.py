"""Programs to analyse: assembled from a few lines, or compiled from C, each with the tools that are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]


def run_tool(command: list[str], source: str) -> None:
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False, timeout=60)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}")


def need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where a process may not have mounts of its own, as in many containers."""
    command = [need("unshare"), "--mount", *(["--map-root-user"] if os.geteuid() else []), "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Assemble:
    """Return a function that turns assembly with a `_start` into the bytes of a static program."""
    folder = tmp_path_factory.mktemp("assembled")
    compiler = need("gcc")
    known: dict[tuple[str, tuple[str, ...]], bytes] = {}

    def make(source: str, *options: str) -> bytes:
        key = (source, options)
        if key not in known:
            target = folder / f"program{len(known)}"
            text = ".intel_syntax noprefix\n.globl _start\n.text\n" + source + "\n"
            run_tool(
                [compiler, "-nostdlib", "-static", *options, "-x", "assembler", "-", "-o", str(target)], text
            )
            known[key] = target.read_bytes()
        return known[key]

    return make


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Return a function that compiles C with the named compiler into the bytes of a program."""
    folder = tmp_path_factory.mktemp("compiled")
    known: dict[tuple[str, str, tuple[str, ...]], bytes] = {}

    def make(source: str, *options: str, compiler: str = "gcc") -> bytes:
        key = (source, compiler, options)
        if key not in known:
            target = folder / f"program{len(known)}"
            run_tool([need(compiler), "-O2", *options, "-x", "c", "-", "-o", str(target)], source)
            known[key] = target.read_bytes()
        return known[key]

    return make


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Return the folder of the shared corpus, or skip where it is absent."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(
            "../shared/corpus is absent: real programs and their traced truth are kept beside the project"
        )
    return folder
