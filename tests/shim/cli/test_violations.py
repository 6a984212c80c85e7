"""What is said of a refused call, as a line and as a record, and how records widen a profile."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.cli.reporting import lacking
from shim.cli.violations import AUDIT_ARCH_X86_64, Witness, in_words
from shim.errors import ProfileError
from shim.filter.program import Relocation
from shim.launch.native import LaunchResult, Unconfined, ViolationEvent
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.profile import violation
from shim.profile.problems import ProfileFormatError
from shim.profile.violation import as_trace

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]
SHIM = str(Path(__file__).resolve().parents[3] / ".venv" / "bin" / "shim")
SOURCE = "_start: mov eax, 39\n syscall\n mov eax, 60\n syscall\n hlt"
GETPID, GETPPID, I386 = 39, 110, 0x4000_0003
CASES = {
    "another call": (GETPPID, AUDIT_ARCH_X86_64, True, "not in the profile"),
    "another architecture": (GETPID, I386, True, "not in the profile"),
    "another place": (GETPID, AUDIT_ARCH_X86_64, True, "in the profile, but not from there"),
    "no place matters": (GETPID, AUDIT_ARCH_X86_64, False, "in the profile, but not with these arguments"),
}


def plan_with(*, pinned: bool, flags: PlanFlag = PlanFlag(0)) -> LaunchPlan:  # noqa: B008  # a number
    relocations = (Relocation(0, 0, 0),) if pinned else ()
    return LaunchPlan(b"/program", bytes(32), bytes(8), (b"program",), relocations=relocations, flags=flags)


def witnessed(data: bytes, number: int, arch: int, *, pinned: bool) -> violation.Violation:
    event = ViolationEvent(0, os.getpid(), number, arch, 1, (0,) * 6)
    profile = derive(data, "/program")
    return Witness(profile, plan_with(pinned=pinned), data, Path("/proc")).violation(event)


@pytest.mark.parametrize("name", CASES)
def test_what_the_profile_does_not_have(name: str, assemble: Assemble) -> None:
    number, arch, pinned, want = CASES[name]
    found = witnessed(assemble(SOURCE), number, arch, pinned=pinned)
    assert in_words(found).endswith(f": {want}")
    assert violation.loads(violation.dumps(found), "events") == (found,)


BAD_LINES = {
    "no JSON": "{",
    "a list": "[]",
    "another event": '{"event":"start"}',
    "no arguments": '{"event":"violation"}',
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_lines_that_are_no_events(name: str, assemble: Assemble) -> None:
    good = violation.dumps(witnessed(assemble(SOURCE), GETPPID, AUDIT_ARCH_X86_64, pinned=False))
    with pytest.raises(ProfileFormatError, match="line 2"):
        violation.loads(good + BAD_LINES[name].encode() + b"\n" + good, "events")


BAD_FIELDS = {
    "number": 3,
    "arguments": ["0x0"] * 5,
    "address": "far",
    "pid": "x",
    "syscall": 7,
    "decoded": [],
    "phase": None,
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_fields_that_are_not_what_they_should_be(field: str, assemble: Assemble) -> None:
    good = violation.dumps(witnessed(assemble(SOURCE), GETPPID, AUDIT_ARCH_X86_64, pinned=False))
    bad = json.dumps({**json.loads(good), field: BAD_FIELDS[field]}).encode()
    with pytest.raises(ProfileFormatError, match="line 1"):
        violation.loads(bad, "events")


def test_events_of_another_program(assemble: Assemble) -> None:
    data = assemble(SOURCE)
    found = witnessed(data, GETPPID, AUDIT_ARCH_X86_64, pinned=False)
    with pytest.raises(ProfileError, match="events: program"):
        as_trace([replace(found, program="0" * 64)], derive(data, "/program"))
    with pytest.raises(ProfileError, match="traces"):
        as_trace([], derive(data, "/program"))


# ------------------------------------------------------------------ with the launcher

NEEDS_MORE = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
/* The number comes from outside, so that no analysis can know it. */
int main(int argc, char **argv)
{
    long number = argc > 1 ? atol(argv[1]) : 39, times = argc > 2 ? atol(argv[2]) : 1, got = 0;
    while (times-- > 0)
        got = syscall(number, "/no/such\\033place", 0700);
    printf("%s\\n", got < 0 ? "failed" : "made");
    return 0;
}
"""
MKDIR, GETPGRP = 83, 111


