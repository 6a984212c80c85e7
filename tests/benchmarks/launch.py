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

from shim.launch.native import run
from shim.launch.plan import LaunchPlan
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


def measure(n: int = 300) -> dict[str, Any]:
    """
    Return minimum, median and 99th percentile of N launches per row in microseconds, and ratios to fork+exec.

    The program is a static musl hello whose output goes to /dev/null. Peers that are not installed are listed
    under `skipped`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness, hello, plan = _built(folder)
        rows, skipped = _commands(harness, hello, plan)
        times: dict[str, list[float]] = {row: [] for row in (*rows, "cffi run()")}
        part = max(1, n // ROUNDS)
        for _ in range(ROUNDS):
            for row, command in rows.items():
                done = subprocess.run([str(word) for word in command(part)], check=True, capture_output=True)
                times[row] += [int(line) / 1000 for line in done.stdout.split()]
            times["cffi run()"] += _by_cffi(plan.read_bytes(), part)
    base = min(times["fork+exec"])
    return {
        "unit": "us",
        "launches": part * ROUNDS,
        "root": os.geteuid() == 0,
        "rows": {row: _summary(sorted(values), base) for row, values in times.items()},
        "skipped": skipped,
    }


def _built(folder: Path) -> tuple[Path, Path, Path]:
    harness, hello, plan = folder / "spawn_times", folder / "hello", folder / "hello.plan"
    source = folder / "hello.c"
    source.write_text(HELLO, encoding="ascii")
    static = ["musl-gcc", "-static", "-Os", "-s"]
    subprocess.run([*static, source, "-o", hello], check=True)
    subprocess.run([*static, ROOT / "tests" / "benchmarks" / "spawn_times.c", "-o", harness], check=True)
    digest = hashlib.sha256(hello.read_bytes()).digest()
    plan.write_bytes(encode(LaunchPlan(os.fsencode(hello), digest, FILTER, (b"hello",))))
    return harness, hello, plan


def _commands(harness: Path, hello: Path, plan: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the rows, each a function of the number of launches, and why others are missing."""
    rows: dict[str, Any] = {
        "fork+exec": lambda count: [harness, "fork", count, hello],
        "vfork+exec": lambda count: [harness, "vfork", count, hello],
        "shim-launch PLAN": lambda count: [harness, "vfork", count, LAUNCHER, plan],
    }
    peers = {
        "bwrap": ["bwrap", "--unshare-all", "--ro-bind", "/", "/", hello],
        "minijail0": ["minijail0", "-n", hello],
        "firejail": ["firejail", "--quiet", "--noprofile", "--seccomp", hello],
    }
    skipped = {}
    for name, command in peers.items():
        found = shutil.which(name)
        if found is None:
            skipped[name] = "not installed"
        elif (
            subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode != 0
        ):
            skipped[name] = "does not run here"
        else:
            arguments = [found, *command[1:]]
            rows[name] = lambda count, words=arguments: [harness, "vfork", max(1, count // 10), *words]
    return rows, skipped


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
