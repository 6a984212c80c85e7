"""A cgroup of the program's own: born into it, limited by it, ended with it."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.launch.plan import Cgroup, PlanFlag
from shim.launch.plan_codec import decode, encode
from tests.guest import boot
from tests.native.launching import LAUNCHER, Face, all_but, plan_for
from tests.native.test_faults import ERRORS, each_call

Probe = Callable[[str], Path]
BUSYBOX = Path("/usr/bin/busybox")
MB = 1 << 20


def hierarchy() -> Path | None:
    """The first cgroup v2 hierarchy in which this user may make directories."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    return None


@pytest.fixture
def parent() -> Iterator[Path]:
    found = hierarchy()
    if found is None:
        pytest.skip("no cgroup v2 directory that this user may write to")
    own = found / f"test-{os.getpid()}"
    own.mkdir()
    yield own
    for left in own.glob("shim-*"):
        left.rmdir()
    own.rmdir()


def inside(plan: bytes, parent: Path | bytes, **limits: int) -> bytes:
    where = parent if isinstance(parent, bytes) else os.fsencode(parent)
    return encode(dataclasses.replace(decode(plan), cgroup=Cgroup(where, **limits)))


def shell(script: str) -> bytes:
    return plan_for(BUSYBOX, "sh", "-c", script, filter=all_but(()), flags=PlanFlag.EXEC_ALLOWED)


@pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is not installed")
def test_the_program_is_born_into_it_and_nothing_is_left(face: Face, parent: Path) -> None:
    started = time.monotonic()
    outcome = face.launch(
        inside(shell("/usr/bin/busybox grep ^0: /proc/self/cgroup; /usr/bin/busybox sleep 60 & :"), parent)
    )
    assert (outcome.exit_code, outcome.errors) == (0, ())
    assert f"/{parent.name}/shim-" in outcome.output
    assert time.monotonic() - started < 30  # the sleeper holds the output open: it was killed
    assert list(parent.glob("shim-*")) == []


def test_it_is_gone_after_a_launch_that_failed(face: Face, probe: Probe, parent: Path) -> None:
    outcome = face.launch(inside(plan_for(probe("print_state"), digest=bytes(32)), parent))
    assert outcome.exit_code == 125
    assert list(parent.glob("shim-*")) == []