@pytest.fixture
def needy(compile_c: Compile, tmp_path: Path) -> Path:
    program = tmp_path / "needy"
    program.write_bytes(compile_c(NEEDS_MORE, "-static"))
    program.chmod(0o755)
    return program


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [SHIM, "run", "--tee", "simulated", "--allow-incomplete", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_paths_are_shown_and_cannot_steer_a_terminal(needy: Path) -> None:
    done = run("--", str(needy), str(MKDIR))
    assert done.returncode == 159
    assert 'violation: mkdir [83]("/no/such\\x1bplace", 0x1c0, ' in done.stderr
    assert " in syscall of " in done.stderr
    assert f"shim run --audit --events events.json -- {needy} ..." in done.stderr


def test_a_profile_is_widened_by_what_an_audit_saw(needy: Path, tmp_path: Path) -> None:
    """The way from a refused call to a profile that has it, as the messages say it."""
    events, profile = tmp_path / "events.json", tmp_path / "profile.json"
    done = run("--audit", "--events", str(events), "--", str(needy), str(GETPGRP), "3")
    assert (done.returncode, done.stdout) == (0, "made\n")
    assert f"shim profile {needy} --merge {events} --format json -o profile.json" in done.stderr
    assert len(violation.loads(events.read_bytes(), "events")) == 3
    assert done.stderr.count("violation: getpgrp") == 1
    merged = subprocess.run(
        [SHIM, "profile", str(needy), "--merge", str(events), "--format", "json", "-o", str(profile)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert merged.returncode == 3  # as incomplete as it was
    done = run("--profile", str(profile), "--", str(needy), str(GETPGRP))
    assert (done.returncode, done.stdout) == (0, "made\n")
    assert "violation" not in done.stderr
    assert run("--profile", str(profile), "--", str(needy), str(MKDIR)).returncode == 159


def test_a_profile_of_another_program_is_refused(needy: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    subprocess.run([SHIM, "profile", "/bin/true", "--format", "json", "-o", str(profile)], check=False)
    done = run("--profile", str(profile), "--", str(needy))
    assert (done.returncode, done.stdout) == (125, "")
    assert "program: found /bin/true sha256" in done.stderr


def test_events_that_are_none_are_not_merged(needy: Path, tmp_path: Path) -> None:
    (tmp_path / "events").write_text('{"event":"violation"}\n')
    command = [SHIM, "profile", str(needy), "--merge", str(tmp_path / "events")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "line 1" in done.stderr


def test_a_file_for_events_that_cannot_be_opened(needy: Path, tmp_path: Path) -> None:
    done = run("--events", str(tmp_path / "nowhere" / "events"), "--", str(needy))
    assert (done.returncode, done.stdout) == (125, "")
    assert "want a file to append to" in done.stderr


def test_a_flood_is_counted_and_not_waited_for(needy: Path, tmp_path: Path) -> None:
    """Nobody reads the pipe: what does not fit is dropped, and the program goes on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        done = run("--audit", "--events", str(pipe), "--", str(needy), str(GETPGRP), "2000")
    finally:
        os.close(reader)
    assert (done.returncode, done.stdout) == (0, "made\n")
    assert "events were dropped, because nobody read them in time" in done.stderr
    assert "calls that its profile does not have: 2000, let through" in done.stderr
    assert done.stderr.count("violation: ") == 1


def test_a_flood_that_is_read_loses_nothing(needy: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    done = run("--audit", "--events", str(events), "--", str(needy), str(GETPGRP), "2000")
    assert done.returncode == 0
    assert len(violation.loads(events.read_bytes(), "events")) == 2000


LACKING = {
    "nothing": (LaunchResult(0, 0, 0, False, 1), []),
    "seals": (LaunchResult(0, 0, 0, False, 1, unsealed=True), ["mseal: this kernel has none"]),
    "code": (LaunchResult(0, 0, 0, False, 1, gains_exec=True), ["mdwe: this kernel has none"]),
    "files": (LaunchResult(0, 0, 0, False, 1, unconfined=Unconfined.FILES), ["does not handle all rights"]),
    "two things": (
        LaunchResult(0, 0, 0, False, 1, unconfined=Unconfined.NETWORK | Unconfined.SCOPES),
        ["does not handle ports", "does not keep signals"],
    ),
    "breakpoints": (
        LaunchResult(0, 0, 0, False, 1, missed=errno.ENODEV),
        ["stops at no hardware breakpoint"],
    ),
    "threads": (LaunchResult(0, 0, 0, False, 1, missed=errno.ESRCH), ["some thread could not be brought"]),
    "an exec": (LaunchResult(0, 0, 0, False, 1, missed=errno.ENOEXEC), ["it executed another program"]),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_a_machine_could_not_do_is_said(name: str) -> None:
    result, words = LACKING[name]
    lines = list(lacking(result))
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))
