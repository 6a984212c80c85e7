"""A launched program, looked at from outside: it is under its filter, and shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shim.launch.live import look
from shim.syscalls import table
from tests.native.launching import Face, all_but, plan_for

NAMES = table("x86_64").names
PROC = Path("/proc")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_confined_program_shows_its_filter(launcher: Face, probe: Callable[[str], Path]) -> None:
    process = launcher.start(plan_for(probe("sleep_and_restart"), filter=all_but()))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    until(lambda: look(PROC, int(program), NAMES).threads[0].state.startswith("S"))
    found = look(PROC, int(program), NAMES)
    assert (found.threads[0].filters, found.threads[0].no_new_privs) == (1, True)
    process.kill()
    process.communicate(timeout=10)
