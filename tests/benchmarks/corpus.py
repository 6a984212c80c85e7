"""
The shared corpus: real programs, and what they were traced to call.

`make corpus` builds it (as root, Debian 12: it installs packages), compares every profile with the trace,
and runs every workload under the generated list.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from shim.analysis.assumptions import ASSUMPTIONS, DEFAULT, Assumption
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.profile import Profile, SyscallRule
from shim.syscalls import IMPLIED
from tests.benchmarks import exercise

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "corpus"
WAY = 4  # links
CAUSES = 20
BUILD = ROOT / "build" / "corpus"
MADE = BUILD / "made.json"
"""For each program the calls that it was made to make, written by `make corpus`."""


def built() -> Path:
    """Return the folder with the corpus's programs; empty or missing where `make corpus` has not run."""
    return BUILD / "bin" / "open"


def measure(programs: Path) -> dict[str, dict[str, Any]]:
    """
    Return found, traced and missed calls, precision and F1 for every program of the corpus that is there.

    `all` has the same with every named assumption made, not only those that are made by default.
    """
    if not SHARED.is_dir() or not programs.is_dir():
        return {}
    truth = json.loads((SHARED / "truth" / "open.json").read_text())
    stated = json.loads((SHARED / "truth" / "static_truth.json").read_text())
    names = [name for name in truth if (programs / name).exists()]
    sets = {"": DEFAULT, "all": frozenset(ASSUMPTIONS)}
    sets |= {each.name: DEFAULT | {each} for each in ASSUMPTIONS if not each.default}
    asked = [(programs / name, assume) for name in names for assume in sets.values()]
    made = json.loads(MADE.read_text()) if MADE.exists() else {}
    with ProcessPoolExecutor() as workers:
        derived = iter(list(workers.map(_derive, asked)))
    rows = {}
    for name in names:
        profiles = {key: next(derived) for key in sets}
        traced = set(truth[name]["syscalls"])
        compared = {key: _compare(profile, traced, stated.get(name, {})) for key, profile in profiles.items()}
        row = {**compared.pop(""), "all": compared.pop("all")}
        row["verdicts"] = _verdicts(row, compared, made.get(name, {}))
        rows[name] = row
    return rows


def _derive(asked: tuple[Path, frozenset[Assumption]]) -> Profile:
    path, assume = asked
    return derive(path.read_bytes(), str(path), files=RootedFiles("/"), assume=assume)


def _verdicts(
    row: dict[str, Any], optional: dict[str, dict[str, Any]], made: dict[str, str]
) -> dict[str, str]:
    """
    Return why each call outside the trace is in the profile.

    Args:
        row: The comparison by default.
        optional: The comparison under each assumption that is made only when asked for.
        made: Calls that the program was seen to make, each with the command line that did it.
    """
    issued_by_kernel = {implied.name for implied in IMPLIED}
    verdicts = {}
    for call in row["extra"]:
        without = [name for name, compared in optional.items() if call not in compared["extra"]]
        if call in made:
            verdicts[call] = f"justified: `{made[call]}` makes it"
        elif call in issued_by_kernel:
            verdicts[call] = "justified: the kernel issues it"
        elif without:
            verdicts[call] = f"gone with {' or '.join(f'`{name}`' for name in without)}"
        elif pointer := row["pointers"][call]:
            verdicts[call] = f"imprecision: {pointer}"
        else:
            verdicts[call] = "reachable: calls and jumps lead to it"
    return verdicts


def _compare(profile: Profile, traced: set[str], stated: dict[str, list[str]]) -> dict[str, Any]:
    found = {rule.name for phase in profile.phases for rule in phase.rules}
    common = len(found & traced)
    precision, recall = common / len(found), common / len(traced)
    return {
        "found": len(found),
        "traced": len(traced),
        "missed": sorted((traced | set(stated.get("must_include", ()))) - found),
        "wrong": sorted(set(stated.get("should_exclude", ())) & found),
        "precision": round(precision, 2),
        "F1": round(2 * precision * recall / (precision + recall), 3),
        "extra": {
            rule.name: _way(rule)
            for rule in sorted(profile.phases[0].rules, key=lambda rule: rule.name)
            if rule.name not in traced
        },
        "pointers": {rule.name: _pointer(rule) for rule in profile.phases[0].rules},
        "complete": profile.complete,
        "phases": " → ".join(str(len(phase.rules)) for phase in profile.phases),
        "conditions": sorted(rule.name for rule in profile.phases[0].rules if rule.conditions),
    }


