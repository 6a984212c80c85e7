"""
The recorder on real programs: they do what they do without it, and every call is counted.

What `strace -f` sees of the same workload is what the recorder sees, but for rt_sigreturn, which is never
reported, and for what only the timing of threads decides.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.errors import LaunchError
from shim.launch.mappings import MAX_PLACES, Image, Mappings, Place
from shim.launch.record import AUDIT_ARCH_I386, _everything, record
from shim.launch.recording import Recording
from shim.syscalls import table
from tests.native.launching import ROOT, is_running

Probe = Callable[[str], Path]
X86_64 = table("x86_64")
OPEN_CORPUS = ROOT / "build" / "corpus" / "bin" / "open"
GETPPID, IOCTL, EXECVE = 110, 16, 59


def run(program: Path | str, *arguments: str, **options: object) -> Recording:
    return record(str(program), [str(program), *arguments], dict(os.environ), **options)  # type: ignore[arg-type]


def names(recording: Recording) -> set[str]:
    return {X86_64.name(call.number) for call in recording.calls if call.arch == X86_64.audit_arch}


def count(recording: Recording, number: int) -> int:
    return sum(call.count for call in recording.calls if call.number == number)


@pytest.fixture(scope="session")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """Compile a probe by name with the system's compiler: dynamic, position-independent."""
    folder = tmp_path_factory.mktemp("dynamic")

    def compiled(name: str) -> Path:
        program = folder / name
        if not program.exists():
            source = ROOT / "tests" / "probes" / f"{name}.c"
            subprocess.run(["gcc", "-O1", "-pthread", str(source), "-o", str(program)], check=True)
        return program

    return compiled


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_status_and_output_are_the_programs(
    probe: Probe, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    recording = run(probe("exit_with_status"), str(status))
    assert (recording.exit_code, recording.signal, recording.ended_by) == (status, 0, "itself")
    assert capfd.readouterr() == ("ran\n", "")
    assert names(recording) >= {"write", "exit_group"}
    assert "execve" not in names(recording)
    assert recording.program == str(probe("exit_with_status"))


@pytest.mark.parametrize("number", [1, 6, 9, 11, 15, 31, 34, 64])
def test_signal_that_ends_it(probe: Probe, number: int) -> None:
    recording = run(probe("die_by_signal"), str(number))
    assert (recording.exit_code, recording.signal) == (128 + number, number)


def test_first_call_of_all_is_recorded(probe: Probe, capfd: pytest.CaptureFixture[str]) -> None:
    recording = run(probe("call_at_once"))
    assert capfd.readouterr().out == "ran on\n"
    assert sorted((call.number, call.count) for call in recording.calls) == [(1, 1), (60, 1), (GETPPID, 1)]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("call_in_child", 0),
        ("call_in_thread", 0),
        ("close_all", 9),
        ("set_ids_with_threads", 0),
        ("sleep_and_restart", 0),
        ("count_arguments", 0),
        ("print_state", 0),
    ],
)
def test_behaves_as_without(
    name: str, status: int, probe: Probe, dynamic: Probe, capfd: pytest.CaptureFixture[str]
) -> None:
    for program in (probe(name), dynamic(name)):
        plain = subprocess.run([program], capture_output=True, text=True, check=False, env=dict(os.environ))
        recording = run(program)
        found = capfd.readouterr().out
        assert (plain.returncode, recording.exit_code) == (status, status)
        # What cannot be the same: a filter is there, and the keeper watches over the program.
        different = re.compile(r"^(Seccomp|parent-death-signal|file |NoNewPrivs).*\n", re.MULTILINE)
        assert different.sub("", found) == different.sub("", plain.stdout)


def test_calls_of_children_and_threads_count(probe: Probe) -> None:
    assert count(run(probe("call_in_child")), GETPPID) == 1
    assert count(run(probe("call_in_thread")), GETPPID) == 1


def test_threads_that_set_ids_do_it_each(dynamic: Probe) -> None:
    assert count(run(dynamic("set_ids_with_threads")), X86_64.number("setuid")) == 4


def test_every_call_is_counted_once(probe: Probe) -> None:
    recording = run(probe("many_arguments"), "5000")
    assert (count(recording, IOCTL), recording.lost) == (5000, 0)


