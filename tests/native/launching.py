"""Filters assembled by hand, plans for probes, and the two faces of the launcher as test subjects."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shim.launch.plan import LaunchPlan, PlanFlag, ResourceLimit
from shim.launch.plan_codec import encode

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "shim" / "launch" / "shim-launch"

ARCH = 0xC000003E
ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ERRNO_PERM = 0x00050001
TRAP = 0x00030000
KILL = 0x80000000
EXECVE, EXECVEAT, CLOSE, GETPPID = 59, 322, 3, 110
EXEC = (EXECVE, EXECVEAT)

LOAD_NR, LOAD_ARCH, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x20, 0x15, 0x35, 0x06


def instruction(code: int, jt: int, jf: int, k: int) -> bytes:
    return struct.pack("<HBBI", code, jt, jf, k)


# Another architecture and the x32 numbers die, whatever the rest says.
GUARD = (
    instruction(LOAD_ARCH, 0, 0, 4)
    + instruction(IF_EQUAL, 1, 0, ARCH)
    + instruction(RETURN, 0, 0, KILL)
    + instruction(LOAD_NR, 0, 0, 0)
    + instruction(IF_AT_LEAST, 0, 1, 0x40000000)
    + instruction(RETURN, 0, 0, KILL)
)


def by_number(actions: dict[int, int], otherwise: int) -> bytes:
    """A filter that answers the numbers of `actions` and gives every other number `otherwise`."""
    rows = (
        instruction(IF_EQUAL, 0, 1, number) + instruction(RETURN, 0, 0, action)
        for number, action in actions.items()
    )
    return GUARD + b"".join(rows) + instruction(RETURN, 0, 0, otherwise)


def all_but(numbers: Iterable[int] = EXEC, refusal: int = NOTIFY) -> bytes:
    return by_number(dict.fromkeys(numbers, refusal), ALLOW)


def only(numbers: Iterable[int], refusal: int = NOTIFY) -> bytes:
    return by_number(dict.fromkeys(numbers, ALLOW), refusal)


def plan_for(
    program: Path,
    *arguments: str,
    filter: bytes | None = None,  # noqa: A002  # the plan's own word
    environment: tuple[bytes, ...] = (),
    limits: tuple[ResourceLimit, ...] = (),
    flags: PlanFlag = PlanFlag(0),  # noqa: B008  # an immutable number
    digest: bytes | None = None,
) -> bytes:
    if digest is None:
        digest = hashlib.sha256(program.read_bytes()).digest() if program.is_file() else bytes(32)
    argv = (str(program), *arguments)
    return encode(
        LaunchPlan(
            program=os.fsencode(program),
            digest=digest,
            filter=all_but() if filter is None else filter,
            argv=tuple(os.fsencode(argument) for argument in argv),
            environment=environment,
            limits=limits,
            flags=flags,
        )
    )


@dataclass(frozen=True)
class Outcome:
    """What a caller of the launcher sees, the same for both faces."""

    exit_code: int
    output: str
    errors: tuple[str, ...]
    events: tuple[dict[str, Any], ...]


CFFI_FACE = """
import dataclasses, json, sys
from shim.errors import LaunchError
from shim.launch.native import run
def report(event):
    fields = dataclasses.asdict(event)
    fields["address"] = hex(fields["address"])
    fields["arguments"] = [hex(argument) for argument in fields["arguments"]]
    print(json.dumps({"event": "violation", **fields}), file=sys.stderr)
try:
    sys.exit(run(open(sys.argv[1], "rb").read(), on_event=report, job_control=True).exit_code)
except LaunchError as error:
    print(f"shim: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


@dataclass(frozen=True)
class Face:
    """One way to launch: a command to which a plan file is added."""

    name: str
    command: tuple[str, ...]
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def arguments(self, plan: bytes) -> list[str]:
        path = self.folder / f"{hashlib.sha256(plan).hexdigest()[:16]}.plan"
        path.write_bytes(plan)
        return [*self.command, str(path)]

    def start(self, plan: bytes, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401  # Popen's own
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self.arguments(plan), text=True, cwd=ROOT, **{**streams, **options})
        self.started.append(process)
        return process

    def launch(self, plan: bytes, **options: Any) -> Outcome:  # noqa: ANN401  # Popen's own
        return finish(self.start(plan, **options))

    def end(self) -> None:
        """Leave nothing behind, also after a failed test: a launcher's death is its program's."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def finish(process: subprocess.Popen[str], timeout: float = 20) -> Outcome:
    """Close the launcher's input, wait for its end, and sort what it said."""
    output, said = process.communicate(timeout=timeout)
    lines = said.splitlines()
    events = tuple(json.loads(line) for line in lines if line.startswith("{"))
    errors = tuple(line for line in lines if not line.startswith("{"))
    return Outcome(process.returncode, output, errors, events)


def faces(folder: Path) -> dict[str, Face]:
    return {
        "shim-launch": Face("shim-launch", (str(LAUNCHER),), folder),
        "cffi": Face("cffi", (sys.executable, "-c", CFFI_FACE), folder),
    }


def is_running(pid: int) -> bool:
    """Is there a process of that number that is neither dead nor waiting to be reaped?"""
    try:
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def step_names() -> list[str]:
    """The steps of a launch as native/launch.c lists them."""
    source = (ROOT / "native" / "launch.c").read_text(encoding="ascii")
    return re.findall(r'^\t\{ "([a-z-]+)", [a-z_]+ \},$', source, re.MULTILINE)
