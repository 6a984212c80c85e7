"""
How long is it from `shim boot` to the program's first word, and to its exit code?

A whole run of the command on this machine: QEMU by what is there, the kernel, the handshake with a relying party in the
same process and a TEE that is played.  `python -m tests.benchmarks.boots` prints this alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.guest import kernel
from tests.native.launching import ROOT
from tests.native.machine import SHIM

BOOTS = 3
HELLO = """
#include <unistd.h>
int main(void) { return write(1, "hello\\n", 6) != 6; }
"""


def measure() -> dict[str, Any]:
    """
    Return seconds, medians of some boots, and the mean of what they cost of the processor, QEMU included.

    The last does not depend on how busy this machine is.  What cannot be measured here is named under "skipped".
    """
    try:
        booted = kernel()
    except BaseException as error:  # noqa: BLE001  # pytest's way to skip is no Exception
        return {"skipped": str(error)}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "hello.c").write_text(HELLO)
        for command in (
            ["musl-gcc", "-static", "-Os", "-s", "-o", "hello", "hello.c"],
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key"],
            ["openssl", "pkey", "-in", "key", "-pubout", "-out", "key.pub"],
        ):
            subprocess.run(command, cwd=work, check=True, capture_output=True)
        form = ("--format", "initramfs", "--compress", "none", "--kernel", str(booted))
        held = ("--relying-party-key", "key.pub", "--evidence", "simulated", "--secret", "file:/run/key")
        values = ("--reference-values", "values", "-o", "image", "./hello")
        subprocess.run([*_shim("build"), *form, *held, *values], cwd=work, check=True, capture_output=True)
        before = _processor()
        runs = [_boot(work, booted) for _ in range(BOOTS)]
        spent = _processor() - before
    return {
        "by": runs[0][0],
        "to the first word, s": round(median(first for _, first, _ in runs), 2),
        "to the exit code, s": round(median(end for _, _, end in runs), 2),
        "processor time, s": round(spent / BOOTS, 2),
    }


def _processor() -> float:
    """Seconds that all children have used that are gone, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _shim(command: str) -> tuple[str, ...]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {SHIM[2]}"
    return (SHIM[0], "-c", code, command)


def _boot(work: Path, booted: Path) -> tuple[str, float, float]:
    command = [
        *_shim("boot"),
        "--kernel",
        str(booted),
        "--key",
        "key",
        "--reference-values",
        "values",
        "image",
    ]
    began = time.monotonic()
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline() != b"hello\n":
            raise RuntimeError("the machine did not say hello")
        first = time.monotonic() - began
        _, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(errors.decode())
    return errors.decode().split(": ")[1].split(" by QEMU")[0], first, time.monotonic() - began


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    print()