def test_arguments_are_kept_as_asked(probe: Probe) -> None:
    recording = run(probe("many_arguments"), "20", kept={IOCTL: (0, 1)})
    found = {call.arguments for call in recording.calls if call.number == IOCTL}
    minus_one = next(iter(found))[0]
    assert minus_one is not None
    assert minus_one & 0xFFFF_FFFF == 0xFFFF_FFFF
    assert found == {(minus_one, request, None, None, None, None) for request in range(20)}


def test_too_many_arguments_are_counted_and_said(probe: Probe) -> None:
    recording = run(probe("many_arguments"), "5000", kept={IOCTL: (1,)})
    calls = [call for call in recording.calls if call.number == IOCTL]
    assert sum(call.count for call in calls) == 5000
    assert sum(not call.dropped for call in calls) == 256
    (dropped,) = [call for call in calls if call.dropped]
    assert (dropped.count, dropped.arguments) == (5000 - 256, (None,) * 6)


def test_another_program_of_a_child_is_counted_apart(probe: Probe) -> None:
    other = probe("call_in_child")
    recording = run(probe("vfork_and_exec"), str(other))
    assert recording.exit_code == 0
    assert count(recording, GETPPID) == 0
    assert count(recording, EXECVE) == 1
    assert {call.path for call in recording.others} == {str(other)}
    assert [call.count for call in recording.others if call.number == GETPPID] == [1]


def test_same_program_in_a_child_is_the_program(probe: Probe) -> None:
    program = probe("vfork_and_exec")
    recording = run(program, str(program), str(probe("exit_with_status")), "5")
    assert recording.exit_code == 5
    assert count(recording, EXECVE) == 2
    assert {call.path for call in recording.others} == {str(probe("exit_with_status"))}


def test_failed_exec_leaves_the_image_as_it_is(probe: Probe) -> None:
    recording = run(probe("vfork_and_exec"), "/nonexistent")
    assert (recording.exit_code, recording.others) == (98, ())


def test_exec_by_a_thread_that_does_not_lead(dynamic: Probe, probe: Probe) -> None:
    program = dynamic("exec_in_thread")
    for _ in range(5):
        recording = record(str(program), [str(program), str(probe("call_at_once"))], {})
        assert recording.exit_code == 0
        assert [call.count for call in recording.others if call.number == GETPPID] == [1]
        assert count(recording, GETPPID) == 0


def test_places_are_offsets_in_files(dynamic: Probe) -> None:
    recording = run(dynamic("call_in_child"))
    places = {call.place for call in recording.calls}
    objects = {place.object for place in places}
    assert any("libc" in path for path in objects), objects
    for place in places:
        with Path(place.object).open("rb") as file:
            file.seek(place.offset)
            assert file.read(2) == b"\x0f\x05", place


def test_places_survive_address_randomization(dynamic: Probe) -> None:
    first, second = ({call.place for call in run(dynamic("call_in_child")).calls} for _ in range(2))
    assert first == second


