"""The picture of what a launch and a system call cost, as `make bench` measured them: docs/benchmarks.svg."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "shim"


def draw(results: dict[str, Any], target: Path) -> None:
    """Write the SVG: latency of a launch on a log axis, and nanoseconds per call."""
    figure, (launches, calls) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rows = dict(sorted(results["launch"]["rows"].items(), key=lambda row: row[1]["min"], reverse=True))
    ours = ["#2a6f97" if "shim" in name or "cffi" in name else "#a9b4bd" for name in rows]
    bars = launches.barh(list(rows), [row["min"] for row in rows.values()], color=ours)
    launches.bar_label(bars, [f" {row['min']:.0f} µs, {row['ratio']} x" for row in rows.values()], fontsize=8)
    launches.set_xscale("log")
    longest = max(row["min"] for row in rows.values())
    ticks = [tick for power in range(1, 6) for tick in (2 * 10**power, 5 * 10**power, 10 ** (power + 1))]
    launches.set_xlim(20, longest * 4)
    launches.set_xticks([tick for tick in ticks if tick <= longest * 4])
    launches.xaxis.set_major_formatter("{x:.0f}")
    launches.xaxis.set_minor_locator(NullLocator())
    launches.set_xlabel("µs to start a static hello and see it end, minimum (x fork+exec)")
    times = results["filter"]["ns per syscall"] or {}
    shown = dict(sorted(times.items(), key=lambda row: row[1], reverse=True))
    ours = ["#a9b4bd" if "libseccomp" in name or name == "no filter" else "#2a6f97" for name in shown]
    bars = calls.barh(list(shown), list(shown.values()), color=ours)
    calls.bar_label(bars, [f" {value:.0f}" for value in shown.values()], fontsize=8)
    calls.set_xlim(right=max(shown.values(), default=1) * 1.15)
    calls.set_xlabel("ns for getppid under a filter")
    for axes in (launches, calls):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
