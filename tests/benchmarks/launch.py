"""
How long does a launch take, next to starting the program plainly and to other launchers?

`python tests/benchmarks/launch.py [N]` prints the rows; `measure(n)` returns them. The rows take turns, so that
a busy moment of the machine hits all of them; compare minima.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.launch.compose import compose
from shim.launch.confinement import Confinement
from shim.launch.layout import layout_of
from shim.launch.native import run
from shim.launch.plan import LaunchPlan, PlanFlag, ResourceLimit
from shim.launch.plan_codec import encode

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "shim" / "launch" / "shim-launch"
ROUNDS = 30

HELLO = '#include <unistd.h>\nint main(void) { return write(1, "hello\\n", 6) != 6; }\n'

# Allows all but exec, in the form a compiled profile has: architecture, x32, numbers.
_REFUSED = (59, 322)
_ROWS = [
    (0x20, 0, 0, 4),
    (0x15, 1, 0, 0xC000003E),
    (0x06, 0, 0, 0x80000000),
    (0x20, 0, 0, 0),
    (0x35, 0, 1, 0x40000000),
    (0x06, 0, 0, 0x80000000),
    *[row for number in _REFUSED for row in ((0x15, 0, 1, number), (0x06, 0, 0, 0x7FC00000))],
    (0x06, 0, 0, 0x7FFF0000),
]
FILTER = b"".join(struct.pack("<HBBI", *row) for row in _ROWS)


PROGRAMS = ("musl hello", "glibc hello", "busybox")
BUSYBOX = Path("/usr/bin/busybox")


def measure(n: int = 300) -> dict[str, Any]:
    """
    Return minimum, median and 99th percentile of N launches per row in microseconds, and ratios to fork+exec.

    For each of `PROGRAMS`, all static, whose output goes to /dev/null. "everything on" is a plan of the
    program's own profile: pinned, sealed, no exec gain, no files but its own, no network, limits, a session.
    Peers that are not installed are listed under `skipped`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness = folder / "spawn_times"
        _compile(
            ["musl-gcc", "-static", "-Os", "-s"], ROOT / "tests" / "benchmarks" / "spawn_times.c", harness
        )
        programs = _programs(folder)
        measured = {program: _measured(harness, folder, command, n) for program, command in programs.items()}
    rows, skipped = measured["musl hello"]
    return {
        "unit": "us",
        "launches": max(1, n // ROUNDS) * ROUNDS,
        "root": os.geteuid() == 0,
        "rows": rows,
        "others": {program: others for program, (others, _) in measured.items() if program != "musl hello"},
        "skipped": skipped,
        "waiting_kb": waiting_kb(),
    }


def waiting_kb() -> int:
    """Return the peak resident memory of a launcher that waits for its program, in kB."""
    with tempfile.TemporaryDirectory() as name:
        source, program, plan = (Path(name) / part for part in ("wait.c", "wait", "plan"))
        source.write_text("#include <unistd.h>\nint main(void) { return pause(); }\n", encoding="ascii")
        _compile(["musl-gcc", "-static", "-Os", "-s"], source, program)
        plan.write_bytes(_everything_on([str(program)]))
        process = subprocess.Popen([LAUNCHER, plan])
        time.sleep(0.3)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        process.kill()
        process.wait()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _compile(command: list[str], source: Path, target: Path) -> None:
    subprocess.run([*command, str(source), "-o", str(target)], check=True)


def _programs(folder: Path) -> dict[str, list[str]]:
    """Return the command of each program that is there."""
    (folder / "hello.c").write_text(HELLO, encoding="ascii")
    _compile(["musl-gcc", "-static", "-Os", "-s"], folder / "hello.c", folder / "musl")
    _compile(["gcc", "-static", "-Os", "-s"], folder / "hello.c", folder / "glibc")
    found = {"musl hello": [str(folder / "musl")], "glibc hello": [str(folder / "glibc")]}
    if BUSYBOX.exists():
        found["busybox"] = [str(BUSYBOX), "true"]
    return found


def _measured(
    harness: Path, folder: Path, command: list[str], n: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the rows of one program, which take turns, and what is not measured."""
    bare, full = folder / "bare.plan", folder / "full.plan"
    bare.write_bytes(_bare(command))
    full.write_bytes(_everything_on(command))
    rows, skipped = _commands(harness, command, bare, full)
    in_process = {"cffi run()": bare, "cffi run(), everything on": full}
    times: dict[str, list[float]] = {row: [] for row in (*rows, *in_process, "python subprocess")}
    part = max(1, n // ROUNDS)
    for _ in range(ROUNDS):
        for row, words in rows.items():
            done = subprocess.run([str(word) for word in words(part)], check=True, capture_output=True)
            times[row] += [int(line) / 1000 for line in done.stdout.split()]
        for row, plan in in_process.items():
            times[row] += _by_cffi(plan.read_bytes(), part)
        times["python subprocess"] += _by_subprocess(command, part)
    base = min(times["fork+exec"])
    return {row: _summary(sorted(values), base) for row, values in times.items()}, skipped


def _bare(command: list[str]) -> bytes:
    digest = hashlib.sha256(Path(command[0]).read_bytes()).digest()
    argv = tuple(os.fsencode(word) for word in command)
    return encode(LaunchPlan(os.fsencode(command[0]), digest, FILTER, argv))


def _everything_on(command: list[str]) -> bytes:
    path = command[0]
    data = Path(path).read_bytes()
    profile = derive(data, path)
    confinement = Confinement(
        no_files=True,
        no_network=True,
        limits=(ResourceLimit(7, 64, 64),),
        flags=PlanFlag.NEW_SESSION,
    )
    layout = layout_of(profile, parse_elf(data, path), RootedFiles("/").read)
    plan = compose(
        profile, path, command, {}, layout=layout, require=("mdwe", "mseal"), confinement=confinement
    )
    return encode(plan)


def _commands(
    harness: Path, command: list[str], bare: Path, full: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the rows, each a function of the number of launches, and why others are missing."""
    rows: dict[str, Any] = {
        "fork+exec": lambda count: [harness, "fork", count, *command],
        "vfork+exec": lambda count: [harness, "vfork", count, *command],
        "shim-launch PLAN": lambda count: [harness, "vfork", count, LAUNCHER, bare],
        "shim-launch PLAN, everything on": lambda count: [harness, "vfork", count, LAUNCHER, full],
    }
    peers = {
        "bwrap": ["bwrap", "--unshare-all", "--ro-bind", "/", "/", *command],
        "minijail0": ["minijail0", "-n", *command],
        "nsjail": ["nsjail", "-Mo", "-Q", "--", *command],
        "firejail": ["firejail", "--quiet", "--noprofile", "--seccomp", *command],
    }
    skipped = dict.fromkeys(("crun", "runc"), "needs an image, which no launch of a program does")
    for name, words in peers.items():
        found = shutil.which(name)
        if found is None:
            skipped[name] = "not installed"
        elif subprocess.run(words, capture_output=True, check=False).returncode != 0:
            skipped[name] = "does not run here"
        else:
            arguments = [found, *words[1:]]
            rows[name] = lambda count, words=arguments: [harness, "vfork", max(1, count // 10), *words]
    return rows, skipped


def _by_subprocess(command: list[str], count: int) -> list[float]:
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter_ns() - start) / 1000)
    return times


def _by_cffi(plan: bytes, count: int) -> list[float]:
    """Launch from this Python process, its standard output put away meanwhile."""
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    times = []
    try:
        for _ in range(count):
            start = time.perf_counter_ns()
            run(plan)
            times.append((time.perf_counter_ns() - start) / 1000)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)
    return times


def _summary(values: list[float], base: float) -> dict[str, float]:
    last = values[min(len(values) - 1, int(len(values) * 0.99))]
    return {
        "min": round(values[0], 1),
        "median": round(statistics.median(values), 1),
        "p99": round(last, 1),
        "ratio": round(values[0] / base, 2),
    }


def main() -> None:
    """Print the rows as JSON."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    sys.stdout.write(json.dumps(measure(n), indent=2) + "\n")


if __name__ == "__main__":
    main()
