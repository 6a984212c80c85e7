"""What the program may reach beside its system calls: files, ports, processes; as whom, and how long."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shim.launch.confinement import Confinement, landlock_for
from shim.launch.plan import Identity, Landlock, LaunchPlan, PathRule, PlanFlag, ResourceLimit
from shim.launch.plan_codec import encode
from shim.profile.profile import AnalysedObject, Phase, Profile, SyscallRule
from tests.native.launching import ROOT, Face, all_but, is_running
from tests.native.test_death import processes_with, wait_until_gone

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
# include/uapi/linux/fcntl.h, v6.18.
F_GET_SEALS, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 1034, 1, 2, 4, 8
PID, NET, USER, UTS = 0x2000_0000, 0x4000_0000, 0x1000_0000, 0x0400_0000


@pytest.fixture(scope="module")
def reach() -> Iterator[Path]:
    """The probe, compiled once; in a folder that others may enter."""
    with tempfile.TemporaryDirectory(prefix="shim-test-") as name:
        Path(name).chmod(0o755)
        source = ROOT / "tests" / "probes" / "reach.c"
        subprocess.run(["gcc", "-static", "-O1", str(source), "-o", f"{name}/reach"], check=True)
        yield Path(name) / "reach"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`open/file`, `shut/file`, and a directory to write into."""
    for name in ("open", "shut", "room"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    return tmp_path


def profile_of(program: Path, *names: tuple[int, str]) -> Profile:
    one = AnalysedObject(str(program), hashlib.sha256(program.read_bytes()).hexdigest(), "")
    rules = tuple(SyscallRule(number, name) for number, name in names)
    return Profile("x86_64", (one,), (Phase("startup", None, rules),), (), (), (), "test")


def wait_until_there(mark: str) -> list[int]:
    """The processes other than launchers whose command line holds `mark`, once there are some."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = [
            pid for pid in processes_with(mark) if b"plan" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        if found:
            time.sleep(0.1)  # until it is let go
            return found
        time.sleep(0.01)
    pytest.fail(f"nobody came with {mark}")


def plan(program: Path, *arguments: str, confinement: Confinement | None = None, **fields: object) -> bytes:
    confinement = confinement or Confinement(allow_signals=True)
    whole = LaunchPlan(
        program=os.fsencode(program),
        digest=hashlib.sha256(program.read_bytes()).digest(),
        filter=all_but(),
        argv=(os.fsencode(program), *(argument.encode() for argument in arguments)),
        landlock=landlock_for(confinement, profile_of(program), str(program), os.path.exists),
        identity=confinement.identity,
        namespaces=confinement.namespaces,
        timeout=confinement.timeout,
        limits=confinement.limits,
        flags=confinement.flags,
    )
    return encode(replace(whole, **fields))  # type: ignore[arg-type]


# Way, file, and what becomes of it with --ro open, --rw room, --exec nothing.
FILES = {
    "read what may be read": ("read", "open/file", "ok"),
    "list what may be read": ("list", "open", "ok"),
    "write what may be read": ("write", "open/file", "EACCES"),
    "make where may be read": ("make", "open/new", "EACCES"),
    "remove what may be read": ("remove", "open/file", "EACCES"),
    "cut what may be read": ("truncate", "open/file", "EACCES"),
    "read what may not": ("read", "shut/file", "EACCES"),
    "list what may not": ("list", "shut", "EACCES"),
    "write what may not": ("write", "shut/file", "EACCES"),
    "around a corner": ("read", "open/../shut/file", "EACCES"),
    "through a link": ("read", "open/link", "EACCES"),
    "through /proc": ("read", "/proc/self/root/etc/passwd", "EACCES"),
    "write what may be written": ("write", "room/file", "ok"),
    "make where may be written": ("make", "room/new", "ok"),
    "a directory where may be written": ("mkdir", "room/new", "ok"),
    "remove what may be written": ("remove", "room/file", "ok"),
    "read what may be written": ("read", "room/file", "ok"),
    "the program itself": ("read", "", "ok"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(face: Face, reach: Path, files: Path, name: str) -> None:
    way, path, want = FILES[name]
    (files / "open" / "link").symlink_to(files / "shut" / "file")
    confinement = Confinement(read=(str(files / "open"),), write=(str(files / "room"),), allow_signals=True)
    target = str(files / path) if path else str(reach)
    outcome = face.launch(plan(reach, way, target, confinement=confinement))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (0, f"{want}\n", ())


@pytest.mark.parametrize("way", ["read", "list"])
def test_without_a_word_about_files_nothing_is_taken(
    launcher: Face, reach: Path, files: Path, way: str
) -> None:
    target = files / "shut" / ("file" if way == "read" else "")
    assert launcher.launch(plan(reach, way, str(target))).output == "ok\n"


def test_no_files_at_all(launcher: Face, reach: Path) -> None:
    confinement = Confinement(no_files=True)
    assert launcher.launch(plan(reach, "read", "/etc/passwd", confinement=confinement)).output == "EACCES\n"
    assert launcher.launch(plan(reach, "read", str(reach), confinement=confinement)).output == "ok\n"


def test_a_file_that_is_open_already_stays_open(launcher: Face, reach: Path, files: Path) -> None:
    """Landlock is about opening; what stdin, stdout and stderr are is the caller's to choose."""
    with (files / "shut" / "file").open("w") as output:
        process = launcher.start(
            plan(reach, "inherited", "2", confinement=Confinement(no_files=True)), stderr=output
        )
        process.communicate(timeout=10)
    assert (files / "shut" / "file").read_text() == "x"


def test_a_rule_for_what_is_not_there(launcher: Face, reach: Path) -> None:
    landlock = Landlock(files=0xFFFF, paths=(PathRule(4, b"/nowhere"),))
    outcome = launcher.launch(plan(reach, "read", "/etc/passwd", landlock=landlock))
    assert (outcome.exit_code, outcome.errors) == (125, ("shim: confine: No such file or directory",))


@pytest.fixture
def server() -> Iterator[int]:
    """A port on loopback that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("ports", "want"),
    [(("this",), "ok"), ((), "EACCES"), (("other",), "EACCES")],
    ids=["allowed", "none", "another"],
)
def test_connecting(face: Face, reach: Path, server: int, ports: tuple[str, ...], want: str) -> None:
    numbers = tuple(server if port == "this" else server ^ 1 for port in ports)
    confinement = Confinement(connect=numbers, no_network=True, allow_signals=True)
    assert face.launch(plan(reach, "connect", str(server), confinement=confinement)).output == f"{want}\n"


def test_binding(launcher: Face, reach: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for ports, want in (((port,), "ok"), ((port ^ 1,), "EACCES"), ((), "EACCES")):
        confinement = Confinement(bind=ports, no_network=True, allow_signals=True)
        assert launcher.launch(plan(reach, "bind", str(port), confinement=confinement)).output == f"{want}\n"


def test_an_abstract_socket_of_others(launcher: Face, reach: Path) -> None:
    name = f"shim-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        assert launcher.launch(plan(reach, "abstract", name)).output == "ok\n"
        confinement = Confinement(no_files=True)
        assert launcher.launch(plan(reach, "abstract", name, confinement=confinement)).output == "EPERM\n"


@pytest.mark.parametrize("way", ["signal", "signal-launcher", "signal-itself"])
def test_signals_to_others(face: Face, reach: Path, way: str) -> None:
    scoped = Landlock(scopes=2)
    want = "ok\n" if way == "signal-itself" else "EPERM\n"
    assert face.launch(plan(reach, way, str(os.getpid()), landlock=scoped)).output == want
    assert face.launch(plan(reach, way, str(os.getpid()))).output == "ok\n"


def test_which_programs_keep_their_signals_to_themselves(reach: Path) -> None:
    plain = profile_of(reach, (0, "read"))
    signalling = profile_of(reach, (62, "kill"))
    assert landlock_for(Confinement(), plain, str(reach), os.path.exists) is None
    scoped = landlock_for(Confinement(), signalling, str(reach), os.path.exists)
    assert scoped == Landlock(scopes=2)
    assert landlock_for(Confinement(allow_signals=True), signalling, str(reach), os.path.exists) is None


@ROOT_ONLY
def test_another_user(face: Face, reach: Path) -> None:
    identity = Identity(65534, 65533)
    outcome = face.launch(plan(reach, "ids", identity=identity))
    assert (outcome.output, outcome.errors) == ("65534 65534 65533 65533 0 ok\n", ())


@ROOT_ONLY
def test_a_program_of_another_user_dies_with_its_launcher(launcher: Face, reach: Path) -> None:
    """The kernel forgets at each change of identity whom a process dies with."""
    mark = f"mark-{os.getpid()}-identity"
    process = launcher.start(plan(reach, "sleep", mark, identity=Identity(65534, 65534)))
    wait_until_there(mark)
    time.sleep(0.1)
    process.kill()
    process.wait(timeout=10)
    assert wait_until_gone(mark) == []


@ROOT_ONLY
def test_who_is_nobody_cannot_become_somebody(launcher: Face, reach: Path, public_folder: Path) -> None:
    copied = Path(shutil.copy(launcher.command[0], public_folder / "shim-launch"))
    user = Face("user", (str(copied),), public_folder)
    outcome = user.launch(
        plan(reach, "ids", identity=Identity(0, 0)), user=65534, group=65534, extra_groups=[]
    )
    assert (outcome.exit_code, outcome.errors) == (125, ("shim: change-identity: Operation not permitted",))


@ROOT_ONLY
def test_processes_of_its_own(face: Face, reach: Path) -> None:
    outcome = face.launch(plan(reach, "pid", namespaces=PID))
    assert (outcome.output, outcome.errors) == ("2 ok\n", ())


@ROOT_ONLY
def test_what_a_program_leaves_ends_with_it(face: Face, reach: Path) -> None:
    mark = f"mark-{os.getpid()}-orphan"
    assert face.launch(plan(reach, "orphan", mark, namespaces=PID)).output == "ok\n"
    assert wait_until_gone(mark, seconds=2) == []


@ROOT_ONLY
def test_a_namespace_dies_with_its_launcher(launcher: Face, reach: Path) -> None:
    mark = f"mark-{os.getpid()}-namespace"
    process = launcher.start(plan(reach, "sleep", mark, namespaces=PID))
    wait_until_there(mark)
    process.kill()
    process.wait(timeout=10)
    assert wait_until_gone(mark) == []


def test_the_next_children_of_a_python_process_are_born_outside(reach: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from shim.launch.native import run  # noqa: PLC0415

    assert run(plan(reach, "orphan", namespaces=PID), hide=False).exit_code == 0
    child = subprocess.run(["readlink", "/proc/self/ns/pid"], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == str(Path("/proc/self/ns/pid").readlink())


@pytest.mark.parametrize("kinds", [NET, UTS, NET | USER])
def test_namespaces(face: Face, reach: Path, kinds: int) -> None:
    """In a network of its own nothing is on loopback, which is down."""
    outcome = face.launch(plan(reach, "connect", "80", namespaces=kinds))
    assert outcome.errors == ()
    assert outcome.output == ("ECONNREFUSED\n" if kinds == UTS else "ENETUNREACH\n")


@ROOT_ONLY
def test_namespaces_of_an_ordinary_user(launcher: Face, reach: Path, public_folder: Path) -> None:
    """They come with a user namespace, in which the user is still the same."""
    copied = Path(shutil.copy(launcher.command[0], public_folder / "shim-launch"))
    user = Face("user", (str(copied),), public_folder)
    ordinary = {"user": 65534, "group": 65534, "extra_groups": []}
    outcome = user.launch(plan(reach, "connect", "80", namespaces=NET), **ordinary)
    if outcome.errors == ("shim: unshare-namespaces: Operation not permitted",):
        pytest.skip("this machine gives ordinary users no user namespaces")
    assert (outcome.output, outcome.errors) == ("ENETUNREACH\n", ())
    assert user.launch(plan(reach, "ids", namespaces=NET), **ordinary).output.startswith("65534 65534 ")
    refused = user.launch(plan(reach, "pid", namespaces=PID), **ordinary)
    assert refused.errors == ("shim: start-init: a pid namespace takes CAP_SYS_ADMIN",)


@ROOT_ONLY
def test_the_first_process_reaps_every_orphan(launcher: Face, reach: Path) -> None:
    """As PID 1, and it passes signals on that a first process would otherwise not get."""
    mark = f"mark-{os.getpid()}-first"
    words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        *launcher.arguments(plan(reach, "orphans", mark)),
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        (first,) = children_of(process.pid)
        end = time.monotonic() + 5
        while len(children_of(first)) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        (program,) = children_of(first)
        os.kill(first, signal.SIGTERM)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        assert not is_running(program)
    finally:
        process.kill()
        process.communicate()


@ROOT_ONLY
def test_proc_of_another_namespace_is_named(launcher: Face, reach: Path) -> None:
    words = ["unshare", "--pid", "--fork", *launcher.arguments(plan(reach, "pid"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    want = "shim: measure-file: /proc is not mounted, or is that of another pid namespace\n"
    assert done.stderr == want


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def test_time_is_up(face: Face, reach: Path) -> None:
    begun = time.monotonic()
    outcome = face.launch(plan(reach, "sleep", timeout=300_000_000))
    assert outcome.exit_code == 124
    assert 0.3 <= time.monotonic() - begun < 5


def test_time_is_enough(face: Face, reach: Path) -> None:
    assert face.launch(plan(reach, "pid", timeout=20_000_000_000)).exit_code == 0


def test_a_copy_is_run(face: Face, reach: Path, tmp_path: Path) -> None:
    """Nobody can write to it; the file itself may be written while it runs."""
    program = Path(shutil.copy(reach, tmp_path / "program"))
    outcome = face.launch(plan(program, "rewrite", flags=PlanFlag.COPY))
    assert (outcome.exit_code, outcome.output) == (0, "ETXTBSY\n")
    mark = f"mark-{os.getpid()}-copy"
    process = face.start(plan(program, "sleep", mark, flags=PlanFlag.COPY))
    (running,) = wait_until_there(mark)
    copy = os.open(f"/proc/{running}/exe", os.O_RDONLY)
    assert fcntl.fcntl(copy, F_GET_SEALS) == F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
    os.close(copy)
    with program.open("r+b") as file:
        file.write(b"changed")
    assert process.poll() is None
    process.kill()
    process.wait(timeout=10)


def test_a_copy_of_another_file(face: Face, reach: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(reach, tmp_path / "program"))
    prepared = plan(program, "pid", flags=PlanFlag.COPY)
    with program.open("ab") as file:
        file.write(b"\0")
    outcome = face.launch(prepared)
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors[0].startswith("shim: measure-file: sha256 found ")


@pytest.mark.parametrize("way", ["missing", "directory"])
def test_a_copy_of_nothing(face: Face, reach: Path, tmp_path: Path, way: str) -> None:
    program = Path(shutil.copy(reach, tmp_path / "program"))
    prepared = plan(program, "pid", flags=PlanFlag.COPY)
    program.unlink()
    if way == "directory":
        program.mkdir()
    assert face.launch(prepared).exit_code == {"missing": 127, "directory": 126}[way]


SHIM = str(ROOT / ".venv" / "bin" / "shim")
REFUSED_OPTIONS = {
    ("--limit", "nofile"): "want NAME=SOFT[:HARD]",
    ("--limit", "core=1"): "want NAME=SOFT[:HARD]",
    ("--limit", "nofile=9:8"): "SOFT at most HARD",
    ("--limit", "nofile=-1"): "want a number",
    ("--timeout", "soon"): "want a time",
    ("--timeout", "0"): "want a time",
    ("--memory", "64m"): "found no cgroup, want --cgroup PATH beside it",
    ("--pids", "9"): "found no cgroup, want --cgroup PATH beside it",
    ("--cpus", "1.5"): "found no cgroup, want --cgroup PATH beside it",
    ("--cgroup", "/", "--memory", "0"): "want a size above 0",
    ("--cgroup", "/", "--memory", "8q"): "want a number",
    ("--cgroup", "/", "--memory", "unlimited"): "want a size above 0",
    ("--cgroup", "/", "--pids", "0"): "0 is not in the range",
    ("--cgroup", "/", "--cpus", "0"): "not in the range",
    ("--bind", "65536"): "65536",
    ("--uid", "-1"): "-1",
    ("--namespace", "time"): "time",
    ("--ro", "/nowhere"): "found no /nowhere",
}


@pytest.mark.parametrize("options", REFUSED_OPTIONS, ids="=".join)
def test_options_that_are_not_understood(reach: Path, options: tuple[str, str]) -> None:
    command = [SHIM, "run", "--tee", "simulated", *options, "--", str(reach), "pid"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert REFUSED_OPTIONS[options] in done.stderr
    assert done.stdout == ""


def test_the_options_of_shim_run(reach: Path, files: Path) -> None:
    command = [SHIM, "run", "--tee", "simulated", "--ro", str(files / "open"), "--limit", "nofile=9:10"]
    command += ["--timeout", "20s", "--new-session", "--no-network", "--", str(reach)]
    for way, path, want in (("read", "open/file", "ok\n"), ("read", "shut/file", "EACCES\n")):
        done = subprocess.run([*command, way, str(files / path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, want)


def test_limits_become_those_of_the_plan() -> None:
    from shim.cli.confining import _limits  # noqa: PLC0415

    assert _limits(("as=1g:2G", "nofile=64", "cpu=unlimited")) == (
        ResourceLimit(0, 2**64 - 1, 2**64 - 1),
        ResourceLimit(7, 64, 64),
        ResourceLimit(9, 2**30, 2**31),
    )
