"""`shim plan PROGRAM`: the launch plan, as one file that `shim-launch` runs without Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shim.launch.compose import OnViolation
    from shim.launch.plan import LaunchPlan
    from shim.profile.profile import Profile


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
@click.option(
    "--on-violation",
    type=click.Choice(["kill", "errno", "audit"]),
    default="kill",
    show_default=True,
    help="What becomes of a refused call: it ends the program, fails with EPERM, or is made and reported.",
)
@click.option("--no-events", is_flag=True, help="Let the kernel kill the program at once, without a report.")
@click.option(
    "--allow-incomplete",
    is_flag=True,
    help="Accept a profile with unresolved sites; their calls are refused.",
)
@click.option(
    "--require",
    multiple=True,
    type=click.Choice(["mdwe", "mseal"]),
    help="Fail where the kernel lacks it: mdwe keeps pages from becoming code, mseal keeps code what it is.",
)
@click.option("--no-pin", is_flag=True, help="Allow calls from everywhere in the process.")
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    output: str,
    env: tuple[str, ...],
    on_violation: OnViolation,
    no_events: bool,
    allow_incomplete: bool,
    no_pin: bool,
    require: tuple[str, ...],
    program: str,
    arguments: tuple[str, ...],
) -> int:
    """
    Write the launch plan for PROGRAM with ARGUMENTS: filter, digest, arguments, environment, limits.

    `shim-launch FILE` runs it.
    """
    from shim.canonical import sha256_hex
    from shim.cli.files import find_program, read_program, write_output

    path = find_program(program, os.environ.get("PATH", os.defpath))
    profile, plan, data = prepare(
        path,
        read_program(path),
        (program, *arguments),
        env,
        on_violation=answer_of(on_violation, no_events=no_events),
        allow_incomplete=allow_incomplete,
        no_pin=no_pin,
        require=require,
    )
    write_output(output, data)
    if output != "-":
        rules = sum(len(phase.rules) for phase in profile.phases)
        click.echo(
            f"{output}: {len(data)} bytes, {rules} syscalls, {len(plan.filter) // 8} filter instructions, "
            f"sha256 {sha256_hex(data)}"
        )
        click.echo(f"calls {pinning(profile, plan, no_pin=no_pin)}")
    return 0


def pinning(profile: Profile, plan: LaunchPlan, *, no_pin: bool) -> str:
    """Return to how many places a plan pins the calls of a profile, or why it pins none."""
    from shim.profile.pins import pins

    places = pins(profile)
    if plan.relocations:
        found = {site for pin in places.pins for site in pin.sites}
        return f"are pinned to {len(found)} places and the vDSO"
    reason = "asked for" if no_pin else "; ".join(places.unpinnable)
    return f"are not pinned: {reason}"


def prepare(  # noqa: PLR0913  # what a launch depends on
    path: str,
    data: bytes,
    argv: tuple[str, ...],
    env: tuple[str, ...],
    *,
    on_violation: OnViolation,
    allow_incomplete: bool,
    no_pin: bool = False,
    require: tuple[str, ...] = (),
) -> tuple[Profile, LaunchPlan, bytes]:
    """Return the profile of the program with the bytes `data`, its launch plan, and the plan's bytes."""
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.elf.image import parse_elf
    from shim.elf.pages import constant_pages
    from shim.launch.compose import Layout, compose
    from shim.launch.plan import encode

    profile = cached_profile(data, path, default_directory(os.environ))
    variables = environment(env, os.environ)
    image = parse_elf(data, path)
    plan = compose(
        profile,
        path,
        argv,
        variables,
        on_violation=on_violation,
        allow_incomplete=allow_incomplete,
        layout=Layout(image.entry - image.base, constant_pages(image)),
        pin=not no_pin,
        require=require,
    )
    return profile, plan, encode(plan)


def answer_of(on_violation: OnViolation, *, no_events: bool) -> OnViolation:
    """
    Return what two options together say of refused calls.

    Raises:
        UsageError: they contradict each other.
    """
    if no_events and on_violation != "kill":
        raise click.UsageError(
            f"--no-events lets the kernel kill; --on-violation {on_violation} needs events"
        )
    return "kernel" if no_events else on_violation


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
