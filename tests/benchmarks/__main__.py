"""
`make bench`: every number the project names, measured in one run, beside the number that was asked for.

Writes bench/results.json after each part and prints a table.  Ratios are taken within the run: the machine may
be busy.  Names of parts as arguments measure these alone, and keep what there is of the others.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    boots,
    cold_start,
    corpus,
    filter as filters,
    images,
    launch,
    machine,
    measure,
    profile,
    quotes,
    reports,
    verify,
)
from tests.benchmarks.asked import Row, asked

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results.json"
REPORT = ROOT / "docs" / "corpus.md"

# What times single calls of the kernel comes first, while the machine is as quiet as it will be.
PARTS: dict[str, Callable[[], Any]] = {
    "launch": lambda: launch.measure(300),
    "filter": filters.measure,
    "verify": lambda: verify.measure(50),
    "reports": lambda: reports.measure(100),
    "quotes": lambda: quotes.measure(100),
    "cold start": lambda: cold_start.measure(25),
    "measure": lambda: measure.measure(200),
    "first process": machine.measure,
    "boot": boots.measure,
    "profile": lambda: profile.measure(_programs()),
    "truth": lambda: corpus.measure(corpus.built()),
    "images": images.measure,
}


def main(wanted: list[str]) -> int:
    """Measure, write, print; 1 if a number falls short of what was asked for, or a part could not be measured."""
    unknown = set(wanted) - PARTS.keys()
    if unknown:
        raise SystemExit(f"no such part: found {', '.join(sorted(unknown))}, want {', '.join(PARTS)}")
    results = json.loads(RESULTS.read_text()) if wanted and RESULTS.exists() else {}
    results["machine"] = {"cpu": _cpu(), "cores": os.cpu_count(), "kernel": platform.release()}
    failed: list[Row] = []
    RESULTS.parent.mkdir(exist_ok=True)
    for name in wanted or PARTS:
        try:
            results[name] = PARTS[name]()
        except Exception as error:  # noqa: BLE001  # the other parts have their numbers all the same
            failed.append((name, _said(error), "to be measured", False))
            results.pop(name, None)  # of an earlier run
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if results.get("truth"):
        REPORT.write_text(corpus.report(results["truth"]), encoding="utf-8")
    console = Console(width=118, highlight=False)
    rows = [*failed, *asked(results)]
    _print(console, results, rows)
    return 0 if all(holds for *_, holds in rows) else 1


def _programs() -> list[Path]:
    """Return the programs whose profiles are timed."""
    built = corpus.built()
    servers = [
        path for path in sorted(built.glob("*")) if not path.match("*-static") and path.name != "busybox"
    ]
    return [profile.BUSYBOX, *sorted(built.glob("*-static")), *servers, profile.LARGE_GO]


def _said(error: Exception) -> str:
    """Return an error with what the command that failed said of it."""
    said = getattr(error, "stderr", None) if isinstance(error, subprocess.CalledProcessError) else None
    return f"{type(error).__name__}: {error}" + (f": {said!r}" if said else "")


def _print(console: Console, results: dict[str, Any], rows: list[Row]) -> None:
    table = Table(title="asked for and measured", box=None, header_style="bold")
    for heading in ("what", "measured", "asked for", ""):
        table.add_column(heading)
    for what, measured, wanted, holds in rows:
        table.add_row(what, measured, wanted, "" if holds else "SHORT")
    console.print(table)
    part = results.get("launch", {"rows": {}, "others": {}, "skipped": "launches"})
    _table(console, "launching a static musl hello, microseconds", part["rows"])
    for name, others in part["others"].items():
        _table(console, f"launching {name}", others)
    console.print(f"not measured: {part['skipped']}")
    _table(console, "profiles", results.get("profile", {}))
    shown = ("found", "traced", "missed", "wrong", "precision", "F1", "complete", "phases")
    compared = {
        name: {**{key: row[key] for key in shown}, "F1, all assumptions": row["all"]["F1"]}
        for name, row in results.get("truth", {}).items()
    }
    _table(console, "against traced truth", compared)
    _table(console, "real reports of SEV-SNP", results.get("reports", {}))
    _table(console, "real quotes", results.get("quotes", {}))
    built = results.get("images", {"rows": {}, "starts": {}})
    _table(console, "images", built["rows"])
    _table(console, "from the OCI layout to the first byte", _flat(built["starts"]))
    console.print({name: built.get(name) for name in ("skipped", "published, MB")})
    rest = ("first process", "boot", "verify", "cold start", "measure", "filter")
    console.print({name: results.get(name) for name in rest})
    console.print(f"written to {RESULTS.relative_to(ROOT)}")


def _flat(starts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return one row per program of what has one dictionary for each way to start it."""
    return {
        name: {f"{way}, {what}": value for way, row in ways.items() for what, value in (row or {}).items()}
        for name, ways in starts.items()
    }


def _table(console: Console, title: str, rows: dict[str, dict[str, Any]]) -> None:
    table = Table(title=title, box=None, header_style="bold")
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    for heading in ("", *columns):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    console.print(table)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
