"""The launcher dies at any moment: the program never runs without its filter, and never runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.native.launching import EXEC, GETPPID, Face, all_but, is_running, plan_for, step_names

Probe = Callable[[str], Path]


# A dying launcher closes its listener a moment before its child is killed: in between a refused call comes
# back with ENOSYS.  It is never answered.
AFTER_RELEASE = {"", "started\n", "started\nrefused\n"}


def wait_until_gone(pattern: str, seconds: float = 5) -> list[int]:
    """The processes whose command line still holds `pattern` after that time."""
    end = time.monotonic() + seconds
    while True:
        left = [pid for pid in processes_with(pattern) if is_running(pid)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.005)


def processes_with(pattern: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if pattern.encode() in command:
            found.append(int(entry.name))
    return found


def test_there_are_steps() -> None:
    assert len(step_names()) == 31


@pytest.mark.parametrize("step", step_names())
def test_death_before_each_step(
    probe: Probe, native_build: Callable[[str], Path], tmp_path: Path, step: str
) -> None:
    mark = f"mark-{step}-{os.getpid()}"
    launcher = native_build("faults") / "shim-launch-faults"
    face = Face("faults", (str(launcher), "die", step), tmp_path)
    plan = plan_for(probe("run_on"), mark, filter=all_but((*EXEC, GETPPID)))
    process = face.start(plan)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == -9
    assert errors == ""
    # Before its release the program has said nothing.
    assert output in AFTER_RELEASE if step == "supervise" else output == ""
    assert wait_until_gone(mark) == []


def test_death_at_many_moments(launcher: Face, probe: Probe) -> None:
    """Kill after 0 to 800 microseconds: that spans the whole launch and the time after it."""
    mark = f"mark-moments-{os.getpid()}"
    arguments = launcher.arguments(plan_for(probe("run_on"), mark, filter=all_but((*EXEC, GETPPID))))
    outputs = set()
    for moment in range(200):
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        end = time.perf_counter_ns() + moment * 4000
        while time.perf_counter_ns() < end:
            pass
        process.kill()
        output, _ = process.communicate(timeout=10)
        outputs.add(output.decode())
    assert outputs <= AFTER_RELEASE
    assert wait_until_gone(mark) == []


def test_running_program_dies_with_its_launcher(launcher: Face, probe: Probe) -> None:
    process = launcher.start(plan_for(probe("run_on")))
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert is_running(int(program))
    process.kill()
    process.communicate(timeout=10)
    end = time.monotonic() + 5
    while is_running(int(program)) and time.monotonic() < end:
        time.sleep(0.005)
    assert not is_running(int(program))


def test_launcher_of_a_user_cannot_be_looked_into(launcher: Face, probe: Probe, public_folder: Path) -> None:
    """Not dumpable: its files under /proc belong to root, and a process of its user cannot trace it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to start it as another user")
    program = Path(shutil.copy(probe("run_on"), public_folder / "program"))
    copied = shutil.copy(launcher.command[0], public_folder / "shim-launch")
    user = Face("user", (str(copied),), public_folder)
    process = user.start(plan_for(program), user=65534, group=65534, extra_groups=[])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0
        (program_pid,) = (
            Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        )
        assert Path(f"/proc/{program_pid}/mem").stat().st_uid == 65534
    finally:
        user.end()
