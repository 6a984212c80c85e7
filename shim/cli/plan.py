"""`shim plan PROGRAM`: the launch plan, as one file that `shim-launch` runs without Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shim.cli.launching import LaunchOptions, launch_options, prepare

if TYPE_CHECKING:
    from shim.launch.plan import LaunchPlan
    from shim.profile.profile import Profile


@click.command(
    "plan",
    short_help="Write the launch plan that shim-launch reads.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-o", "--output", required=True, help="File to write.")
@launch_options
def command(*, output: str, program: str, arguments: tuple[str, ...], options: LaunchOptions) -> int:
    """
    Write the launch plan for PROGRAM with ARGUMENTS: filter, digest, arguments, environment, limits.

    `shim-launch FILE` runs it.
    """
    from shim.canonical import sha256_hex
    from shim.cli.files import find_program, read_program, write_output

    path = find_program(program, os.environ.get("PATH", os.defpath))
    profile, plan, data = prepare(path, read_program(path), (program, *arguments), options)
    write_output(output, data)
    if output != "-":
        rules = sum(len(phase.rules) for phase in profile.phases)
        click.echo(
            f"{output}: {len(data)} bytes, {rules} syscalls, {len(plan.filter) // 8} filter instructions, "
            f"sha256 {sha256_hex(data)}"
        )
        click.echo(f"calls {pinning(profile, plan, no_pin=options.no_pin)}")
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
