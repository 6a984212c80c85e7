"""The launcher in a Python process with other threads, other children, and an event loop."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import shim.launch
from shim.errors import LaunchError
from shim.launch.plan_codec import decode, encode
from tests.native.launching import EXEC, GETPPID, ROOT, all_but, plan_for
from tests.native.test_stages import staged_plan

Probe = Callable[[str], Path]
EXAMPLE = ROOT / "docs" / "examples" / "launch_async.py"


def test_the_package_offers_the_launcher(probe: Probe) -> None:
    plan = plan_for(probe("exit_with_status"), "3")
    result = shim.launch.run(plan, hide=False)
    assert isinstance(result, shim.launch.LaunchResult)
    assert (result.exit_code, result.stages) == (3, 0)
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        shim.launch.walk  # noqa: B018  # that is the test


def test_a_plan_as_a_value(probe: Probe) -> None:
    plan = decode(plan_for(probe("exit_with_status"), "5"))
    assert shim.launch.run(plan, hide=False).exit_code == 5


@pytest.mark.parametrize("bad", [b"", b"SHIMPLAN"])
def test_what_is_no_plan(bad: bytes) -> None:
    with pytest.raises(LaunchError, match="want 32 bytes to 4 MiB"):
        shim.launch.run(bad)


def test_many_launches_at_the_same_time(probe: Probe, tmp_path: Path) -> None:
    """Each with the outcome and the events of its own, some of them through a boundary."""
    source = ROOT / "tests" / "probes" / "staged.c"
    staged = tmp_path / "staged"
    subprocess.run(["gcc", "-static", "-O1", "-pthread", str(source), "-o", str(staged)], check=True)
    late = encode(staged_plan(staged, "late"))
    refused = plan_for(probe("call_at_once"), filter=all_but((*EXEC, GETPPID)))

    def launch(number: int) -> tuple[int, list[tuple[int, int]]]:
        events: list[tuple[int, int]] = []
        plan = (plan_for(probe("exit_with_status"), str(number)), refused, late)[number % 3]
        result = shim.launch.run(
            plan, on_event=lambda event: events.append((event.syscall, event.stage)), hide=False
        )
        return result.exit_code, events

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(launch, range(90)))
    for number, outcome in enumerate(outcomes):
        want = [(number, []), (159, [(GETPPID, 0)]), (159, [(GETPPID, 1)])][number % 3]
        assert outcome == want


def test_other_threads_go_on_while_a_program_runs(probe: Probe) -> None:
    """The interpreter's lock is not held."""
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.005)

    thread = threading.Thread(target=count)
    thread.start()
    shim.launch.run(plan_for(probe("sleep_and_restart")), hide=False)
    done.set()
    thread.join()
    assert counted > 5


def test_other_children_keep_their_status(probe: Probe) -> None:
    """What the launcher waits for is its program alone."""
    children = [subprocess.Popen(["/bin/sh", "-c", f"exit {number}"]) for number in range(8)]
    time.sleep(0.1)
    assert shim.launch.run(plan_for(probe("exit_with_status"), "3"), hide=False).exit_code == 3
    assert [child.wait(timeout=10) for child in children] == list(range(8))


def test_an_exception_of_the_listener_comes_out(probe: Probe) -> None:
    def report(_: shim.launch.ViolationEvent) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        shim.launch.run(
            plan_for(probe("call_at_once"), filter=all_but((*EXEC, GETPPID))), on_event=report, hide=False
        )


def test_the_example_for_asyncio(probe: Probe, tmp_path: Path) -> None:
    plans = {
        "one": plan_for(probe("exit_with_status"), "0"),
        "two": plan_for(probe("call_at_once"), filter=all_but((*EXEC, GETPPID))),
    }
    for name, plan in plans.items():
        (tmp_path / name).write_bytes(plan)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "one", "two"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 159
    assert "one: exit code 0, 0 refused calls\ntwo: exit code 159, 1 refused calls\n" in done.stdout
    assert f"refused: syscall {GETPPID} at 0x" in done.stdout
    assert done.stderr == ""
