"""
How long does it take to derive a profile, and how much memory?

Each program in a process of its own, from the first instruction of the interpreter on, with no cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BUSYBOX = Path("/usr/bin/busybox")
# Go, 50 MB and more, where there is one.
LARGE_GO = Path("/usr/bin/kubectl")
LARGE = 40_000_000
COMMAND = "from shim.cli.main import main; main()"


def measure(programs: list[Path], runs: int = 3) -> dict[str, dict[str, Any]]:
    """
    Return wall-clock seconds (minimum), without and with a filled cache, peak memory in MB and the number of syscalls.

    One row per program; a large one is run once.
    """
    return {
        program.name: _measure(program, runs if program.stat().st_size < LARGE else 1)
        for program in programs
        if program.exists()
    }


def _measure(program: Path, runs: int) -> dict[str, Any]:
    timed = [_timed(program, "--no-cache") for _ in range(runs)]
    with tempfile.TemporaryDirectory() as cache:
        _timed(program, cache=cache)
        kept = [_timed(program, cache=cache)[0] for _ in range(runs)]
    return {
        "seconds": round(min(seconds for seconds, _ in timed), 3),
        "kept": round(min(kept), 3),
        "peak_mb": _peak(program),
        "syscalls": timed[0][1],
    }


def _timed(program: Path, *options: str, cache: str = "") -> tuple[float, int]:
    """Return the seconds of the whole command, and the number of names it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "profile", *options, "--format", "names", str(program)],
        capture_output=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": cache},
    )
    return time.perf_counter() - started, len(done.stdout.splitlines())


def _peak(program: Path) -> int:
    """
    Return the peak resident memory, in MB, of one more run that reports its own.

    Of the memory since its exec: what getrusage() says has that of whoever started it.
    """
    words = ["profile", "--no-cache", "--format", "names", "-o", os.devnull, str(program)]
    code = (
        f"from shim.cli.main import run; run({words!r})\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) // 1024
