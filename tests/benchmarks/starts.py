"""From an OCI layout on disk to the first byte that the program says, unpacked by umoci and run by runc."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What says nothing for so long is not going to.
SECONDS = 20


def missing() -> str:
    """Return why nothing can be started here, "" if it can."""
    absent = [name for name in ("umoci", "runc") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} is not installed"
    return "" if os.geteuid() == 0 else "runc needs root"


def fastest(layout: Path, work: Path, times: int, says: bytes) -> dict[str, float] | None:
    """
    Return the least milliseconds until the files are unpacked and until the first byte, of several starts.

    None if the program cannot be run: what comes out has to hold `says`, so that no runtime's error counts.
    The layout has been read or written before: what is measured is no disk.
    """
    found = [_start(layout, work / f"bundle-{number}", says) for number in range(times)]
    said = [row for row in found if row is not None]
    if len(said) < times:
        return None
    unpacked, first = (min(row[at] for row in said) for at in (0, 1))
    return {"unpacked ms": round(unpacked * 1000, 1), "first byte ms": round(first * 1000, 1)}


def _start(layout: Path, bundle: Path, says: bytes) -> tuple[float, float] | None:
    """Return the seconds until the files were there and until the program said something."""
    try:
        started = time.perf_counter()
        unpack = ["umoci", "--log=error", "unpack", "--image", f"{layout}:latest", str(bundle)]
        subprocess.run(unpack, check=True)
        unpacked = time.perf_counter() - started
        _without_terminal(bundle / "config.json")
        begun = time.perf_counter()
        with _running(bundle) as output:
            said = _read(output)
            first = unpacked + time.perf_counter() - begun
            while says not in said and (more := _read(output)):
                said += more
        return (unpacked, first) if says in said else None
    finally:
        shutil.rmtree(bundle, ignore_errors=True)


def _read(output: int) -> bytes:
    ready, _, _ = select.select([output], [], [], SECONDS)
    return os.read(output, 4096) if ready else b""


@contextmanager
def _running(bundle: Path) -> Iterator[int]:
    """Run a bundle and give what it writes; its end is not waited for."""
    name = f"shim-bench-{os.getpid()}-{bundle.name}"
    command = ["runc", "run", "--bundle", str(bundle), name]
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert running.stdout is not None
        yield running.stdout.fileno()
    finally:
        subprocess.run(["runc", "kill", name, "KILL"], capture_output=True, check=False)
        running.communicate()
        subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False)


def _without_terminal(config: Path) -> None:
    value = json.loads(config.read_text())
    value["process"]["terminal"] = False
    config.write_text(json.dumps(value))
