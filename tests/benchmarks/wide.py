"""
Programs of every kind from the distribution: is every call that they make in the profile of their code?

For each program: derive the profile (time, memory, what stays open), run every command line plainly, recorded,
and under the profile as a filter, and compare. A call of the program's own image that the profile lacks is a
miss; a kill under the filter is a failure. One JSON file per program in build/wide; what is there is not
measured again.

`python -m tests.benchmarks.wide [--install] [--again] [NAME...]`; as root on Debian 12 for all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import wide_run
from tests.benchmarks.wide_workloads import PROGRAMS, Program

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "wide"
SHIM = (sys.executable, "-c", "from shim.cli.main import main; main()")
DERIVATION_CAP = 120  # seconds
SLOW_SECONDS, LARGE_MB = 10, 1024


def main() -> int:
    """Measure what was asked for and is not measured yet; 1 if a call was missed or a program killed."""
    parser = argparse.ArgumentParser(prog="wide")
    parser.add_argument("--install", action="store_true", help="install the packages first (root, Debian 12)")
    parser.add_argument("--again", action="store_true", help="measure also what is measured already")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    known = {program.name: program for program in PROGRAMS}
    chosen = [known[name] for name in asked.names or known]
    BUILD.mkdir(parents=True, exist_ok=True)
    if asked.install:
        install(chosen)
    rows = {}
    for program in chosen:
        result = BUILD / f"{program.name}.json"
        if asked.again or not result.exists():
            try:
                row = measure(program)
            except (
                OSError,
                ValueError,
                subprocess.SubprocessError,
            ) as error:  # the others have to be measured
                row = {"absent": False, "crash": f"harness: {error!r}", "refused": ""}
            result.write_text(json.dumps(row, indent=1) + "\n")
        rows[program.name] = json.loads(result.read_text())
        sys.stderr.write(f"{program.name}: {_line(rows[program.name])}\n")
    (BUILD.parent / "wide.json").write_text(json.dumps(rows, indent=1) + "\n")
    _print(rows)
    return (
        1 if any(row.get("missed") or row.get("killed") or row.get("crash") for row in rows.values()) else 0
    )


def install(programs: list[Program]) -> None:
    """Install the packages of `programs`, without recommendations and without starting servers."""
    packages = sorted({package for program in programs for package in program.packages})
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    common = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    if subprocess.run([*common, *packages], env=environment, check=False).returncode:
        for package in packages:  # one that an archive does not have must not cost the others
            subprocess.run([*common, package], env=environment, check=False)


def measure(program: Program) -> dict[str, Any]:
    """Return everything that was measured of one program; `absent` if it is not installed."""
    with tempfile.TemporaryDirectory(prefix=f"wide-{program.name}-") as name:
        folder = Path(name)
        path = wide_run.located(program, folder)
        if path is None:
            return {"absent": True}
        started = time.monotonic()
        profile = BUILD / f"{program.name}.profile.json"
        row: dict[str, Any] = {
            "path": str(path),
            "flags": list(program.modules),
            **derive(program, path, profile),
        }
        if row["refused"] or row["crash"]:
            return row
        row |= wide_run.compared(program, path, profile, SHIM)
        row["total_seconds"] = round(time.monotonic() - started, 1)
        return row


def derive(program: Program, path: Path, profile: Path) -> dict[str, Any]:
    """Derive the profile in a process of its own with an empty cache, and return what that took and gave."""
    flags = [word for module in program.modules for word in ("--modules", module)]
    command = [*SHIM, "profile", "--format", "json", "-o", profile, *flags, path]
    profile.unlink(missing_ok=True)
    cache = BUILD / "cache" / program.name
    shutil.rmtree(cache, ignore_errors=True)
    with tempfile.TemporaryFile() as errors:
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
        started = time.monotonic()
        status, peak = _waited([str(word) for word in command], environment, errors.fileno())
        seconds = round(time.monotonic() - started, 2)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    row: dict[str, Any] = {"seconds": seconds, "peak_mb": peak >> 10, "derivation": status}
    crash = "Traceback" in said or status not in {0, 2, 3}
    row["crash"] = said[-2000:] if crash and status != 1 else ""
    row["refused"] = "" if profile.exists() else said[-500:]
    if profile.exists():
        row |= _facts(json.loads(profile.read_text()))
    return row


def _waited(command: list[str], environment: dict[str, str], errors: int) -> tuple[int, int]:
    """Return the exit status of `command`, ended after the cap, and its peak memory in KiB."""
    process = subprocess.Popen(  # waited for below, with its use of memory
        ["timeout", str(DERIVATION_CAP), *command], env=environment, stderr=errors, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss


def _facts(profile: dict[str, Any]) -> dict[str, Any]:
    return {
        "found": len({rule["name"] for phase in profile["phases"] for rule in phase["syscalls"]}),
        "complete": profile["complete"],
        "objects": len(profile["objects"]),
        "unresolved": sorted({f"{place['object']}: {place['reason']}" for place in profile["unresolved"]}),
        "foreign_abi": sorted({f"{place['object']}: {place['reason']}" for place in profile["foreign_abi"]}),
        "assumptions": sorted(line.partition(":")[0] for line in profile["assumptions"]),
    }


def _line(row: dict[str, Any]) -> str:
    if row.get("absent"):
        return "not installed"
    if row["refused"] or row["crash"]:
        return (row["crash"] or row["refused"]).strip().splitlines()[-1]
    state = "complete" if row["complete"] else "incomplete"
    found = f"{row['found']} found, {row['traced']} traced, {state}, {row['seconds']} s, {row['peak_mb']} MB"
    return "; ".join([found, *_faults(row)])


def _faults(row: dict[str, Any]) -> Iterator[str]:
    if row.get("missed"):
        yield f"MISSED {' '.join(sorted(row['missed']))}"
    if row.get("killed"):
        yield f"KILLED {row['killed']}"
    if row.get("differs"):
        yield f"differs: {row['differs']}"
    if row["seconds"] > SLOW_SECONDS or row["peak_mb"] > LARGE_MB:
        yield "slow or large"


def _print(rows: dict[str, dict[str, Any]]) -> None:
    table = Table(title="programs of the distribution", box=None, header_style="bold")
    columns = ("found", "traced", "missed", "complete", "killed", "differs", "seconds", "peak_mb")
    for heading in ("", *columns):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in rows.items():
        table.add_row(name, *(_cell(row.get(column, "")) for column in columns))
    console = Console(width=150, highlight=False)
    console.print(table)
    present = [row for row in rows.values() if not row.get("absent")]
    whole = [row for row in present if row.get("traced") and not row["missed"] and not row["killed"]]
    console.print(
        f"{len(present)} programs, {len(whole)} with nothing missed and nothing killed; build/wide.json"
    )


def _cell(value: object) -> str:
    if isinstance(value, list | dict):
        return " ".join(map(str, value)) if value else "0"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
