"""Arguments behind the plan: none unless it takes them, and then all of them and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shim.launch._native import ffi, lib
from shim.launch.plan import PlanFlag
from tests.native.launching import LAUNCHER, plan_for

BUSYBOX = Path("/bin/busybox")
TAKES = PlanFlag.ARGUMENTS
MIB = 1 << 20

pytestmark = pytest.mark.skipif(not BUSYBOX.exists(), reason="no busybox here")


def launched(
    tmp_path: Path, flags: PlanFlag, *more: str, own: tuple[str, ...] = ("echo", "own")
) -> subprocess.CompletedProcess[str]:
    plan = tmp_path / "plan"
    plan.write_bytes(plan_for(BUSYBOX, *own, flags=flags))
    return subprocess.run(
        [str(LAUNCHER), str(plan), *more], capture_output=True, text=True, check=False, timeout=30
    )


def test_a_plan_takes_none_by_itself(tmp_path: Path) -> None:
    done = launched(tmp_path, PlanFlag(0), "more")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == (
        "shim: arguments: found 1 behind the plan's 3, want none: what the program gets as arguments is in "
        "the plan, and nothing is added to it (shim build --arguments allow)\n"
    )
    assert launched(tmp_path, PlanFlag(0)).stdout == "own\n"


@pytest.mark.parametrize(
    "more", [(), ("a",), ("", ""), ("--help",), ("a b", "\n", "-c", "ü"), ("x" * 100_000, "y")], ids=range(6)
)
def test_what_is_appended_comes_behind_the_own_ones(tmp_path: Path, more: tuple[str, ...]) -> None:
    own = ("printf", "<%s>", "own")
    done = launched(tmp_path, TAKES, *more, own=own)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"<{one}>" for one in ("own", *more))


def test_environment_is_not_among_them(tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_bytes(plan_for(BUSYBOX, "env", flags=TAKES, environment=(b"A=1",)))
    done = subprocess.run(
        [LAUNCHER, plan],
        capture_output=True,
        text=True,
        env={"B": "2", "LD_PRELOAD": ""},
        check=True,
        timeout=30,
    )
    assert done.stdout == "A=1\n"


def test_too_many_are_refused(tmp_path: Path) -> None:
    assert launched(tmp_path, TAKES, *["x"] * 65_533).stdout.count("x") == 65_533
    done = launched(tmp_path, TAKES, *["x"] * 65_534)
    assert (done.returncode, done.stdout) == (125, "")
    assert "found 65534 behind the plan's 3, want at most 65536 together" in done.stderr


def appended(flags: PlanFlag, *arguments: bytes) -> tuple[int, bytes, str]:
    """Return what plan_append says, the arguments then, and its complaint."""
    data = plan_for(BUSYBOX, "echo", flags=flags)
    plan, fault = ffi.new("struct plan *"), ffi.new("struct plan_fault *")
    kept = ffi.from_buffer(data)
    assert lib.plan_read(kept, len(data), plan, fault) == 0
    room = ffi.new("char[]", 4 * MIB)
    strings = [ffi.new("char[]", one) for one in arguments]
    done = lib.plan_append(plan, ffi.new("char *[]", strings), len(strings), room, fault)
    after = bytes(ffi.buffer(plan.argv, plan.argv_size))
    assert after.count(0) == plan.argc
    return done, after, "" if done == 0 else ffi.string(fault.found).decode()


OWN = b"/bin/busybox\0echo\0"


@pytest.mark.parametrize("short", [0, 1])
def test_their_length_is_counted_to_the_byte(short: int) -> None:
    """More than the kernel passes on at once; who reads the plan need not know what that is."""
    room = 4 * MIB - len(OWN) - 2
    done, after, found = appended(TAKES, b"a", b"b" * (room - short))
    if short:
        assert (done, after) == (0, OWN + b"a\0" + b"b" * (room - 1) + b"\0")
    else:
        assert (done, after) == (-1, OWN)
        assert found == f"{4 * MIB - len(OWN) + 1} bytes or more behind the plan's {len(OWN)}"


def test_a_sum_that_would_overflow_is_none() -> None:
    done, after, _ = appended(TAKES, *[b"c" * (3 * MIB)] * 3)
    assert (done, after) == (-1, OWN)


def test_what_is_refused_changes_nothing() -> None:
    assert appended(PlanFlag(0), b"a")[:2] == (-1, OWN)
    assert appended(PlanFlag(0))[:2] == (0, OWN)
