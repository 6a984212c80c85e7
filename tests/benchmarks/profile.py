"""
How long does it take to derive a profile, and how much memory?

Each program in a process of its own, from the first instruction of the interpreter on, with no cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
COMMAND = "from shim.cli.main import main; main()"


def measure(programs: list[Path], runs: int = 3) -> dict[str, dict[str, object]]:
    """Return wall-clock seconds (minimum), peak memory in MB and the number of syscalls, per program."""
    return {program.name: _measure(program, runs) for program in programs if program.exists()}


def _measure(program: Path, runs: int) -> dict[str, object]:
    seconds, peak, names = [], 0, b""
    for _ in range(runs):
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND, "profile", "--no-cache", "--format", "names", str(program)],
            stdout=subprocess.PIPE,
        ) as process:
            names = process.communicate()[0]
            # The kernel keeps the peak of the largest child; with one child at a time it is this one's.
        seconds.append(time.perf_counter() - started)
        peak = max(peak, _peak(program))
    return {"seconds": round(min(seconds), 3), "peak_mb": peak, "syscalls": len(names.splitlines())}


def _peak(program: Path) -> int:
    """Return the peak resident memory, in MB, of one more run that reports its own."""
    code = (
        f"import resource; from shim.cli.main import run; run(['profile', '--no-cache', '--format', 'names', '-o', '{os.devnull}', "
        f"{str(program)!r}]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])
