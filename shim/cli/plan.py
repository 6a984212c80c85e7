"""`shim plan PROGRAM`: the launch plan, as one file that `shim-launch` runs without Python."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import click


@click.command(
    "plan",
    short_help="Write the launch plan that shim-launch reads.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-o", "--output", required=True, help="File to write.")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Pass a variable; the environment is empty otherwise.",
)
@click.option("--no-events", is_flag=True, help="Let the kernel kill the program at once, without a report.")
@click.option(
    "--allow-incomplete",
    is_flag=True,
    help="Accept a profile with unresolved sites; their calls are refused.",
)
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    output: str,
    env: tuple[str, ...],
    no_events: bool,
    allow_incomplete: bool,
    program: str,
    arguments: tuple[str, ...],
) -> int:
    """
    Write the launch plan for PROGRAM with ARGUMENTS: filter, digest, arguments, environment, limits.

    `shim-launch FILE` runs it.
    """
    from shim.cli.files import find_program, read_program, write_output
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.launch.compose import compose
    from shim.launch.plan import encode

    path = find_program(program, os.environ.get("PATH", os.defpath))
    profile = cached_profile(read_program(path), path, default_directory(os.environ))
    plan = compose(
        profile,
        path,
        (program, *arguments),
        environment(env, os.environ),
        events=not no_events,
        allow_incomplete=allow_incomplete,
    )
    data = encode(plan)
    write_output(output, data)
    if output != "-":
        rules = sum(len(phase.rules) for phase in profile.phases)
        click.echo(
            f"{output}: {len(data)} bytes, {rules} syscalls, {len(plan.filter) // 8} filter instructions, "
            f"sha256 {hashlib.sha256(data).hexdigest()}"
        )
    return 0


def environment(assignments: tuple[str, ...], own: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment that NAME=VALUE arguments describe; a bare NAME takes its value from `own`.

    Raises:
        BadParameter: one of them is no assignment, or `own` lacks the name.
    """
    result = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or (not equals and name not in own):
            raise click.BadParameter(
                f"found {assignment!r}, want NAME=VALUE or a name that is set", param_hint="--env"
            )
        result[name] = value if equals else own[name]
    return result
