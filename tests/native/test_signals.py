"""Which signals reach the program, once each, and who stops when: with pipes and with a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.launch.plan import PlanFlag
from tests.native.launching import Face, is_running, plan_for, step_names

Probe = Callable[[str], Path]
CTRL_C, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x1a", b"\x1c"


def program_of(launcher: int) -> int:
    (child,) = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="ascii").split()
    return int(child)


def wait_for_end(pid: int, seconds: float = 5) -> int:
    """The exit code of a child; one that does not end is killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def wait_for_state(pid: int, wanted: str, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while state_of(pid) not in wanted:
        assert time.monotonic() < end, f"{pid} is {state_of(pid)}, want {wanted}"
        time.sleep(0.002)


FORWARDED = [1, 2, 3, 10, 14, 15, 18, 20, 21, 22, 28, 35, 64]  # 32 to 34 are musl's own


@pytest.mark.parametrize("number", FORWARDED)
def test_signal_of_a_process_is_passed_on_once(face: Face, probe: Probe, number: int) -> None:
    process = face.start(plan_for(probe("report_signals"), str(number)))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    assert process.stdout.readline() == f"{number}\n"
    os.kill(process.pid, signal.SIGUSR2)
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (7, f"{int(signal.SIGUSR2)}\n")


@pytest.mark.parametrize("number", [1, 2, 15])
def test_program_that_does_not_handle_it_dies(face: Face, probe: Probe, number: int) -> None:
    process = face.start(plan_for(probe("report_signals")))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    process.communicate(timeout=10)
    assert process.returncode == 128 + number


def test_signals_that_the_caller_ignores_are_the_programs_again(launcher: Face, probe: Probe) -> None:
    """As nohup leaves them, SIGCHLD included."""

    def ignore() -> None:
        for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    process = launcher.start(plan_for(probe("report_signals")), preexec_fn=ignore, restore_signals=False)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGHUP)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGHUP


def test_launcher_stops_when_the_program_stops(face: Face, probe: Probe) -> None:
    process = face.start(plan_for(probe("stop_itself")))
    wait_for_state(process.pid, "T")
    wait_for_state(program_of(process.pid), "T")
    os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=10)
    assert process.returncode == 5


HELD = step_names()[step_names().index("exec") : -1]


@pytest.mark.parametrize("step", HELD)
def test_stop_while_held_comes_into_force_at_the_release(
    probe: Probe, native_build: Callable[[str], Path], tmp_path: Path, step: str
) -> None:
    face = Face("faults", (str(native_build("faults") / "shim-launch-faults"), "stop", step), tmp_path)
    process = face.start(plan_for(probe("exit_with_status"), "6"))
    try:
        wait_for_state(process.pid, "T")
        wait_for_state(program_of(process.pid), "T")
        os.kill(process.pid, signal.SIGCONT)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (6, "ran\n", "")
    finally:
        face.end()


