"""`shim trace PROGRAM`: run it, record its calls, and say what its profile lacks of them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from shim.cli.main import EXIT_REFUSED, say
from shim.errors import ShimError

if TYPE_CHECKING:
    from shim.launch.recording import Recording
    from shim.profile.profile import Profile
    from shim.profile.trace import Trace

EXIT_LACKING = 1
INTERRUPTS = (signal.SIGINT, signal.SIGQUIT)
ERRORS = {name: number for number, name in errno.errorcode.items()}


def _failing(text: str) -> tuple[int, int]:
    """Return the number of a call and the errno to answer it with, from CALL or CALL=ERRNO."""
    from shim.syscalls import UnknownSyscallError, table

    call, given, error = text.partition("=")
    error = error if given else "ENOSYS"
    try:
        number = table("x86_64").number(call, "--fail")
    except UnknownSyscallError as unknown:
        raise click.BadParameter(str(unknown)) from unknown
    if error not in ERRORS:
        raise click.BadParameter(f"found {error!r}, want the name of an error such as EACCES")
    return number, ERRORS[error]


@click.command(
    "trace",
    short_help="Run a program, record its calls, compare them with its profile.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--profile", "profile_path", metavar="FILE", help="Profile to compare with; derived if not given."
)
@click.option("-o", "--output", metavar="FILE", help="Write the trace as JSON.")
@click.option("--merge", metavar="FILE", help="Write the profile with everything added that it lacks.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Then send SIGTERM, and two seconds later kill what is left.")  # fmt: skip
@click.option("--fail", "failing", metavar="CALL[=ERRNO]", type=_failing, multiple=True,
              help="Answer every such call with the error, ENOSYS if none is named; repeatable.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="N", help="Run N times and unite.")
@click.option("--compare", "trace_path", metavar="TRACE", help="Run nothing: compare a trace that -o wrote.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("program", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    profile_path: str | None,
    output: str | None,
    merge: str | None,
    timeout: float | None,
    failing: tuple[tuple[int, int], ...],
    repeat: int,
    trace_path: str | None,
    form: str,
    program: str | None,
    arguments: tuple[str, ...],
) -> int:
    """
    Run PROGRAM with ARGUMENTS as it is, record every call of it, and compare them with its profile.

    Nothing is refused but what --fail names: what a program does when a call fails is in no ordinary run, and
    is compared and merged as any other. The report goes to standard error, because standard output is the
    program's; with --compare it goes to standard output. Exits with 0 if the profile has everything that was
    traced, with 1 if it lacks something; the program's own status is shown. 125 it could not be recorded or
    compared, 126 it cannot be executed, 127 it is not there.
    """
    if (program is None) == (trace_path is None):
        raise click.UsageError("want either a program to run or --compare TRACE")
    try:
        if trace_path is not None:
            traced = _read_trace(trace_path, profile_path)
        else:
            traced = _run(program or "", arguments, profile_path, timeout, repeat, dict(failing))
        return _report(*traced, output, merge, form)
    except ShimError as error:
        if hasattr(error, "exit_code"):
            raise
        for line in str(error).splitlines():
            say(line)
        return EXIT_REFUSED  # 1 is what a comparison says


Traced = tuple["Trace", "Profile", tuple[str, ...]]
"""A trace, the profile to compare it with, and how each run ended, none if nothing ran."""


def _read_trace(trace_path: str, profile_path: str | None) -> Traced:
    from shim.cli.files import read_program
    from shim.profile.trace_json import loads

    trace = loads(read_program(trace_path), trace_path)
    return trace, _profile(profile_path, trace.program.path), ()


def _report(
    trace: Trace,
    profile: Profile,
    statuses: tuple[str, ...],
    output: str | None,
    merge: str | None,
    form: str,
) -> int:
    """Write what was asked for, print the comparison, and return the exit code."""
    from shim.cli.files import write_output
    from shim.cli.trace_report import render
    from shim.profile.codec import dumps
    from shim.profile.trace_check import compare
    from shim.profile.trace_json import dumps as trace_dumps
    from shim.profile.trace_merge import with_trace

    if output is not None:
        write_output(output, trace_dumps(trace) + b"\n")
    comparison = compare(trace, profile)
    if merge is not None:
        write_output(merge, dumps(with_trace(profile, trace)) + b"\n")
    click.echo(render(trace, profile, comparison, statuses, form), err=bool(statuses), nl=False)
    return EXIT_LACKING if comparison.lacking else 0


def _profile(given: str | None, program: str) -> Profile:
    """Return the profile a user names, or the one of the program's own machine code."""
    from shim.cli.files import read_program
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.profile.codec import loads

    if given is not None:
        return loads(read_program(given), given)
    return cached_profile(read_program(program), program, default_directory(os.environ))


def _run(
    program: str,
    arguments: tuple[str, ...],
    profile_path: str | None,
    timeout: float | None,
    repeat: int,
    failing: Mapping[int, int],
) -> Traced:
    """Run the program as often as asked, and return the union; an interrupt ends the repetition."""
    from shim.cli.files import find_program, read_program
    from shim.cli.trace_places import MappedFiles
    from shim.launch.record import record
    from shim.profile.phases import rules_from
    from shim.profile.trace import kept_arguments, unite
    from shim.syscalls import table

    path = find_program(program, os.environ.get("PATH", os.defpath))
    profile = _profile(profile_path, path)
    kept = kept_arguments(table(profile.arch).numbers, rules_from(profile, 0))
    files = MappedFiles(read_program)
    traces, statuses = [], []
    for _ in range(repeat):
        recording = record(
            path,
            (program, *arguments),
            os.environ,
            kept=kept,
            failing=failing,
            timeout=timeout,
            job_control=True,
        )
        traces.append(files.trace(recording))
        statuses.append(_status(recording))
        if recording.ended_by == "signal" or recording.signal in INTERRUPTS:
            break
    return unite(traces), profile, tuple(statuses)


def _status(recording: Recording) -> str:
    """Return how a run ended, in words."""
    text = f"exit status {recording.exit_code}"
    if recording.signal:
        try:
            text = f"killed by {signal.Signals(recording.signal).name}"
        except ValueError:
            text = f"killed by signal {recording.signal}"
    reasons = {"itself": "", "timeout": ", ended by --timeout", "signal": ", descendants ended by a signal"}
    if recording.unprivileged:
        say("the program ran with no_new_privs: setuid files gave it nothing")
    return text + reasons[recording.ended_by]