def test_places_follow_what_is_mapped(probe: Probe, tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    for padding, file in enumerate(files, start=1):
        file.write_bytes(b"\x90" * padding + b"\xb8\x6e\0\0\0\x0f\x05\xc3" + bytes(64))  # getppid; ret
    recording = run(probe("remap_code"), *map(str, files), str(files[0]))
    places = {(call.place, call.count) for call in recording.calls if call.number == GETPPID}
    assert places == {(Place(str(files[0]), 6), 2), (Place(str(files[1]), 7), 1)}


def test_another_architecture_keeps_its_name(probe: Probe) -> None:
    recording = run(probe("old_call"))
    assert recording.exit_code == 0
    (call,) = [call for call in recording.calls if call.arch == AUDIT_ARCH_I386]
    assert (call.number, call.count) == (20, 1)


def test_signals_in_great_number(probe: Probe, capfd: pytest.CaptureFixture[str]) -> None:
    """The handler's return is never taken back; another call may be, and that is counted."""
    recording = run(probe("signal_storm"))
    assert (recording.exit_code, recording.signal) == (0, 0)
    assert int(capfd.readouterr().out) > 100
    assert "rt_sigreturn" not in names(recording)


def test_daemon_is_recorded_to_its_end(probe: Probe, capfd: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    recording = run(probe("daemonize"), "300")
    assert (recording.exit_code, recording.ended_by) == (4, "itself")
    assert time.monotonic() - begin > 0.29
    assert count(recording, GETPPID) == 1
    assert not is_running(int(capfd.readouterr().out))


def test_timeout_asks_then_kills(probe: Probe) -> None:
    begin = time.monotonic()
    recording = run(probe("ignore_term"), timeout=0.2, grace=0.2)
    assert (recording.signal, recording.ended_by) == (9, "timeout")
    assert 0.39 < time.monotonic() - begin < 5
    assert "pause" in names(recording)


def test_timeout_of_a_program_that_listens(probe: Probe) -> None:
    recording = run(probe("report_signals"), timeout=0.2, grace=20)
    assert (recording.signal, recording.ended_by) == (15, "timeout")


def test_timeout_ends_what_was_left_behind(probe: Probe, capfd: pytest.CaptureFixture[str]) -> None:
    recording = run(probe("daemonize"), "60000", timeout=0.3)
    assert (recording.exit_code, recording.ended_by) == (4, "timeout")
    assert not is_running(int(capfd.readouterr().out))


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("missing", 127, "No such file"),
        ("directory", 126, "Permission denied"),
        ("not-executable", 126, "Permission denied"),
        ("no-elf", 126, "Exec format error"),
    ],
)
def test_what_cannot_be_executed(kind: str, code: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\x7fELF but not really")
        path.chmod(0o644 if kind == "not-executable" else 0o755)
    with pytest.raises(LaunchError, match=words) as caught:
        run(path)
    assert (caught.value.step, caught.value.exit_code) == ("exec", code)


def test_nothing_stays_behind_in_the_caller(probe: Probe) -> None:
    def state() -> tuple[set[str], set[signal.Signals], str]:
        task = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return set(os.listdir("/proc/self/fd")), signal.pthread_sigmask(signal.SIG_BLOCK, []), task  # noqa: PTH208

    run(probe("exit_with_status"))
    before = state()
    for _ in range(3):
        run(probe("exit_with_status"))
        with pytest.raises(LaunchError):
            run("/nonexistent")
    assert state() == before


# A recorder as a process of its own, that says how the program ended.
RECORDER = """
import os, sys
from shim.errors import LaunchError
from shim.launch.record import record
try:
    recording = record(sys.argv[1], sys.argv[1:], dict(os.environ), job_control=True)
except LaunchError as error:
    print(f"shim: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
print(recording.ended_by, file=sys.stderr)
sys.exit(recording.exit_code)
"""


@pytest.fixture
def recorder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RECORDER, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, **options)  # type: ignore[call-overload]  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(5)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_tree_dies_with_its_recorder(recorder: Callable[..., subprocess.Popen[str]], probe: Probe) -> None:
    process = recorder(probe("ignore_term"))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (keeper,) = children(process.pid)
    (program,) = children(keeper)
    wait_until(lambda: len(children(program)) == 1)
    tree = [keeper, program, *children(program)]
    process.kill()
    process.wait(5)
    wait_until(lambda: not any(is_running(pid) for pid in tree))


def test_daemon_dies_with_its_recorder(recorder: Callable[..., subprocess.Popen[str]], probe: Probe) -> None:
    process = recorder(probe("daemonize"), "60000")
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    time.sleep(0.1)
    process.kill()
    process.wait(5)
    wait_until(lambda: not is_running(daemon))


def test_recorder_that_dies_at_many_moments(
    recorder: Callable[..., subprocess.Popen[str]], probe: Probe
) -> None:
    program = probe("ignore_term")
    for moment in range(10):
        process = recorder(program)
        time.sleep(0.05 + moment * 0.01)
        process.kill()
        process.wait(5)
    wait_until(lambda: not list(running(program)))


def running(program: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "exe").readlink() == program and is_running(int(entry.name)):
                yield int(entry.name)
        except OSError:
            continue


def test_killed_keeper_is_said(recorder: Callable[..., subprocess.Popen[str]], probe: Probe) -> None:
    process = recorder(probe("report_signals"))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (keeper,) = children(process.pid)
    os.kill(keeper, signal.SIGKILL)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (
        125,
        "shim: keep-program: the process that keeps the program was killed\n",
    )
    assert not list(running(probe("report_signals")))


