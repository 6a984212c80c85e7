"""
Which numbers does the project promise, and does a run keep to them?
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, TypeAlias

from tests.benchmarks import launch, profile

# What, measured, asked for, whether it holds.
Row: TypeAlias = tuple[str, str, str, bool]


def asked(results: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each number of the parts that were measured."""
    for part, rows in _ROWS.items():
        if results.get(part):
            yield from rows(results[part])


def _truth(rows: dict[str, Any]) -> Iterator[Row]:
    for name, row in rows.items():
        missed = len(row["missed"])
        yield f"traced calls missed, {name}", str(missed), "0", missed == 0
    mean = sum(row["F1"] for row in rows.values()) / len(rows)
    yield "mean F1 on the corpus", f"{mean:.3f}", "at least 0.68", mean >= 0.68
    mean = sum(row["all"]["F1"] for row in rows.values()) / len(rows)
    yield "the same with every named assumption", f"{mean:.3f}", "at least 0.72", mean >= 0.72


def _launch(part: dict[str, Any]) -> Iterator[Row]:
    rows = part["rows"]
    for name, most in (("shim-launch PLAN, everything on", 2.5), ("cffi run(), everything on", 1.8)):
        ratio = rows[name]["ratio"]
        yield f"{name}, by minimum", f"{ratio} x fork+exec", f"at most {most} x", ratio <= most
    if "bwrap" in rows:
        ratio = rows["bwrap"]["min"] / rows["shim-launch PLAN, everything on"]["min"]
        yield "bubblewrap, next to it", f"{ratio:.1f} x", "at least 10 x", ratio >= 10
    waiting = part["waiting_kb"]
    yield "peak memory of the waiting launcher", f"{waiting} kB", "under 300 KiB", waiting < 300
    size = launch.LAUNCHER.stat().st_size // 1000
    yield "shim-launch, static and stripped", f"{size} KB", "under 120 KB", size < 120


def _filter(part: dict[str, Any]) -> Iterator[Row]:
    times = part["ns per syscall"]
    if times is None:
        return
    more = times["pinned to one place"] - times["constant allow, 80 syscalls"]
    yield "a pinned call, above an unpinned one", f"{more:.0f} ns", "at most 25 ns", more <= 25
    ours, theirs = (times.get(f"constant allow, 80 syscalls{by}") for by in ("", ", libseccomp"))
    if theirs is not None:
        least = f"at most libseccomp's, {theirs} ns, and 2 %"
        yield "a call under an unpinned list", f"{ours} ns", least, ours <= theirs * 1.02


def _verify(row: dict[str, Any]) -> Iterator[Row]:
    milliseconds = row.get("real_cold_ms", row["cold_ms"])
    yield "verification of one SNP report, cold", f"{milliseconds:.2f} ms", "at most 5 ms", milliseconds <= 5
    each = row["warm_per_second"]
    yield "verifications of SNP, warm", f"{each:.0f} a second", "at least 1000", each >= 1000


def _quotes(rows: dict[str, Any]) -> Iterator[Row]:
    return _beside(rows, "dcap-qvl", "dcap_qvl_ms")


def _reports(rows: dict[str, Any]) -> Iterator[Row]:
    return _beside(rows, "secretvm-verify", "secretvm_verify_ms")


def _beside(rows: dict[str, Any], peer: str, spent: str) -> Iterator[Row]:
    for name, row in rows.items():
        if spent in row and row["found"] == row[peer]:
            ours, theirs = row["warm_ms"], row[spent]
            yield f"{name}, warm", f"{ours} ms", f"at most {peer}'s, {theirs} ms", ours <= theirs


def _cold_start(row: dict[str, Any]) -> Iterator[Row]:
    least = row["least_ms"]
    yield "shim inspect, a quote with collateral, cold", f"{least} ms", "at most 150 ms", least <= 150


