"""
The picture of what a launch, a system call and an image cost, as `make bench` measured them.

`python -m tests.benchmarks.plot bench/results.json docs/benchmarks.svg` draws it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "shim"


OURS, OTHERS, MORE = "#2a6f97", "#a9b4bd", "#d9dfe3"


def draw(results: dict[str, Any], target: Path) -> None:
    """Write the SVG: a launch, a call under a filter, the size of images, and how fast they start."""
    figure, rows = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
    _launches(rows[0][0], results["launch"]["rows"])
    _calls(rows[0][1], results["filter"]["ns per syscall"] or {})
    _sizes(rows[1][0], results["images"]["rows"], results["images"]["published, MB"])
    _starts(rows[1][1], results["images"]["starts"])
    for axes in rows.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _launches(axes: Axes, measured: dict[str, Any]) -> None:
    rows = dict(sorted(measured.items(), key=lambda row: row[1]["min"], reverse=True))
    colours = [OURS if "shim" in name or "cffi" in name else OTHERS for name in rows]
    bars = axes.barh(list(rows), [row["min"] for row in rows.values()], color=colours)
    axes.bar_label(bars, [f" {row['min']:.0f} µs, {row['ratio']} x" for row in rows.values()], fontsize=8)
    _logarithmic(axes, 20, max(row["min"] for row in rows.values()) * 4)
    axes.set_xlabel("µs to start a static hello and see it end, minimum (x fork+exec)")


def _calls(axes: Axes, times: dict[str, float]) -> None:
    shown = dict(sorted(times.items(), key=lambda row: row[1], reverse=True))
    colours = [OTHERS if "libseccomp" in name or name == "no filter" else OURS for name in shown]
    bars = axes.barh(list(shown), list(shown.values()), color=colours)
    axes.bar_label(bars, [f" {value:.0f}" for value in shown.values()], fontsize=8)
    axes.set_xlim(right=max(shown.values(), default=1) * 1.15)
    axes.set_xlabel("ns for getppid under a filter")


def _sizes(axes: Axes, rows: dict[str, dict[str, Any]], published: dict[str, float]) -> None:
    """Draw for each program our image, what ldd lists, and Debian's smallest system; then what others say."""
    kinds = (("gzip KB", OURS, "shim build"), ("ldd gzip KB", OTHERS, "what ldd lists"))
    kinds += (("minbase gzip KB", MORE, "minbase and the package"),)
    names = [*rows, *published]
    for number, (column, colour, label) in enumerate(kinds):
        found = [(names.index(name), row[column] / 1000) for name, row in rows.items() if column in row]
        places, sizes = [place + (number - 1) * 0.28 for place, _ in found], [size for _, size in found]
        bars = axes.barh(places, sizes, 0.28, color=colour, label=label)
        axes.bar_label(bars, [f" {size:.2g}" if size < 10 else f" {size:.0f}" for size in sizes], fontsize=6)
    said = axes.barh(
        [names.index(name) for name in published], list(published.values()), 0.5, color="#e9c46a"
    )
    axes.bar_label(said, [f" {size:g}, published" for size in published.values()], fontsize=6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    _logarithmic(axes, 0.01, 400)
    axes.set_xlabel("MB of the compressed image (gzip)")
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _starts(axes: Axes, starts: dict[str, Any]) -> None:
    for number, (way, colour) in enumerate((("shim", OURS), ("minbase", OTHERS))):
        found = {name: ways[way]["first byte ms"] for name, ways in starts.items() if ways.get(way)}
        places = [list(starts).index(name) + (number - 0.5) * 0.38 for name in found]
        label = "shim build" if way == "shim" else "minbase and the package"
        bars = axes.barh(places, list(found.values()), 0.38, color=colour, label=label)
        axes.bar_label(bars, [f" {value:.0f}" for value in found.values()], fontsize=7)
    axes.set_yticks(range(len(starts)), list(starts))
    axes.invert_yaxis()
    _logarithmic(axes, 10, 100_000)
    axes.set_xlabel("ms from the OCI layout on disk to the first byte, umoci and runc")
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = [factor * 10**power for power in range(-2, 6) for factor in (1, 2, 5)]
    step = 1 if math.log10(high / low) < 3.5 else 3
    axes.set_xticks([tick for tick in steps[::step] if low <= tick <= high])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
