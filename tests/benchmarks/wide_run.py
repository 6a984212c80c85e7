"""
One program's command lines, run plainly, recorded, under its list of names, and by `shim run`.

What two plain runs print alike, every other run has to print alike.  Programs that start others are recorded
only: a filter is inherited, and the others have profiles of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim.profile.codec import loads as profile_of
from shim.profile.profile import Profile
from shim.profile.trace_check import compare
from shim.profile.trace_json import loads as trace_of
from tests.benchmarks.wide_workloads import Program, Step

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "wide"
ENFORCE = ROOT.parent / "shared" / "corpus" / "enforce.c"
WORK = Path(tempfile.gettempdir()) / "shim-wide"
KILL = re.compile(r'type=1326.*?exe="([^"]*)" sig=31 arch=(\w+) syscall=(\d+)')
PROGRAM_CAP = 150.0  # seconds for all runs of one program; what is left out is counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended and what it, or its clients, printed."""

    status: int
    output: bytes


def located(program: Program, folder: Path) -> Path | None:
    """Return the program's file, built in `folder` if it is built here; None if it is not there."""
    if not program.build:
        path = Path(program.path)
        return path.resolve() if path.exists() else None
    out = BUILD / "bin" / program.name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    environment = {**os.environ, "OUT": str(out)}
    subprocess.run(["sh", "-c", program.build], cwd=folder, env=environment, check=False, timeout=120)
    return out if out.exists() else None


def compared(program: Program, path: Path, profile_path: Path, shim: Sequence[str]) -> dict[str, Any]:
    """Return calls traced, missed and killed, and how runs differ, over all steps of a program."""
    profile = profile_of(profile_path.read_bytes(), str(profile_path))
    names = {rule.name for phase in profile.phases for rule in phase.rules}
    listed = BUILD / f"{program.name}.names"
    listed.write_text("".join(f"{name}\n" for name in sorted(names)))
    runs = Runs(program, path, profile, listed, shim)
    deadline = time.monotonic() + PROGRAM_CAP
    for number, step in enumerate(program.steps):
        if time.monotonic() > deadline:
            runs.left_out = len(program.steps) - number
            break
        runs.step(number, step)
    return runs.result()