@pytest.mark.parametrize("number", [1, 2, 10, 15, 18, 28, 64])
def test_signal_of_a_process_is_passed_on_once(
    recorder: Callable[..., subprocess.Popen[str]], probe: Probe, number: int
) -> None:
    process = recorder(probe("report_signals"), str(number))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    assert process.stdout.readline() == f"{number}\n"
    os.kill(process.pid, signal.SIGUSR2)
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (7, f"{int(signal.SIGUSR2)}\n")


def test_signal_to_the_group_does_not_end_the_keeper(
    recorder: Callable[..., subprocess.Popen[str]], probe: Probe
) -> None:
    process = recorder(probe("report_signals"), "15", start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.stdout.readline() == "15\n"
    os.kill(process.pid, signal.SIGUSR2)
    process.communicate(timeout=10)
    assert process.returncode == 7


def test_signal_ends_a_recording_whose_program_has_ended(
    recorder: Callable[..., subprocess.Popen[str]], probe: Probe
) -> None:
    process = recorder(probe("daemonize"), "60000")
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (4, "signal\n")
    assert not is_running(daemon)


def test_recorder_stops_when_the_program_stops(
    recorder: Callable[..., subprocess.Popen[str]], probe: Probe
) -> None:
    process = recorder(probe("stop_itself"))

    def is_stopped() -> bool:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    wait_until(is_stopped)
    os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=10)
    assert process.returncode == 5