def _predicted(row: dict[str, Any]) -> Iterator[Row]:
    milliseconds = row["snp_ms"]
    yield "launch digest with 4 MB of firmware", f"{milliseconds} ms", "at most 200 ms", milliseconds <= 200
    if "agree" in row:
        agree, n, theirs = row["agree"], row["inputs"], row["sev_snp_measure_ms"]
        yield "digests equal to sev-snp-measure's", f"{agree} of {n}", f"{n} of {n}", agree == n
        least = f"at most sev-snp-measure's, {theirs} ms"
        yield "launch digest, next to it", f"{milliseconds} ms", least, milliseconds <= theirs
    if "booted" in row:
        booted = "equal" if row["booted"] else "different"
        yield "a TPM's registers after QEMU -kernel", booted, "equal", bool(row["booted"])


def _machine(row: dict[str, Any]) -> Iterator[Row]:
    if "skipped" in row:
        return
    size, spent = row["bytes"], row["to the program, ms"]
    yield "shim-init, static and stripped", f"{size / 1024:.0f} KB", "under 350 KB", size < 350 * 1024
    yield (
        "shim-init, from its start to a static hello's, under TCG",
        f"{spent:.1f} ms",
        "at most 25 ms",
        spent <= 25,
    )


def _boot(row: dict[str, Any]) -> Iterator[Row]:
    if "skipped" not in row:
        seconds = row["to the exit code, s"]
        yield (
            f"shim boot of a hello, {row['by']}, to its exit code",
            f"{seconds} s",
            "under 20 s",
            seconds < 20,
        )


def _images(part: dict[str, Any]) -> Iterator[Row]:
    rows = part["rows"]
    for name, row in rows.items():
        own = row["of that the shim's"]
        yield f"image of {name}, above its files", f"{own} KB", "at most 200 KB", own <= 200
    for name, column, most in (
        ("hello, musl", "KB", 250),
        ("redis", "zstd KB", 5000),
        ("redis", "trimmed zstd KB", 5000),
    ):
        if name in rows and rows[name][column] is not None:
            size = rows[name][column]
            yield f"image of {name}, {column}", f"{size} KB", f"under {most} KB", size < most
    if "nginx" in rows:
        seconds = rows["nginx"]["warm s"]
        yield "image of nginx, analysed before", f"{seconds} s", "under 3 s", seconds < 3


def _speed(found: dict[str, dict[str, Any]]) -> Iterator[Row]:
    rows = dict(found)
    large = rows.pop(profile.LARGE_GO.name, None)
    static = [row for name, row in rows.items() if name == "busybox" or name.endswith("-static")]
    if static:
        middle, peak = median(row["seconds"] for row in static), max(row["peak_mb"] for row in static)
        yield "profiles of static programs, median", f"{middle:.2f} s", "at most 0.5 s", middle <= 0.5
        yield "peak memory of these", f"{peak} MB", "at most 300 MB", peak <= 300
    if "busybox" in rows:
        seconds = rows["busybox"]["seconds"]
        yield "profile of busybox", f"{seconds} s", "at most 1 s", seconds <= 1
    for name, row in rows.items():
        if row not in static:
            seconds, kept = row["seconds"], row["kept"]
            yield f"profile of {name}", f"{seconds} s", "at most 4 s", seconds <= 4
            yield "the same, kept", f"{kept} s", "at most 0.4 s", kept <= 0.4
    if large is not None:
        seconds, peak = large["seconds"], large["peak_mb"]
        yield f"profile of {profile.LARGE_GO.name}, Go", f"{seconds} s", "at most 20 s", seconds <= 20
        yield "peak memory of that", f"{peak} MB", "at most 2000 MB", peak <= 2000


_ROWS = {
    "profile": _speed,
    "truth": _truth,
    "launch": _launch,
    "filter": _filter,
    "verify": _verify,
    "images": _images,
    "first process": _machine,
    "boot": _boot,
    "quotes": _quotes,
    "reports": _reports,
    "cold start": _cold_start,
    "measure": _predicted,
}
