"""Programs and libraries built for one test, and what the machine's own loader makes of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
BINDING = re.compile(
    r"binding file (\S+) \[0\] to (\S+) \[0\]: (?:normal|protected) symbol `([^']*)'(?: \[([^\]]*)\])?"
)
QUESTION = {"LD_TRACE_LOADED_OBJECTS": "1", "LD_WARN": "yes", "LD_BIND_NOW": "1", "LD_DEBUG": "bindings"}
NOTHING = "int main(void) { return 0; }"


@dataclass(frozen=True)
class Workshop:
    """A folder in which shared objects and programs are built with the tools that are there."""

    folder: Path

    def library(self, path: str, source: str = "", *options: str, compiler: str = "gcc") -> Path:
        return self._compile(path, source, "-shared", "-fPIC", *options, compiler=compiler)

    def program(self, path: str, source: str = NOTHING, *options: str, compiler: str = "gcc") -> Path:
        return self._compile(path, source, *options, compiler=compiler)

    def _compile(self, path: str, source: str, *options: str, compiler: str) -> Path:
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed")
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        language = ["-x", "c++" if compiler == "g++" else "c", "-", "-x", "none"]
        command = [compiler, "-O1", *language, "-Wl,--no-as-needed", *options, "-o", str(target)]
        done = subprocess.run(
            command, input=source, text=True, capture_output=True, check=False, timeout=60, cwd=self.folder
        )
        if done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stderr}")
        return target


@dataclass(frozen=True)
class Trace:
    """
    What the real loader says about a program that it is asked not to run.

    `paths` are the mapped files without the program; `bindings` are (file, defining file, symbol, version).
    """

    paths: tuple[str, ...]
    bindings: frozenset[tuple[str, str, str, str]]
    output: str


def ask_the_loader(program: Path, environment: Mapping[str, str] | None = None) -> Trace:
    if not LOADER.exists():
        pytest.skip(f"{LOADER} is absent: there is no glibc loader to ask")
    done = subprocess.run(
        [str(program)],
        env={**QUESTION, **(environment or {})},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
        cwd="/",
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("\t") and "linux-vdso" not in line]
    bindings = frozenset(
        (match[1], match[2], match[3], match[4] or "")
        for match in map(BINDING.search, done.stderr.splitlines())
        if match and "linux-vdso" not in match[1]
    )
    paths = tuple(line.split("=>")[-1].strip().split(" (")[0] for line in lines if "(0x" in line)
    return Trace(paths, bindings, done.stdout + done.stderr)