# A session leader with a terminal, which puts the launcher into the foreground as a shell does a job, waits
# for it as a shell does, and says what it saw.  `fg` continues a stopped job.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("shell: stopped", flush=True)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
print("shell: code", os.waitstatus_to_exitcode(status), flush=True)
signal.pause()  # a session leader that exits discards what the terminal has not yet shown
"""


class Terminal:
    """A terminal with a shell whose foreground job is the launcher."""

    def __init__(self, arguments: list[str]) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", SHELL, *arguments])
        os.set_inheritable(self.file, False)  # a copy in a later shell would keep this terminal alive
        self.seen = ""

    def wait_for(self, words: str, count: int = 1, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while self.seen.count(words) < count:
            ready, _, _ = select.select([self.file], [], [], end - time.monotonic())
            assert ready, f"terminal shows {self.seen!r}, want {words!r} {count} times"
            self.seen += os.read(self.file, 4096).decode()

    def settle(self) -> None:
        """Read until nothing has come for a tenth of a second."""
        while select.select([self.file], [], [], 0.1)[0]:
            self.seen += os.read(self.file, 4096).decode()

    def type(self, keys: bytes) -> None:
        os.write(self.file, keys)

    def close(self) -> None:
        os.close(self.file)
        wait_for_end(self.pid)


@pytest.fixture
def terminal(launcher: Face) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(plan: bytes, job: Face = launcher) -> Terminal:
        opened.append(Terminal(job.arguments(plan)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_interrupt_key_reaches_the_program_once(terminal: Callable[[bytes], Terminal], probe: Probe) -> None:
    screen = terminal(plan_for(probe("report_signals"), "2", "3"))
    screen.wait_for("ready")
    for times in range(1, 6):
        for key, line in ((CTRL_C, "2\r\n"), (CTRL_BACKSLASH, "3\r\n")):
            screen.type(key)
            screen.wait_for(line, times)
            screen.settle()
            assert screen.seen.count(line) == times


def test_interrupt_key_ends_the_program(terminal: Callable[[bytes], Terminal], probe: Probe) -> None:
    screen = terminal(plan_for(probe("report_signals")))
    screen.wait_for("ready")
    screen.type(CTRL_C)
    screen.wait_for("shell: code 130")


def test_interrupt_key_never_ends_the_launcher_itself(
    terminal: Callable[[bytes, Face], Terminal], face: Face, probe: Probe
) -> None:
    """The program may be dead before the launcher looks at the same signal: its code must not be lost."""
    plan = plan_for(probe("report_signals"))
    for _ in range(15):
        screen = terminal(plan, face)
        screen.wait_for("ready")
        screen.type(CTRL_C)
        screen.wait_for("shell: code 130")


def test_interrupt_key_with_a_session_of_its_own(terminal: Callable[[bytes], Terminal], probe: Probe) -> None:
    """The terminal's signal goes to the launcher's group alone, so the launcher passes it on."""
    screen = terminal(plan_for(probe("report_signals"), flags=PlanFlag.NEW_SESSION))
    screen.wait_for("ready")
    screen.type(CTRL_C)
    screen.wait_for("shell: code 130")


def test_suspend_key_stops_both_and_fg_goes_on(terminal: Callable[[bytes], Terminal], probe: Probe) -> None:
    screen = terminal(plan_for(probe("report_signals"), "2"))
    screen.wait_for("ready")
    for times in (1, 2):
        screen.type(CTRL_Z)
        screen.wait_for("shell: stopped", times)
        time.sleep(0.05)
        screen.type(CTRL_C)
        screen.wait_for("2\r\n", times)


def test_program_that_refuses_to_stop_keeps_the_launcher_running(
    terminal: Callable[[bytes], Terminal], probe: Probe
) -> None:
    screen = terminal(plan_for(probe("report_signals"), str(int(signal.SIGTSTP))))
    screen.wait_for("ready")
    screen.type(CTRL_Z)
    screen.wait_for("20\r\n")
    time.sleep(0.05)
    assert "stopped" not in screen.seen
    screen.type(CTRL_C)
    screen.wait_for("shell: code 130")


def test_hangup_of_the_terminal_ends_the_program(launcher: Face, probe: Probe) -> None:
    """The launcher leads the session, as under `ssh -t host shim-launch`: only it gets the hangup."""
    arguments = launcher.arguments(plan_for(probe("report_signals")))
    pid, file = pty.fork()
    if pid == 0:
        os.execv(arguments[0], arguments)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(file, 100)
    program = program_of(pid)
    os.close(file)
    assert wait_for_end(pid) == 128 + signal.SIGHUP
    assert not is_running(program)


def test_alarm_that_was_set_before_the_launcher(launcher: Face, probe: Probe) -> None:
    """`perl -e 'alarm 1; exec …'` is a known way to limit time: the alarm survives exec, but not fork."""
    arguments = launcher.arguments(plan_for(probe("report_signals")))
    code = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.1); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], timeout=10, capture_output=True, check=False
    )
    assert done.returncode == 128 + signal.SIGALRM