def _pointer(rule: SyscallRule) -> str:
    """Return which function on the way to a call counts as called for its address alone; empty if none."""
    for link in reversed(rule.why):
        how, _, function = link.partition(": ")
        if how.startswith("data that points"):
            return f"`{function}` counts as called because data points to it"
        if how.startswith("takes the address") and function != "main":
            return f"`{function}` counts as called because code takes its address"
    return ""


def _way(rule: SyscallRule) -> str:
    """Return the last links of the shortest way to a call, or why the kernel issues it."""
    links = [re.sub(r" at 0x[0-9a-f]+", "", link) for link in rule.why[-WAY:]]
    return ("… " if len(rule.why) > WAY else "") + "; ".join(links)


def report(rows: dict[str, dict[str, Any]]) -> str:
    """Return the page that docs/ keeps of the comparison."""
    lines = [
        "# Profiles against traced truth",
        "",
        "Written by `make bench`. A trace is a lower bound: a call outside it may be a path that the workload did not",
        "take; `shim explain PROGRAM CALL` prints the whole way to it. Phases: calls from `main` (and `serving`) on.",
        "",
        "| program | found | traced | missed | precision | F1 | F1, all assumptions | phases | conditions on |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shown = [row[key] for key in ("found", "traced")] + [len(row["missed"]), row["precision"], row["F1"]]
        shown += [row["all"]["F1"], row["phases"], " ".join(row["conditions"])]
        lines.append(f"| {name} | {' | '.join(str(value) for value in shown)} |")
    mean, everything = (
        sum(values) / max(len(rows), 1)
        for values in ([row["F1"] for row in rows.values()], [row["all"]["F1"] for row in rows.values()])
    )
    lines += [
        "",
        f"Mean F1: {mean:.3f}; with every named assumption {everything:.3f}.",
        "",
        "## Not in the trace",
        "",
        _summary(rows),
        "",
    ]
    for name, row in rows.items():
        lines += [
            f"### {name}",
            "",
            "| call | why | the shortest way to it, its last links |",
            "|---|---|---|",
        ]
        lines += [
            f"| {call} | {_cell(row['verdicts'][call])} | {_cell(way)} |"
            for call, way in row["extra"].items()
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _summary(rows: dict[str, dict[str, Any]]) -> str:
    """Return how many calls outside the traces there are of each kind."""
    verdicts = [verdict for row in rows.values() for verdict in row["verdicts"].values()]
    kinds = Counter(verdict.split(":")[0].split(" `")[0] for verdict in verdicts)
    causes = Counter(verdict.split(": ")[1] for verdict in verdicts if verdict.startswith("imprecision"))
    lines = [
        f"{kinds.total()} calls.",
        f"- {kinds['justified']} are justified: a run outside the workload was seen to make them, with other",
        "  arguments or while other calls failed (`shim trace --fail`), or the kernel issues them.",
        f"- {kinds['gone with']} are gone with an assumption that is made when asked for.",
        f"- {kinds['reachable']} are reachable by calls and jumps alone from the entry point or main(); no run that",
        "  makes them was found.",
        f"- {kinds['imprecision']} are imprecision, or may be: some function on the way counts as called because",
        "  its address is there, in a table with others or taken by code, and not because a call of it was found.",
        "",
        "| calls | cause |",
        "|---|---|",
        *(f"| {count} | {_cell(cause)} |" for cause, count in causes.most_common(CAUSES)),
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "&#124;")


def main() -> int:
    """Build the corpus, print the comparison, run the workloads under the lists."""
    if not SHARED.is_dir():
        sys.stderr.write("shim: ../shared/corpus: found nothing, want the shared corpus beside the project\n")
        return 1
    BUILD.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-rT", SHARED, BUILD], check=True)
    subprocess.run(["chmod", "-R", "u+w", BUILD], check=True)
    subprocess.run(
        ["bash", BUILD / "build.sh"], check=True, env={**os.environ, "CORPUS_BIN": str(BUILD / "bin")}
    )
    with ProcessPoolExecutor() as workers:
        programs = sorted(built().iterdir())
        made = dict(zip((path.name for path in programs), workers.map(exercise.made, programs), strict=True))
    MADE.write_text(json.dumps(made, indent=1))
    rows = measure(built())
    sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    lists = BUILD / "lists"
    lists.mkdir(exist_ok=True)
    for name in rows:
        path = built() / name
        profile = derive(path.read_bytes(), str(path), files=RootedFiles("/"))
        names = [rule.name for rule in profile.phases[0].rules]
        (lists / name).write_text("\n".join(names) + "\n")
    survived = subprocess.run(
        [sys.executable, "survive.py", "open", BUILD / "bin", lists], cwd=BUILD, check=False
    )
    short = [name for name, row in rows.items() if row["missed"] or row["wrong"] or not row["complete"]]
    return 1 if short or survived.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
