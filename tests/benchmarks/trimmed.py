# ruff: noqa: ANN401  # the modules of the shared corpus have no types
"""
Do trimmed programs still do what they are asked to?

`python -m tests.benchmarks.trimmed [PROGRAM...]` builds each program of the shared corpus with `shim build --trim`
and runs its workload on what is left, without a filter: nothing but a missing function can end it.  A trap shows in
the kernel's log with the name of the program; other programs that a workload starts find the trimmed libraries, too,
and their traps do not count.  As root, after `make corpus`.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.corpus import SHARED, built

COMMAND = "from shim.cli.main import main; main()"
MODULES = {"lighttpd": ["--modules", "/usr/lib/lighttpd"]}
TRAP = re.compile(r"traps: (\S+)\[\d+\] trap invalid opcode (.*)")


def main() -> int:
    """Run the workloads, print what trapped; 1 if something did, or nothing ran."""
    work = Path(tempfile.mkdtemp(prefix="shim-trimmed-"))
    sys.path[:0] = [str(SHARED)]
    ran, trapped = 0, 0
    try:
        truth = importlib.import_module("gt")
        workloads = importlib.import_module("workloads_open").WORK
        for name in sys.argv[1:] or workloads:
            if (built() / name).exists():
                traps = _run(name, workloads[name], truth, work)
                ran, trapped = ran + 1, trapped + bool(traps)
                print(f"{name:24} {'TRAPPED ' + traps[0] if traps else 'did its work'}", flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{ran - trapped} of {ran} did their work")
    return 1 if trapped or not ran else 0


def _run(name: str, workload: Any, truth: Any, work: Path) -> list[str]:
    """Return where a trimmed program trapped."""
    tree = work / f"{name}.tree"
    build = [sys.executable, "-c", COMMAND, "build", "--trim", "--format", "rootfs", "--as", f"/bin/{name}"]
    given = [*MODULES.get(name, []), "-o", str(tree), str(built() / name)]
    subprocess.run([*build, *given], check=True, capture_output=True)
    place = work / "bin" / "open" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(tree / "bin" / name, place)
    libraries = ":".join(sorted({str(path.parent) for path in tree.rglob("*.so*")}))
    truth.BIN, truth.TR = str(work / "bin"), str(work)
    truth.st = lambda _, command: ["env", f"LD_LIBRARY_PATH={libraries}", *command]
    truth.W.bg, truth.W.stop, truth.W.kid = _begin(truth), _end, lambda _, process: process.pid
    before = len(_traps(name))
    workload(truth.W(name, "open"))
    return _traps(name)[before:]


def _begin(truth: Any) -> Any:
    def begin(at: Any, arguments: list[str], env: Any = None, user: str | None = None) -> Any:
        return subprocess.Popen(
            truth.st(None, [at.bin, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": at.d, **(env or {})},
            cwd=at.d,
            start_new_session=True,
            user=user,
        )

    return begin


def _end(_: Any, process: Any, sig: int = signal.SIGTERM, wait: float = 8) -> None:
    process.send_signal(sig)
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _traps(name: str) -> list[str]:
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    return [where for by, where in TRAP.findall(log) if by == name[:15]]


if __name__ == "__main__":
    sys.exit(main())
