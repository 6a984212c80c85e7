"""
What does the first process of a machine cost: its time, its memory, its size?

In QEMU under TCG, from the first instruction of `shim-init` to that of the program, on the guest's own clock, without
a channel, a network and modules; apart from that the steps of a whole handshake, with whoever answers on this
machine.  `python -m tests.benchmarks.machine` prints this alone.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.guest import SECONDS, kernel, machine_command
from tests.native.launching import ROOT
from tests.native.machine import SHIM, WORDS, Machine

BOOTS = 3
# The guest's clock counts its instructions, one in a nanosecond.
COUNTED = ("-icount", "shift=0,sleep=off")
MEGABYTE = 1 << 20
PADDING = 16 * MEGABYTE
HELLO = """
#include <stdio.h>
#include <time.h>
#ifdef PADDING
__attribute__((used)) static const char padding[PADDING] = { 1 };
#endif
int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("program=%lld\\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    return 0;
}
"""


def measure() -> dict[str, Any]:
    """
    Return bytes, and by step milliseconds, medians of some boots, and millions of guest instructions.

    Instructions do not depend on how busy this machine is; most of the time under TCG goes into translating code
    that runs for the first time.

    What cannot be measured here is named under "skipped".
    """
    try:
        kernel()
    except BaseException as error:  # noqa: BLE001  # pytest's way to skip is no Exception
        return {"skipped": str(error)}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        subprocess.run(["make", "-s", "-C", "native", f"BUILD={work}", "timed"], cwd=ROOT, check=True)
        small, large = _program(work, "hello"), _program(work, "padded", f"-DPADDING={PADDING}")
        alone = [_alone(work, small) for _ in range(BOOTS)]
        counted = _alone(work, small, COUNTED)
        hashed = _alone(work, large, COUNTED)["measure-file"] - counted["measure-file"]
        return {
            "bytes": (ROOT / "shim" / "launch" / "shim-init").stat().st_size,
            "to the program, ms": round(median(one["all"] for one in alone), 2),
            "steps, ms": {step: round(median(one[step] for one in alone), 3) for step in alone[0]},
            "to the program, M instructions": round(counted["all"], 2),
            "steps, M instructions": {step: round(count, 3) for step, count in counted.items()},
            "hashing, M instructions per MB": round(hashed / (PADDING / MEGABYTE), 1),
            "with a handshake, ms": {step: round(ms, 3) for step, ms in _with_channel(work, small).items()},
        }


def _program(work: Path, name: str, *options: str) -> Path:
    source, program = work / f"{name}.c", work / name
    source.write_text(HELLO)
    command = ["musl-gcc", "-Os", "-s", "-static", *options, "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    return program


def _timed(work: Path, initramfs: Path) -> None:
    """Add the launcher that says its times: of two files of one name the kernel keeps the last."""
    Machine(work, work).add(initramfs, "/shim/launch", (work / "shim-init-timed").read_bytes())


def _alone(work: Path, program: Path, more: tuple[str, ...] = ()) -> dict[str, float]:
    initramfs = work / "initramfs"
    form = ("--format", "initramfs", "--compress", "none", "--hostname", "bench", "-o", str(initramfs))
    subprocess.run([*SHIM, "build", *form, str(program)], cwd=ROOT, check=True, capture_output=True)
    _timed(work, initramfs)
    # As the command line of images has it.
    command = machine_command(initramfs, f"{WORDS} sysctl.kernel.sysrq=0")
    command[command.index("-smp") + 1] = "1"
    done = subprocess.run(
        [*command, *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    return _steps(lines, lines)


def _with_channel(work: Path, program: Path) -> dict[str, float]:
    machine = Machine(work, program)
    initramfs = machine.build("--secret", "env:SECRET_FD")
    _timed(work, initramfs)
    seen = machine.run(initramfs)
    return _steps(seen.console, seen.output)


def _steps(console: list[str], output: list[str]) -> dict[str, float]:
    """Return how long each step took, in milliseconds, and all of them together."""
    times = next(line for line in console if line.startswith("times: ")).removeprefix("times: ")
    program = next(line for line in output if line.startswith("program="))
    found = [(step, int(ns)) for step, ns in (word.split("=") for word in (*times.split(), program))]
    steps = {step: (later - ns) / 1e6 for (step, ns), (_, later) in itertools.pairwise(found)}
    return {"all": (found[-1][1] - found[0][1]) / 1e6, **steps}


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    print()
