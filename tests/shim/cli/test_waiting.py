"""Whoever waits at a terminal sees what a derivation is at; a pipe or a file gets nothing of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SHIM = (sys.executable, "-c", "from shim.cli.main import main; main()")
SOURCE = "_start: mov eax, 60\n syscall"


@pytest.fixture
def program(assemble: Callable[..., bytes], tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(assemble(SOURCE))
    return path


def _on_a_terminal(*words: str) -> tuple[str, str]:
    """Return what a command writes to standard output and to a terminal that is its standard error."""
    leader, terminal = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen:
        done = subprocess.run(
            [*SHIM, *words],
            stdout=subprocess.PIPE,
            stderr=terminal,
            check=True,
            timeout=60,
            env={**os.environ, "TERM": "xterm"},
        )
        os.set_blocking(screen.fileno(), False)
        shown = screen.read() or b""
        os.close(terminal)
    return done.stdout.decode(), shown.decode()


def test_a_terminal_shows_the_stages(program: Path) -> None:
    out, shown = _on_a_terminal("profile", "--no-cache", "--format", "names", str(program))
    assert out.split() == ["exit", "exit_group"]
    assert "program: " in shown
    assert "ways and phases" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))  # the line is erased, the cursor back


def test_what_is_kept_shows_none(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    subprocess.run([*SHIM, "profile", str(program)], capture_output=True, check=True, timeout=60)
    assert _on_a_terminal("profile", str(program))[1] == ""


def test_a_pipe_gets_none(program: Path) -> None:
    done = subprocess.run(
        [*SHIM, "profile", "--no-cache", str(program)], capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
