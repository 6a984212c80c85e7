"""`shim profile` for several programs: a file each, the worst exit code, and nobody stops the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from shim.cli.derivation import Request
from shim.cli.profile_many import Job, Outcome, attempt, jobs, run_all, summary
from shim.errors import BinaryError
from shim.profile.codec import loads

COMMAND = "from shim.cli.main import main; main()"
BUSYBOX = "/usr/bin/busybox"


def shim(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "profile", "--no-cache", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def made(programs: list[str], directory: str, form: str = "json") -> list[Job]:
    return jobs(programs, Job("", directory, form, False, Request(), None))


def answer(job: Job) -> Outcome:
    """What a derivation might say, chosen by the program's name."""
    if "killed" in job.program:
        os.kill(os.getpid(), signal.SIGKILL)
    if "wrong" in job.program:
        raise BinaryError(job.program, "a folder", "a program")
    if "full" in job.program:
        raise OSError(28, "no space left on device", job.output)
    return Outcome(job.program, 7, (), 3 if "open" in job.program else 0)


def test_several_programs_need_a_folder() -> None:
    with pytest.raises(click.UsageError, match="want a folder"):
        made(["a", "b"], "-")


def test_programs_of_one_name_would_overwrite_each_other() -> None:
    with pytest.raises(click.UsageError, match="/x/a and /y/a"):
        made(["/x/a", "/y/a"], "out")


def test_every_program_has_a_file_of_its_own() -> None:
    assert [job.output for job in made(["/x/a", "b"], "out")] == ["out/a.json", "out/b.json"]
    assert [job.output for job in made(["/x/a", "b"], "out", "table")] == ["out/a.txt", "out/b.txt"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("wrong", 1, "found a folder"), ("full", 1, "no space"), ("open", 3, ""), ("good", 0, "")],
)
def test_an_error_becomes_the_outcome(name: str, code: int, said: str) -> None:
    outcome = attempt(Job(name, "out", "json", False, Request(), None), answer)
    assert outcome.code == code
    assert said in "".join(outcome.lines)


@pytest.mark.parametrize(
    ("programs", "code"),
    [(["good", "open"], 3), (["open", "wrong", "good"], 1), (["good", "better"], 0)],
)
def test_the_worst_exit_code_counts_and_all_are_reported(
    programs: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all(made(programs, str(tmp_path)), str(tmp_path), answer, 2) == code
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == programs


def test_a_process_that_is_killed_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all(made(["killed"], str(tmp_path)), str(tmp_path), answer, 1) == 1
    assert "was killed" in capsys.readouterr().err


def test_the_summary_has_a_line_for_each() -> None:
    assert summary([Outcome("a", 3, (), 0), Outcome("b", 0, ("x",), 1)]).splitlines() == [
        "    3  complete    a",
        "    0  FAILED      b",
    ]


@pytest.mark.skipif(not Path(BUSYBOX).exists(), reason="no busybox here")
def test_real_programs_and_one_that_is_none(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    out = tmp_path / "out"
    done = shim("--format", "json", "-o", str(out), str(script), BUSYBOX)
    assert done.returncode == 1
    assert "a script for" in done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["FAILED", "complete"]
    alone = shim("--format", "json", BUSYBOX)
    assert (out / "busybox.json").read_text() == alone.stdout
    assert loads((out / "busybox.json").read_bytes(), "busybox").complete
    assert not (out / "script.json").exists()