class Runs:
    """Runs the steps of one program and collects what they show."""

    def __init__(
        self, program: Program, path: Path, profile: Profile, listed: Path, shim: Sequence[str]
    ) -> None:
        self._program, self._path, self._profile = program, path, profile
        self._listed, self._shim = listed, shim
        self._traced: set[str] = set()
        self._missed: dict[str, list[str]] = {}
        self._sites: dict[str, list[str]] = {}
        self._foreign: dict[str, list[str]] = {}
        self._admitted: set[str] = set()
        self._killed: list[str] = []
        self._differs: list[str] = []
        self._enforced = self._launched = self._spawned = 0
        self._said = ""
        self.left_out = 0

    def step(self, number: int, step: Step) -> None:
        """Run one step in every way that applies."""
        plain = self._run((), step)
        again = self._run((), step)
        recording, alone = self._record(step, number)
        steady = plain == again
        if steady and recording != plain:
            self._differs.append(f"recorded {number}: {recording.status} for {plain.status}")
        if not alone:
            self._spawned += 1
            return
        self._under_list(step, number, plain if steady else None)
        if self._profile.complete and not self._program.modules:
            self._under_shim(step, number, plain if steady else None)

    def result(self) -> dict[str, Any]:
        """Return what was seen so far."""
        return {
            "traced": len(self._traced),
            "missed": dict(sorted(self._missed.items())),
            "places": dict(sorted(self._sites.items())),
            "foreign": dict(sorted(self._foreign.items())),
            "admitted": sorted(self._admitted),
            "killed": sorted(set(self._killed)),
            "differs": self._differs,
            "steps": len(self._program.steps),
            "enforced": self._enforced,
            "launched": self._launched,
            "spawning": self._spawned,
            "left_out": self.left_out,
            "untraced": sorted(
                {rule.name for phase in self._profile.phases for rule in phase.rules} - self._traced
            ),
        }

    def _record(self, step: Step, number: int) -> tuple[Outcome, bool]:
        """Run the step recorded; return its outcome, and whether no other image made a call in it."""
        written = BUILD / f"{self._program.name}.{number}.trace.json"
        written.unlink(missing_ok=True)
        profile = BUILD / f"{self._program.name}.profile.json"
        seconds = str(step.seconds + 5)
        command = (*self._shim, "trace", "--profile", profile, "-o", written, "--timeout", seconds)
        outcome = self._run([str(word) for word in command], step)
        if not written.exists():
            self._differs.append(f"recorded {number}: no trace, {outcome.status}")
            return outcome, False
        trace = trace_of(written.read_bytes(), str(written))
        status = re.search(r"run 1: exit status (\d+)", self._said)
        killed = re.search(r"run 1: killed by (?:SIG)?(\w+)", self._said)
        if status:
            outcome = Outcome(int(status[1]), outcome.output)
        elif killed:
            outcome = Outcome(-_signal(killed[1]), outcome.output)
        self._traced |= {call.name for call in trace.calls}
        for finding in compare(trace, self._profile).lacking:
            kind = {"call": self._missed, "site": self._sites, "abi": self._foreign}.get(
                finding.kind, self._missed
            )
            places = {f"{site.object}:{site.address:#x} {site.function}".strip() for site in finding.sites}
            if finding.admitted:
                self._admitted.add(finding.name)
            else:
                kind[finding.name] = sorted({*kind.get(finding.name, ()), *places})
        written.unlink()
        return outcome, not trace.others

    def _under_list(self, step: Step, number: int, want: Outcome | None) -> None:
        """Run the step under the plain list of names; any call beyond it kills."""
        enforce = _enforcer()
        if enforce is None:
            return
        before = len(_kills(self._path))
        outcome = self._run((str(enforce), str(self._listed), "--"), step)
        self._enforced += 1
        for arch, call in _kills(self._path)[before:]:
            self._killed.append(f"list {number}: {arch} syscall {call}")
        if outcome.status == -signal.SIGSYS:
            self._killed.append(f"list {number}: SIGSYS")
        elif want is not None and outcome != want:
            self._differs.append(f"list {number}: {outcome.status} for {want.status}")

    def _under_shim(self, step: Step, number: int, want: Outcome | None) -> None:
        """Run the step as a user would."""
        passed = [word for name in _environment() for word in ("--env", name)]
        outcome = self._run((*self._shim, "run", "--tee", "simulated", *passed, "--"), step)
        self._launched += 1
        violations = [line for line in self._said.splitlines() if "its profile does not have" in line]
        refused = [line for line in self._said.splitlines() if line.startswith("shim: ")][1:2]
        if violations:
            self._killed.append(f"run {number}: {' '.join(refused)}"[:200])
        elif want is not None and outcome.status != want.status % 256 and not step.clients:
            if outcome.status - 128 != -want.status:
                self._differs.append(
                    f"run {number}: {outcome.status} for {want.status} {' '.join(refused)}"[:200]
                )
        elif want is not None and outcome.output != want.output:
            self._differs.append(f"run {number}: other output")

    def _run(self, before: Sequence[str], step: Step) -> Outcome:
        """Run a step in a fresh folder, behind the words `before`."""
        folder = WORK / self._program.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        environment = {**_environment(), "HOME": str(folder)}
        if before:
            environment["XDG_CACHE_HOME"] = str(
                BUILD / "cache" / self._program.name
            )  # as derived a moment ago
            environment["PYTHONPATH"] = str(ROOT)
        if self._program.setup:
            subprocess.run(["sh", "-c", self._program.setup], cwd=folder, env=environment, check=False, timeout=60,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        words = [word.replace("{d}", str(folder)) for word in step.words]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [*before, str(self._path), *words], cwd=folder, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True,
            )  # fmt: skip
            output = self._finish(process, step, folder, environment, wrapped=bool(before))
            said.seek(0)
            self._said = said.read().decode(errors="replace")
        return Outcome(process.returncode, output)

    def _finish(
        self,
        process: subprocess.Popen[bytes],
        step: Step,
        folder: Path,
        environment: dict[str, str],
        *,
        wrapped: bool,
    ) -> bytes:
        output = b""
        if step.clients:
            time.sleep(step.warmup + (5 if wrapped else 0))
            output = _talk(step.clients, folder, environment)
            _tell(process, step.signal)
        try:
            printed, _ = process.communicate(None if step.clients else step.stdin, timeout=step.seconds + 10)
        except subprocess.TimeoutExpired:
            for number in (*_children(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a daemon keeps the pipe open
                process.communicate(timeout=2)
            printed = b"[timeout]"
        return output if step.clients else printed


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm", "HOME": "/", "USER": "root"}


def _tell(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the program, which is the child of the recorder or launcher if there is one."""
    target = process.pid
    with contextlib.suppress(OSError):  # it may have ended
        if b"shim.cli" in Path(f"/proc/{target}/cmdline").read_bytes():
            target = next(iter(_children(target)), target)
        os.kill(target, number)


def _talk(clients: str, folder: Path, environment: dict[str, str]) -> bytes:
    """Run the clients of a server; return what they print."""
    try:
        return subprocess.run(
            ["bash", "-c", clients], cwd=folder, env=environment, check=False, timeout=30,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired:
        return b"[timeout]"


def _children(pid: int) -> list[int]:
    """Return the processes that the threads of `pid` started."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it may end meanwhile
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def _signal(name: str) -> int:
    return int(name) if name.isdigit() else int(signal.Signals[f"SIG{name}"])


def _kills(path: Path) -> list[tuple[str, str]]:
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=False, errors="replace").stdout
    return [(arch, call) for exe, arch, call in KILL.findall(log) if exe == str(path)]


def _enforcer() -> Path | None:
    """Return the enforcing launcher, built once; None where the corpus or libseccomp is not there."""
    built = BUILD / "enforce"
    if not built.exists() and ENFORCE.exists():
        subprocess.run(["cc", "-O2", ENFORCE, "-o", built, "-lseccomp"], check=False)
    return built if built.exists() else None
