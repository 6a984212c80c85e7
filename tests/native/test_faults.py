"""Every system call of the launcher fails once: the program never runs without its filter, and nobody hangs."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.launch.confinement import Confinement, landlock_for
from shim.launch.plan import Identity, LaunchPlan, PlanFlag, ResourceLimit
from shim.launch.plan_codec import encode
from tests.native.launching import EXEC, GETPPID, ROOT, all_but, plan_for
from tests.native.test_death import wait_until_gone
from tests.native.test_reach import plan as confined_plan, profile_of
from tests.native.test_stages import staged_plan

Probe = Callable[[str], Path]
ERRORS = (errno.ENOMEM, errno.EPERM, errno.EAGAIN)
MOST_CALLS = 400
SECONDS = 20


@pytest.fixture(scope="module")
def faulty(native_build: Callable[[str], Path]) -> Path:
    return native_build("faults") / "shim-launch-faults"


def launched(faulty: Path, path: Path, error: int, call: int) -> subprocess.CompletedProcess[str]:
    command = [str(faulty), str(error), str(call), str(path)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
    )


def each_call(faulty: Path, plan: bytes, folder: Path, error: int) -> list[subprocess.CompletedProcess[str]]:
    """The outcomes with the first call failing, the second, and so on, until none is left to fail."""
    path = folder / "plan"
    path.write_bytes(plan)
    outcomes = []
    for call in range(MOST_CALLS):
        done = launched(faulty, path, error, call)
        if "fault: never " in done.stderr:
            return outcomes
        outcomes.append(done)
    pytest.fail(f"more than {MOST_CALLS} calls")


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_plain_launch(faulty: Path, probe: Probe, tmp_path: Path, error: int) -> None:
    mark = f"mark-{os.getpid()}-faults"
    outcomes = each_call(faulty, plan_for(probe("print_state"), mark), tmp_path, error)
    refused = [done for done in outcomes if done.returncode in {125, 126}]
    assert len(refused) > 40
    for done in outcomes:
        # What ran had its filter, whatever else went wrong.
        assert done.stdout == "" or "Seccomp:\t2\n" in done.stdout or "Seccomp 2\n" in done.stdout
        if done.returncode in {125, 126} and done.stdout == "":
            assert "shim: " in done.stderr or "usage" in done.stderr or done.stderr.startswith("fault: call ")
    assert wait_until_gone(mark) == []


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_launch_with_a_refused_call(faulty: Path, probe: Probe, tmp_path: Path, error: int) -> None:
    """Whatever fails, the call is not made."""
    plan = plan_for(probe("call_at_once"), filter=all_but((*EXEC, GETPPID)))
    for done in each_call(faulty, plan, tmp_path, error):
        assert done.stdout == ""
        assert done.returncode != 0


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_launch_with_everything(faulty: Path, tmp_path: Path, error: int) -> None:
    program = tmp_path / "reach"
    source = ROOT / "tests" / "probes" / "reach.c"
    subprocess.run(["gcc", "-static", "-O1", str(source), "-o", str(program)], check=True)
    confinement = Confinement(
        read=("/etc/hosts",),
        no_network=True,
        limits=(ResourceLimit(7, 64, 64),),
        namespaces=0x2000_0000 if os.geteuid() == 0 else 0,
        identity=Identity(os.geteuid(), os.getegid()) if os.geteuid() == 0 else None,
        flags=PlanFlag.NEW_SESSION | PlanFlag.COPY | PlanFlag.NO_EXEC_GAIN,
    )
    assert landlock_for(confinement, profile_of(program), str(program), os.path.exists) is not None
    for done in each_call(
        faulty, confined_plan(program, "read", "/etc/passwd", confinement=confinement), tmp_path, error
    ):
        # Never what Landlock would have refused.
        assert done.stdout in {"", "EACCES\n"}


@pytest.mark.parametrize("way", ["late", "refused"])
def test_a_launch_through_a_boundary(faulty: Path, tmp_path: Path, way: str) -> None:
    program = tmp_path / "staged"
    source = ROOT / "tests" / "probes" / "staged.c"
    subprocess.run(["gcc", "-static", "-O1", "-pthread", str(source), "-o", str(program)], check=True)
    plan: LaunchPlan = staged_plan(program, way)
    for done in each_call(faulty, encode(plan), tmp_path, errno.ENOMEM):
        # The refused call is not made; or the boundary was missed, and that is said.
        kept = way == "late" and "kept" in done.stderr
        assert "end" not in done.stdout or kept
        assert done.returncode != 0 or kept
