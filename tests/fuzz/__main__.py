"""
`make fuzz`: every reader of bytes that others made, under a coverage-guided fuzzer.

Whatever the bytes, a reader returns or raises the project's own error.  Seeds are the real evidence in
../shared/vectors, where it is there, and the fakes; each target runs in a process of its own for a stated
number of inputs, so that one crash ends one target.

    python -m tests.fuzz [--runs N] [TARGET ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

RUNS = 200_000
SECONDS = 3600


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("--runs", type=int, default=RUNS, help="inputs for each target")
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    options = arguments.parse_args()
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        arguments.error(f"found {', '.join(unknown)}, want {', '.join(TARGETS)}")
    failed = [name for name in options.targets or TARGETS if not campaign(name, options.runs)]
    print(f"{len(failed)} of {len(options.targets or TARGETS)} targets failed: {', '.join(failed) or 'none'}")
    return len(failed) > 0


def campaign(name: str, runs: int) -> bool:
    """Run one target; what it did not survive is printed, with the input."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(TARGETS[name].seeds()):
            (corpus / str(number)).write_bytes(seed)
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), f"-runs={runs}",
             f"-artifact_prefix={folder}/", f"-max_total_time={SECONDS}", "-max_len=65536", "-verbosity=0",
             "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - begin
        executed = next(
            (line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?"
        )
        print(
            f"{name:<24} {executed:>9} inputs {seconds:7.1f} s  {'ok' if done.returncode == 0 else 'FAILED'}"
        )
        if done.returncode != 0:
            print(done.stdout[-2000:], done.stderr[-4000:])
            for path in Path(folder).glob("crash-*"):
                print(f"input: {path.read_bytes().hex()}")
        return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
