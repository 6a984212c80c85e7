"""`shim profile PROGRAM`: what may this program ask of the kernel, and why?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import derivation_options, request
from shim.cli.image_parts import is_layout, trust_options
from shim.cli.waiting import stages_of
from shim.progress import in_silence

if TYPE_CHECKING:
    from pathlib import Path

    from shim.cli.profile_many import Job, Outcome
    from shim.profile.profile import Profile, SyscallRule

EXIT_INCOMPLETE = 3
FORMATS = ("table", "json", "html", "names", "oci", "docker", "spo", "systemd", "libseccomp", "bpf", "bwrap")
# As `shim.cli.formats` has it, which costs more to import than a table needs.
BINARY = ("bpf", "bwrap")


@click.command("profile", short_help="What may this program ask of the kernel?")
@click.argument("programs", nargs=-1, required=True, metavar="PROGRAM...")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "-o",
    "--output",
    default="-",
    help="File to write, standard output if not given; for several programs a folder.",
)
@derivation_options
@trust_options
@click.option(
    "--merge",
    multiple=True,
    metavar="FILE",
    help="Add what a run was seen to need: events of `shim run --events`, or a trace of `shim trace`.",
)
@click.option("--no-cache", is_flag=True, help="Derive anew, and keep nothing.")
@click.option("--why", is_flag=True, help="In the table: the whole call chain of every syscall.")
def command(  # noqa: PLR0913  # one parameter for each option
    *,
    programs: tuple[str, ...],
    form: str,
    output: str,
    why: bool,
    root: str,
    modules: tuple[str, ...],
    assume: tuple[str, ...],
    no_assumptions: bool,
    image_policy: Path | None,
    image_bundle: tuple[Path, ...],
    merge: tuple[str, ...],
    no_cache: bool,
) -> int:
    """
    Derive the syscall profile of each PROGRAM, an ELF file, from its and its libraries' machine code.

    A PROGRAM may be an image of shim build, a folder with oci-layout: then what a container runtime has to
    allow around it, which is what the launcher calls and what the plan allows the program.  Images that
    --image-policy does not accept are refused; without it only their bytes are checked.

    Several programs are worked on at the same time, each profile becomes a file in the folder DIR of -o DIR,
    and one that fails does not stop the others.

    Exits with 3 if a place that can enter the kernel could not be bounded; such places are listed. Of several
    programs the worst counts.
    """
    from shim.cli.profile_cache import default_directory
    from shim.cli.profile_many import Job, cores_to_use, jobs, run_all

    if form in BINARY and output == "-" and len(programs) == 1 and sys.stdout.isatty():
        raise click.UsageError(f"found a terminal for --format {form}, want a file: -o FILE")
    asked = request(root, modules, assume, no_assumptions)
    cache = None if no_cache else default_directory(os.environ)
    job = Job(programs[0], output, form, why, asked, cache, bool(merge), image_policy, image_bundle)
    if (image_policy or image_bundle) and not all(map(is_layout, programs)):
        raise click.UsageError(
            "--image-policy and --image-bundle mean nothing for a program that is no image"
        )
    if len(programs) > 1 and merge:
        raise click.UsageError("--merge adds to the profile of one program")
    if len(programs) > 1:
        return run_all(jobs(programs, job), output, derive_one, cores_to_use())
    outcome = _of_image(job) if is_layout(programs[0]) else _of_program(job, merge)
    for line in outcome.lines:
        click.echo(f"shim: {line}", err=True)
    return outcome.code


def derive_one(job: Job) -> Outcome:
    """
    Derive one profile, write it, and return what came of it.

    Raises:
        ShimError: the program cannot be read or analysed, or the profile not written.
    """
    if is_layout(job.program):
        return _of_image(job)
    return _written(job, _derived(job, in_silence))


def _of_program(job: Job, merge: tuple[str, ...]) -> Outcome:
    with stages_of(job.program) as stage:
        profile = merged(_derived(job, stage), merge)
    return _written(job, profile)


def _of_image(job: Job) -> Outcome:
    """Write the outer profile of an image, and return what came of it."""
    from shim.cli.files import write_output
    from shim.cli.profile_image import image_profile, written
    from shim.cli.profile_many import Outcome

    found = image_profile(job)
    write_output(job.output, written(found, job.form))
    profile = found.outer.profile
    code = 0 if profile.complete else EXIT_INCOMPLETE
    return Outcome(job.program, len(profile.phases[0].rules), (*found.lines, *open_ends(profile)), code)


def _derived(job: Job, stage: Callable[[str], None]) -> Profile:
    from shim.cli.files import read_program
    from shim.cli.profile_cache import cached_profile

    return cached_profile(read_program(job.program), job.program, job.cache, job.request, stage=stage)


def merged(profile: Profile, files: tuple[str, ...]) -> Profile:
    """
    Return a profile with what the runs recorded in `files` needed beside it.

    Raises:
        ProfileError: a file is neither events nor a trace, or of another program.
    """
    if not files:
        return profile
    from shim.cli.files import read_program
    from shim.profile import trace_json, violation
    from shim.profile.trace_merge import with_trace

    for file in files:
        data = read_program(file)
        events = data.lstrip().startswith(b'{"address"') or b'"event":"violation"' in data[:4096]
        trace = (
            violation.as_trace(violation.loads(data, file), profile)
            if events
            else trace_json.loads(data, file)
        )
        profile = with_trace(profile, trace)
    return profile


def _written(job: Job, profile: Profile) -> Outcome:
    from shim.cli.files import write_output
    from shim.cli.profile_many import Outcome
    from shim.profile.codec import dumps

    if job.form == "json":
        data = dumps(profile) + b"\n"
    elif job.form == "table":
        data = render(profile, why=job.why).encode()
    else:
        from shim.cli import formats

        data = formats.write(profile, job.form)
    write_output(job.output, data)
    calls = len({rule.number for phase in profile.phases for rule in phase.rules})
    code = 0 if profile.complete else EXIT_INCOMPLETE
    return Outcome(job.program, calls, tuple(open_ends(profile)), code)


def open_ends(profile: Profile) -> list[str]:
    """Return one line for each place that makes the profile incomplete."""
    places = [("unresolved", place) for place in profile.unresolved]
    places += [("another ABI", place) for place in profile.foreign_abi]
    return [
        f"{profile.program.path}: {place.function} at {place.address:#x}: found {kind} ({place.reason}), "
        "want a set of syscall numbers"
        for kind, place in places
    ]


def render(profile: Profile, *, why: bool) -> str:
    """Return the table for people: syscall, where it is issued, by which way the program gets there."""
    from rich.console import Console
    from rich.table import Table

    from shim.profile.phases import rules_from

    console = Console(width=None if why else 118, highlight=False, soft_wrap=False)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("syscall", no_wrap=True)
    shown.add_column("nr", justify="right", no_wrap=True)
    shown.add_column("issued at", no_wrap=True)
    shown.add_column("why" if why else "why (last links of the chain)", overflow="fold")
    rules = rules_from(profile, 0)
    for rule in rules:
        shown.add_row(rule.name, str(rule.number), _sites(rule), _chain(rule, whole=why))
    with console.capture() as captured:
        console.print(shown)
    state = "complete" if profile.complete else "INCOMPLETE"
    summary = f"{profile.program.path}: {len(rules)} syscalls, {state}; sha256 {profile.program.sha256}"
    rows = "\n".join(line.rstrip() for line in captured.get().splitlines())
    assumed = "".join(f"assumed: {assumption}\n" for assumption in profile.assumptions)
    phases = "".join(_fewer(profile, index) for index in range(1, len(profile.phases)))
    return f"{rows}\n\n{phases}{assumed}{summary}\n"


def _fewer(profile: Profile, index: int) -> str:
    """Return the line that says what a later phase does without."""
    from shim.profile.phases import rules_from

    phase, names = profile.phases[index], {rule.name for rule in rules_from(profile, index)}
    gone = [rule.name for rule in rules_from(profile, index - 1) if rule.name not in names]
    return f"from {phase.name} at {phase.boundary:#x} on: {len(names)} syscalls, without {' '.join(gone)}\n"


def _sites(rule: SyscallRule) -> str:
    if not rule.sites:
        return "-"
    first = rule.sites[0]
    name = first.function if len(first.function) <= 28 else first.function[:27] + "…"
    more = f" +{len(rule.sites) - 1}" if len(rule.sites) > 1 else ""
    return f"{name} {first.address:#x}{more}"


def _chain(rule: SyscallRule, *, whole: bool) -> str:
    links = rule.why if whole or not rule.sites else tuple(link.rsplit(": ", 1)[-1] for link in rule.why[-3:])
    return "\n".join(links) if whole else " > ".join(links)
