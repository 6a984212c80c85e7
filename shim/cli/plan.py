"""`shim plan PROGRAM`: the launch plan, as one file that `shim-launch` runs without Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from shim.cli.launching import LaunchOptions, appended_option, launch_options, prepare

if TYPE_CHECKING:
    from shim.launch.plan import LaunchPlan
    from shim.profile.profile import Profile


@click.command(
    "plan",
    short_help="Write the launch plan that shim-launch reads.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-o", "--output", required=True, help="File to write.")
@appended_option
@launch_options
def command(
    *, output: str, appended: str, program: str, arguments: tuple[str, ...], options: LaunchOptions
) -> int:
    """
    Write the launch plan for PROGRAM with ARGUMENTS: filter, digest, arguments, environment, limits.

    `shim-launch FILE` runs it.
    """
    from shim.canonical import sha256_hex
    from shim.cli.files import find_program, read_program, write_output
    from shim.profile.phases import rules_from

    path = find_program(program, os.environ.get("PATH", os.defpath))
    profile, plan, data = prepare(
        path, read_program(path), (program, *arguments), options, appendable=appended == "allow"
    )
    write_output(output, data)
    if output != "-":
        rules = len(rules_from(profile, 0))
        click.echo(
            f"{output}: {len(data)} bytes, {rules} syscalls, {len(plan.filter) // 8} filter instructions, "
            f"sha256 {sha256_hex(data)}"
        )
        click.echo(f"calls {pinning(profile, plan, no_pin=options.no_pin)}")
        for line in staging(profile, plan, no_phases=options.no_phases):
            click.echo(line)
    return 0


def pinning(profile: Profile, plan: LaunchPlan, *, no_pin: bool) -> str:
    """Return to how many places a plan pins the calls of a profile, or why it pins none."""
    from shim.profile.pins import pins

    digests = {one.digest.hex() for one in plan.objects}
    places = pins(profile, 0, [one.path for one in profile.objects[1:] if one.sha256 in digests])
    found = {site for pin in places.pins for site in pin.sites}
    if plan.relocations:
        return f"are pinned to {len(found)} places and the vDSO"
    if any(stage.relocations for stage in plan.stages):
        objects = {site.object for site in found}
        where = f"{len(found)} places in {len(objects)} files and the vDSO"
        return f"are pinned to {where}, once the loader is done"
    if no_pin:
        return "are not pinned: asked for"
    if not places.unpinnable:
        return "are not pinned: the filter would be too long"
    if len(profile.objects) > 1 and not plan.objects:
        return "are not pinned: nobody will know where shared objects are"
    return f"are not pinned: {'; '.join(places.unpinnable)}"


def staging(profile: Profile, plan: LaunchPlan, *, no_phases: bool) -> Iterator[str]:
    """Yield what a plan does about shared objects and about phases, in lines."""
    taken = {stage.boundary for stage in plan.stages}
    tightened = [f"{one.name} at {one.boundary:#x}" for one in profile.phases if one.boundary in taken]
    if len(profile.objects) > 1:
        reason = "asked for" if no_phases else "nobody traces it"
        measured = f"{len(plan.objects)} shared objects are measured before the program's first instruction"
        yield measured if plan.objects else f"libraries not protected: {reason}"
        later = len(profile.objects) - 1 - len(plan.objects)
        if plan.objects and later:
            yield f"libraries not protected: {later} that the program may open later"
    if tightened:
        yield f"the filter is tightened: {', '.join(tightened)}"