def test_recorder_inside_a_recorder_says_why_not(probe: Probe, capfd: pytest.CaptureFixture[str]) -> None:
    recording = record(
        sys.executable,
        [sys.executable, "-c", RECORDER, str(probe("exit_with_status"))],
        {**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert recording.exit_code == 125
    assert capfd.readouterr() == (
        "",
        "shim: install-filter: a supervisor already listens to this process: there can be only one\n",
    )


def test_without_rights_it_takes_no_new_privileges(probe: Probe) -> None:
    """With CAP_SYS_ADMIN nothing is taken away; without, the kernel wants no_new_privs before a filter."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to give rights away, and setpriv of util-linux")
    for give_away, want in (("-chown", "0"), ("-sys_admin", "1")):
        command = [
            "setpriv",
            "--bounding-set",
            give_away,
            sys.executable,
            "-c",
            RECORDER,
            str(probe("print_state")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=20,
                              env={"PYTHONPATH": str(ROOT)})  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "itself\n")
        assert f"NoNewPrivs:\t{want}" in done.stdout


def test_filter_reports_everything_but_returns_of_handlers() -> None:
    from shim.filter.data import SeccompData  # noqa: PLC0415  # only here
    from shim.filter.program import FilterProgram  # noqa: PLC0415
    from shim.filter.simulate import simulate  # noqa: PLC0415

    code = FilterProgram.decode(_everything({39: 1, 231: 38}))
    native = X86_64.audit_arch
    let_through = {(native, 15), (native, 0x4000_0201), (AUDIT_ARCH_I386, 119), (AUDIT_ARCH_I386, 173)}
    for arch in (native, AUDIT_ARCH_I386, 0xDEAD_BEEF):
        for number in (0, 15, 59, 119, 173, 231, 0x4000_0201, 0xFFFF_FFFF):
            want = 0x7FFF_0000 if (arch, number) in let_through else 0x7FC0_0000
            if (arch, number) == (native, 231):
                want = 0x0005_0000 | 38
            assert simulate(code, SeccompData(number, arch)).action == want


def test_places_have_a_bound(tmp_path: Path) -> None:
    mappings = Mappings(tmp_path)
    numbers = {mappings._number(Place("/file", offset)) for offset in range(MAX_PLACES + 10)}
    assert len(numbers) == MAX_PLACES + 1
    assert len(mappings.places) == MAX_PLACES + 1


def test_thread_that_may_not_be_looked_at(tmp_path: Path) -> None:
    mappings = Mappings(tmp_path)
    look = mappings.look(0, 1 << 30)
    assert mappings.places[look.place - 1] == Image("")


STRACE = shutil.which("strace")
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed>)")
EXEC = re.compile(r'^\d+ +execve\("([^"]*)"')


def straced(command: list[str], folder: Path) -> set[str]:
    """The names of all calls that strace sees, without those of children once they run another program."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    output = folder / "strace"
    with (folder / "output").open("w") as stdout:
        subprocess.run([STRACE, "-f", "-qq", "-s", "0", "-e", "signal=none", "-o", output, *command],
                       check=False, timeout=60, stdout=stdout, stdin=subprocess.DEVNULL, env=dict(os.environ))  # fmt: skip
    found: list[str] = []
    wanted: dict[str, str] = {}
    elsewhere: set[str] = set()
    for line in output.read_text(errors="replace").splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        thread, name = match.groups()
        if thread not in elsewhere:
            found.append(name)
        if name == "execve":
            path = EXEC.match(line)
            wanted[thread] = path[1] if path else wanted[thread]
            if line.endswith("= 0") and wanted[thread] not in (command[0], "/proc/self/exe"):
                elsewhere.add(thread)
    found.remove("execve")  # the first is the tracer's
    return set(found)


NEVER_REPORTED = {"rt_sigreturn"}
WORKLOADS = {
    "busybox": [
        ["sh", "-c", "echo a | cat; ls / | sort | head -3; (exit 3); sleep 0.1 & wait; trap : USR1; kill -USR1 $$"],
        ["find", "/etc", "-maxdepth", "1", "-name", "p*"],
        ["sha256sum", "/etc/passwd"],
        ["vi", "-c", ":q", "/etc/passwd"],
    ],
    "bash-static": [
        ["-c", "for i in 1 2; do echo $i; done; (exit 3); read x < /etc/passwd; trap : USR1; kill -USR1 $$; : & wait"],
        ["-c", "cat() { while read -r l; do echo $l; done; }; echo a | cat; kill -9 $$"],
    ],
}  # fmt: skip


@pytest.fixture
def as_strace_has_it(tmp_path: Path) -> Iterator[None]:
    """Nothing as standard input, a file as standard output: a C library asks what they are."""
    kept = [os.dup(0), os.dup(1)]
    with Path(os.devnull).open() as nothing, (tmp_path / "recorded").open("w") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
    yield
    for number, copy in enumerate(kept):
        os.dup2(copy, number)
        os.close(copy)


@pytest.mark.usefixtures("as_strace_has_it")
@pytest.mark.parametrize("program", WORKLOADS)
def test_sees_what_strace_sees(program: str, tmp_path: Path) -> None:
    path = OPEN_CORPUS / program
    if not path.exists():
        pytest.skip(f"{path} is absent: run `make corpus`")
    for arguments in WORKLOADS[program]:
        want = straced([str(path), *arguments], tmp_path)
        assert names(run(path, *arguments)) == want - NEVER_REPORTED, arguments


@pytest.mark.usefixtures("as_strace_has_it")
@pytest.mark.parametrize(
    "name", ["set_ids_with_threads", "call_in_child", "sleep_and_restart", "print_state"]
)
def test_sees_what_strace_sees_of_a_dynamic_program(name: str, tmp_path: Path, dynamic: Probe) -> None:
    want = straced([str(dynamic(name))], tmp_path)
    assert names(run(dynamic(name))) == want - NEVER_REPORTED, name


# Which of these a Go program makes depends on how its threads meet and on how long it waits.
TIMING = {"futex", "nanosleep", "sched_yield", "tgkill", "getpid", "madvise", "epoll_pwait", "restart_syscall", "clone",
          "sigaltstack", "gettid", "munmap", "pread64", "sendfile", "splice"}  # fmt: skip


@pytest.mark.usefixtures("as_strace_has_it")
def test_sees_what_strace_sees_of_a_server(tmp_path: Path) -> None:
    path = OPEN_CORPUS / "http-go-static"
    if not path.exists():
        pytest.skip(f"{path} is absent: run `make corpus`")
    want: set[str] = set()
    found: set[str] = set()
    for _ in range(3):
        want |= straced([str(path)], tmp_path)
        found |= names(run(path, timeout=10))
    assert found ^ (want - NEVER_REPORTED) <= TIMING
