"""
Profiles of many programs, on as many cores as there are.

Each program has a process of its own, which ends with it: no derivation sees the memory of another, and one
that fails takes nothing with it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import Request
from shim.errors import ShimError

if TYPE_CHECKING:
    from concurrent.futures import Executor

_SUFFIXES = {"table": "txt", "names": "names", "docker": "docker.json", "oci": "oci.json", "spo": "spo.yaml"}


@dataclass(frozen=True, slots=True)
class Job:
    """One program or image, and everything that says how its profile is derived and where it is written."""

    program: str
    output: str
    form: str
    why: bool
    request: Request
    cache: Path | None
    merged: bool = False
    image_policy: Path | None = None
    image_bundles: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: how many calls, lines for standard error, the exit code of `profile`."""

    program: str
    calls: int
    lines: tuple[str, ...]
    code: int

    @property
    def state(self) -> str:
        """A word for people."""
        return {0: "complete", 3: "INCOMPLETE"}.get(self.code, "FAILED")


def jobs(programs: Sequence[str], job: Job) -> list[Job]:
    """
    Return one job per program, as `job`, each with a file of its own in the directory that this names.

    Raises:
        click.UsageError: no directory, or two programs whose files would have the same name.
    """
    directory, form = job.output, job.form
    if directory == "-":
        raise click.UsageError(f"found {len(programs)} programs, want a folder for their profiles: -o DIR")
    files: dict[str, str] = {}
    for program in programs:
        name = f"{Path(program).name}.{_SUFFIXES.get(form, form)}"
        if name in files:
            raise click.UsageError(f"found {files[name]} and {program}, want programs of different names")
        files[name] = program
    return [
        replace(job, program=program, output=str(Path(directory) / name)) for name, program in files.items()
    ]


def run_all(work: Sequence[Job], directory: str, derive: Callable[[Job], Outcome], cores: int) -> int:
    """
    Derive all profiles, print a summary, and return the worst exit code.

    Raises:
        OSError: the folder cannot be made.
    """
    import multiprocessing  # a single program needs none of this
    from concurrent.futures import ProcessPoolExecutor

    Path(directory).mkdir(parents=True, exist_ok=True)
    outcomes = {}
    # Spawned, because a process that was forked begins with the memory of the first one.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, len(work)), mp_context=context, max_tasks_per_child=1) as pool:
        for outcome in _finished(pool, work, derive):
            outcomes[outcome.program] = outcome
            _show_progress(len(outcomes), len(work))
    found = [outcomes[job.program] for job in work]
    for outcome in found:
        for line in outcome.lines:
            click.echo(f"shim: {line}", err=True)
    click.echo(summary(found), nl=False)
    return max((outcome.code for outcome in found), key=_badness)


def summary(found: Sequence[Outcome]) -> str:
    """Return one line per program: how many calls, complete or not, its path."""
    return "".join(f"{outcome.calls:5}  {outcome.state:10}  {outcome.program}\n" for outcome in found)


def cores_to_use() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0))


def attempt(job: Job, derive: Callable[[Job], Outcome]) -> Outcome:
    """Return what came of one job; an error that is raised on purpose becomes its outcome."""
    gc.disable()  # as for a single program: what a derivation makes lives to its end
    try:
        return derive(job)
    except ShimError as error:
        return Outcome(job.program, 0, (str(error),), int(getattr(error, "exit_code", 1)))
    except OSError as error:
        return Outcome(job.program, 0, (f"{error.filename or job.output}: {error.strerror}",), 1)


def _finished(pool: Executor, work: Sequence[Job], derive: Callable[[Job], Outcome]) -> Iterator[Outcome]:
    """Yield outcomes as they come; a process that was killed is one, too."""
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    waiting = {pool.submit(attempt, job, derive): job for job in work}
    for future in as_completed(waiting):
        try:
            yield future.result()
        except BrokenProcessPool:
            job = waiting[future]
            yield Outcome(
                job.program, 0, (f"{job.program}: found a process that was killed, want its profile",), 1
            )


def _badness(code: int) -> tuple[bool, int]:
    """Order exit codes: a failure is worse than an incomplete profile."""
    return (code not in {0, 3}, code)


def _show_progress(done: int, count: int) -> None:
    """Say on a terminal how far it is; nothing anywhere else."""
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {count} programs" + ("\n" if done == count else ""), nl=False, err=True)