def test_what_a_killed_launcher_left_is_no_obstacle(probe: Probe, parent: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_bytes(inside(plan_for(probe("spin"), "60000"), parent))
    with subprocess.Popen([LAUNCHER, path], stdout=subprocess.PIPE) as killed:
        while not list(parent.glob("shim-*/cgroup.procs")) or not _members(parent):
            time.sleep(0.01)
        (left,) = parent.glob("shim-*")
        killed.send_signal(signal.SIGKILL)
    while _members(parent):
        time.sleep(0.01)
    assert left.is_dir()
    # The same name again: the next launcher has the same number only by chance, so the name is given to it.
    code = f"mkdir -p {parent}/shim-$$ && exec {LAUNCHER} {path}"
    path.write_bytes(inside(plan_for(probe("print_state")), parent))
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(parent.glob("shim-*")) == [left]


def _members(parent: Path) -> list[str]:
    return [pid for one in parent.glob("shim-*/cgroup.procs") for pid in one.read_text().split()]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"memory": MB}, "no memory.max: write +memory to the parent's cgroup.subtree_control"),
        ({"processes": 1}, "no pids.max: write +pids to the parent's cgroup.subtree_control"),
        (
            {"cpu_quota": 1000, "cpu_period": 1000},
            "no cpu.max: write +cpu to the parent's cgroup.subtree_control",
        ),
    ],
)
def test_a_controller_that_is_not_enabled(
    face: Face, probe: Probe, parent: Path, limits: dict[str, int], reason: str
) -> None:
    outcome = face.launch(inside(plan_for(probe("print_state")), parent, **limits))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors == (f"shim: make-cgroup: {reason}",)
    assert list(parent.glob("shim-*")) == []


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (b"/no/such/place", "the plan's cgroup is not there"),
        (b"/tmp", "the plan's cgroup is no directory of cgroup v2"),
        (b"/proc/self/status", "Not a directory"),
    ],
)
def test_a_directory_that_is_no_cgroup(face: Face, probe: Probe, where: bytes, reason: str) -> None:
    outcome = face.launch(inside(plan_for(probe("print_state")), where))
    assert (outcome.exit_code, outcome.errors) == (125, (f"shim: make-cgroup: {reason}",))


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_each_call_of_the_launcher_fails_once(
    native_build: Callable[[str], Path], probe: Probe, parent: Path, tmp_path: Path, error: int
) -> None:
    faulty = native_build("faults") / "shim-launch-faults"
    outcomes = each_call(faulty, inside(plan_for(probe("print_state")), parent), tmp_path, error)
    assert sum("make-cgroup: " in done.stderr for done in outcomes) >= 4
    for done in outcomes:
        assert done.stdout == "" or "Seccomp:\t2\n" in done.stdout or "Seccomp 2\n" in done.stdout
    assert _members(parent) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_a_user_who_may_not(probe: Probe, parent: Path, public_folder: Path) -> None:
    path = public_folder / "plan"
    path.write_bytes(inside(plan_for(probe("print_state")), parent))
    launcher = public_folder / "shim-launch"
    launcher.write_bytes(LAUNCHER.read_bytes())
    launcher.chmod(0o755)
    done = subprocess.run(
        [launcher, path], capture_output=True, text=True, check=False, user=65534, group=65534
    )
    assert done.returncode == 125
    assert "make-cgroup: this user may not make a cgroup below the plan's" in done.stderr


def test_limits_hold(probe: Probe, tmp_path: Path) -> None:
    """The controllers are absent on many test machines, so this is a machine of its own."""
    root = b"/sys/fs/cgroup"
    programs = {name: probe(name) for name in ("use_memory", "fork_many", "spin", "print_state")}

    def planned(name: str, *arguments: str, **limits: int) -> bytes:
        plan = decode(inside(plan_for(programs[name], *arguments), root, **limits))
        return encode(dataclasses.replace(plan, program=f"/bin/{name}".encode()))

    half = {"cpu_quota": 20_000, "cpu_period": 100_000}
    plans = {
        "/enough": planned("use_memory", "8", memory=64 * MB),
        "/too-much": planned("use_memory", "64", memory=16 * MB),
        "/few": planned("fork_many", "40", processes=10),
        "/many": planned("fork_many", "40"),
        "/slow": planned("spin", "3000", **half),
        "/fast": planned("spin", "3000"),
        "/without": planned("print_state", memory=MB),
    }
    files = {f"/bin/{name}": program.read_bytes() for name, program in programs.items()}
    script = "/bin/shim-launch /without; echo exit $?\n"
    script += "echo +memory +pids +cpu > /sys/fs/cgroup/cgroup.subtree_control\n"
    script += "".join(f"/bin/shim-launch {name}; echo exit $?\n" for name in list(plans)[:-1])
    script += "ls -d /sys/fs/cgroup/shim-*\n"
    lines = boot(tmp_path, {**files, **plans, "/bin/shim-launch": LAUNCHER.read_bytes()}, script)
    print("\n".join(lines))
    computed = [int(line.split()[1]) for line in lines if line.startswith("computed")]
    assert [line for line in lines if line.startswith("exit")] == [
        f"exit {code}" for code in (125, 0, 137, 0, 0, 0, 0)
    ]
    assert [line for line in lines if line.startswith(("used", "started"))] == [
        "used 1",
        "started 9",
        "started 40",
    ]
    assert sum("needed more memory than it may have" in line for line in lines) == 1
    slow, fast = computed
    assert slow < 1200 < fast
    assert any("No such file" in line for line in lines[-2:])
