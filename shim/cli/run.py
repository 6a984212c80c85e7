"""`shim run PROGRAM`: profile it, appraise this machine, and only then let it run, under its own profile."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.arguments import hexadecimal
from shim.cli.attest import TD_QUOTE_COMMAND, TEES
from shim.cli.launching import LaunchOptions, launch_options, prepare
from shim.cli.main import EXIT_REFUSED, say
from shim.errors import BinaryError, IncompleteProfileError, LaunchError, ShimError

if TYPE_CHECKING:
    from attestation.result import AttestationResult
    from shim.launch.plan import LaunchPlan
    from shim.profile.profile import Profile

ROOT = Path("/")


@click.command(
    "run",
    short_help="Appraise this machine, then run a program under its profile.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--policy", type=click.Path(path_type=Path), help="Appraisal policy; required but for the simulation."
)
@click.option("--tee", type=click.Choice(TEES), default="auto", show_default=True,
              help="Where evidence comes from; the simulation must be named.")  # fmt: skip
@click.option(
    "--evidence", type=click.Path(path_type=Path), help="Appraise this evidence instead of collecting some."
)
@click.option(
    "--endorsements", type=click.Path(path_type=Path), multiple=True, help="Certificates for --evidence."
)
@click.option("--events", metavar="FILE", help="Append each refused call to FILE as a line of JSON.")
@click.option("--nonce", type=hexadecimal(32), metavar="HEX", help="The nonce that --evidence is bound to.")
@click.option(
    "--image-policy", type=click.Path(path_type=Path), metavar="FILE",
    help="Which images may run; required where PROGRAM is one, a folder with oci-layout.",
)  # fmt: skip
@click.option(
    "--image-bundle", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
    help="A signature of the image that is kept beside it.",
)  # fmt: skip
@TD_QUOTE_COMMAND
@launch_options
def command(  # noqa: PLR0913  # one parameter per option
    *,
    policy: Path | None,
    tee: str,
    evidence: Path | None,
    endorsements: tuple[Path, ...],
    nonce: bytes | None,
    events: str | None,
    image_policy: Path | None,
    image_bundle: tuple[Path, ...],
    td_quote_command: str | None,
    options: LaunchOptions,
    program: str,
    arguments: tuple[str, ...],
) -> int:
    """
    Run PROGRAM with ARGUMENTS under the syscall profile of its own machine code, or an image of shim build.

    Nothing of it runs unless the appraisal of this machine affirms, and of an image unless --image-policy
    accepts it.  Its exit status is passed on; 125 is a refusal before the start.
    """
    from shim.cli.run_image import execute, is_image, ready
    from shim.cli.trusting import remember

    if evidence is None and (nonce is not None or endorsements):
        raise click.UsageError("--nonce and --endorsements mean nothing without --evidence")

    def appraise(encoded: bytes) -> None:
        if evidence is None:
            _attest_here(encoded, policy, tee, td_quote_command)
        else:
            _attest_given(encoded, policy, tee, evidence, endorsements, nonce)

    if is_image(program, image_policy):
        if events is not None:
            raise click.UsageError(
                "found --events beside an image, want none: its launcher reports by itself"
            )
        try:
            image = ready(program, image_policy, image_bundle, options, os.uname().machine)
            appraise(image.image.plan)
            remember(image.trusted, image.policy)
        except ShimError as error:
            _show_refusal(error)
            return EXIT_REFUSED
        return execute(image, arguments)
    if image_policy is not None or image_bundle:
        raise click.UsageError(
            "--image-policy and --image-bundle mean nothing for a program that is no image"
        )
    return _run_program(program, arguments, options, appraise, events)


def _run_program(
    program: str,
    arguments: tuple[str, ...],
    options: LaunchOptions,
    appraise: Callable[[bytes], None],
    events: str | None,
) -> int:
    """Profile a program, have this machine appraised with its plan, and launch it."""
    from shim.cli.files import find_program, read_program

    path = find_program(program, os.environ.get("PATH", os.defpath))
    data = read_program(path)
    try:
        profile, plan, encoded = prepare(path, data, (program, *arguments), options)
        appraise(encoded)
    except LaunchError:
        raise
    except ShimError as error:
        _show_refusal(error)
        return EXIT_REFUSED
    return _launch(encoded, profile, plan, data, events)


def _attest_here(encoded: bytes, policy: Path | None, tee: str, td_quote_command: str | None) -> None:
    """Collect evidence about this machine, and appraise it; returns only if the result affirms."""
    import hashlib

    from attestation.binding import Shim
    from shim.cli import attest_here
    from shim.cli.guest import entry_name, guest

    if policy is not None:
        attest_here.kind_of(policy)  # a policy that cannot be used is said before anything about the machine
    machine, entry = guest(ROOT), entry_name()
    rules = attest_here.policy_for(policy, attest_here.chosen_tee(tee, machine, entry))
    wanted = Shim(secrets.token_bytes(32), None, hashlib.sha256(encoded).digest())
    result = attest_here.attest_fresh(
        rules, wanted, machine, now=datetime.now(UTC), entry=entry, td_quote_command=td_quote_command
    )
    _show_affirmed(result)


def _attest_given(
    encoded: bytes,
    policy: Path | None,
    tee: str,
    evidence: Path,
    endorsements: tuple[Path, ...],
    nonce: bytes | None,
) -> None:
    """Appraise evidence from a file; returns only if the result affirms."""
    import hashlib

    from attestation.binding import Shim
    from shim.cli import attest_here

    named = attest_here.kind_of(policy)
    rules = attest_here.policy_for(policy, named if tee == "auto" else tee)
    binding = None if nonce is None else Shim(nonce, None, hashlib.sha256(encoded).digest())
    result = attest_here.attest_given(rules, evidence, endorsements, binding, now=datetime.now(UTC))
    _show_affirmed(result)


def _show_affirmed(result: AttestationResult) -> None:
    from shim.cli.attest_here import SIMULATED_NOTICE

    if result.simulated:
        click.echo(f"shim: {SIMULATED_NOTICE}", err=True)
    elif result.label != result.tee:
        click.echo(f"shim: {result.label}: whoever runs it can make it say anything", err=True)


def _show_refusal(error: ShimError) -> None:
    """Say every reason why nothing ran, one line each."""
    lines = [str(error)]
    if isinstance(error, IncompleteProfileError):
        lines = [f"{error.program}: incomplete profile: {place}" for place in error.unresolved]
        lines.append("nothing ran; --allow-incomplete runs it all the same and refuses those calls")
    elif hasattr(error, "mismatches"):
        result: AttestationResult = error.result  # type: ignore[attr-defined]
        kind = "evidence" if result.label == result.tee else f"{result.label} evidence"
        lines = [f"{kind}: {mismatch}" for mismatch in error.mismatches]
        lines.append(f"nothing ran: the appraisal ended as {result.verdict.value}")
    elif hasattr(error, "problems"):
        lines = [*str(error).splitlines(), "nothing ran"]
    elif not isinstance(error, BinaryError):
        lines.append("nothing ran")
    for line in lines:
        say(line)


def _launch(encoded: bytes, profile: Profile, plan: LaunchPlan, data: bytes, events: str | None) -> int:
    """Launch the plan, put refused calls into words, and return the exit code."""
    from shim.cli.reporting import EventsError, reporter
    from shim.launch import native

    try:
        with reporter(profile, plan, data, events) as report:
            result = native.run(encoded, on_event=report, job_control=True)
            for line in report.conclusions(result):
                say(line)
    except EventsError as error:
        _show_refusal(error)
        return EXIT_REFUSED
    except LaunchError as error:
        if error.step == "measure-objects":
            say("a file was changed since it was analysed, or the loader took another (glibc-hwcaps, "
                "ld.so.preload); --no-phases launches without measuring shared objects")  # fmt: skip
        raise
    return result.exit_code
