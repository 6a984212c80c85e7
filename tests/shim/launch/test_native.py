"""The launcher inside a Python process: what it returns, what it raises, and what it leaves as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.errors import LaunchError, ShimError
from shim.launch.native import LaunchResult, ViolationEvent, run
from tests.native.conftest import probe  # noqa: F401  # the fixture
from tests.native.launching import EXEC, GETPPID, all_but, is_running, plan_for

Probe = Callable[[str], Path]


def refusing_getppid(program: Path) -> bytes:
    return plan_for(program, filter=all_but((*EXEC, GETPPID)))


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are enough


def children() -> set[str]:
    """Processes of ours, also dead ones: other tests of this worker may keep a service."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                found.add(status.parent.name)
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> object:
    """After each launch: no child, no file, the mask and the CPUs as before."""
    before = children()
    files, mask, cpus = open_files(), signal.pthread_sigmask(signal.SIG_BLOCK, []), os.sched_getaffinity(0)
    yield
    assert open_files() == files
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert os.sched_getaffinity(0) == cpus
    assert children() <= before


def test_result_of_an_exit(probe: Probe) -> None:  # noqa: F811  # the fixture
    result = run(plan_for(probe("close_all")))
    assert result == LaunchResult(exit_code=9, status=9, signal=0, violation=False, pid=result.pid)
    assert result.pid > 1


def test_result_of_a_signal(probe: Probe) -> None:  # noqa: F811
    result = run(plan_for(probe("die_by_signal"), "15"))
    assert (result.exit_code, result.status, result.signal, result.violation) == (143, 0, 15, False)


def test_event_and_result_of_a_violation(probe: Probe) -> None:  # noqa: F811
    events: list[ViolationEvent] = []
    states: list[str] = []

    def look(event: ViolationEvent) -> None:
        events.append(event)
        states.append(Path(f"/proc/{event.pid}/maps").read_text(encoding="utf-8"))

    result = run(refusing_getppid(probe("call_at_once")), on_event=look)
    assert (result.exit_code, result.status, result.signal, result.violation) == (159, 0, 31, True)
    (event,) = events
    assert (event.syscall, event.arch, event.pid) == (GETPPID, 0xC000003E, result.pid)
    assert "call_at_once" in states[0]


def test_violation_that_nobody_listens_to(probe: Probe) -> None:  # noqa: F811
    assert run(refusing_getppid(probe("call_at_once"))).violation


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt()])
def test_exception_of_a_listener_comes_out(probe: Probe, raised: BaseException) -> None:  # noqa: F811
    pids: list[int] = []

    def fail(event: ViolationEvent) -> None:
        pids.append(event.pid)
        raise raised

    with pytest.raises(type(raised)) as caught:
        run(refusing_getppid(probe("call_at_once")), on_event=fail)
    assert caught.value is raised
    assert not is_running(pids[0])


@pytest.mark.parametrize(
    ("damage", "step", "exit_code"),
    [
        (lambda plan: plan[:-1], "header.size", 125),
        (lambda plan: plan.replace(b"close_all", b"close_one"), "exec", 127),
        (
            lambda plan: plan.replace(b"\x06\0\0\0\0\0\xff\x7f", b"\x05\0\0\0\0\0\xff\x7f"),
            "prove-filter",
            125,
        ),
    ],
)
def test_failures_are_typed(
    probe: Probe,  # noqa: F811
    damage: Callable[[bytes], bytes],
    step: str,
    exit_code: int,
) -> None:
    with pytest.raises(LaunchError) as caught:
        run(damage(plan_for(probe("close_all"))))
    assert (caught.value.step, caught.value.exit_code) == (step, exit_code)
    assert caught.value.reason
    assert isinstance(caught.value, ShimError)


def test_wrong_digest(probe: Probe) -> None:  # noqa: F811
    with pytest.raises(LaunchError) as caught:
        run(plan_for(probe("close_all"), digest=bytes(32)))
    assert caught.value.step == "measure-file"
    assert caught.value.reason.endswith(f"want {'00' * 32}")


def test_callers_that_ignore_their_children(probe: Probe) -> None:  # noqa: F811
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(LaunchError) as caught:
            run(plan_for(probe("close_all")))
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert caught.value.step == "require-child-status"


def test_other_threads_go_on(probe: Probe) -> None:  # noqa: F811
    """The interpreter's lock is free meanwhile, and several threads may launch at once."""
    results: list[LaunchResult] = []
    plan = plan_for(probe("sleep_and_restart"))
    threads = [threading.Thread(target=lambda: results.append(run(plan))) for _ in range(4)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    counted = 0
    while any(thread.is_alive() for thread in threads):
        counted += 1
        time.sleep(0.01)
    assert [result.exit_code for result in results] == [0] * 4
    assert len({result.pid for result in results}) == 4
    assert counted > 10
    assert time.monotonic() - start < 1.5


def test_signal_to_this_process_reaches_the_program(probe: Probe, tmp_path: Path) -> None:  # noqa: F811
    """The one thread's signals are blocked, so that of a process goes to the program and ends it."""
    (tmp_path / "plan").write_bytes(plan_for(probe("report_signals")))
    code = (
        "import os, signal, sys, threading; from shim.launch.native import run\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()  # inherits the mask\n"
        "result = run(open(sys.argv[1], 'rb').read()); print(result.exit_code, result.signal)"
    )
    # In a process of its own: a thread of the test runner may take the signal, and it ends the runner.
    command = [sys.executable, "-c", code, str(tmp_path / "plan")]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=20)
    assert done.stdout.splitlines()[-1] == "143 15"


def test_interrupt_that_came_with_the_programs_end(probe: Probe, tmp_path: Path) -> None:  # noqa: F811
    """The terminal sent it to both; the program is dead of something, and the result must not be lost to it."""
    (tmp_path / "plan").write_bytes(refusing_getppid(probe("call_at_once")))
    code = (
        "import os, signal, sys; from shim.launch.native import run\n"
        "def interrupt(event): os.kill(os.getpid(), signal.SIGINT)\n"
        "print(run(open(sys.argv[1], 'rb').read(), on_event=interrupt).exit_code)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "plan")]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "159\n", "")


def test_signals_of_the_caller_are_not_lost(probe: Probe) -> None:  # noqa: F811
    """Another child ends meanwhile: its SIGCHLD arrives after the launch."""
    seen: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _frame: seen.append(number))
    try:
        child = os.fork()
        if child == 0:
            time.sleep(0.1)
            os._exit(0)
        run(plan_for(probe("sleep_and_restart")))
        assert seen
        assert os.waitpid(child, 0) == (child, 0)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_many_launches_leave_nothing(probe: Probe) -> None:  # noqa: F811
    plan = plan_for(probe("close_all"))
    assert {run(plan).exit_code for _ in range(200)} == {9}
