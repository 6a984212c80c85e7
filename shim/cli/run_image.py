"""`shim run IMAGE`: verify an image, and only then execute its launcher with its plan."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.launching import LaunchOptions

if TYPE_CHECKING:
    from images.layout.graph import Manifest
    from shim.cli.trusting import Trusted

LAUNCHER, PLAN = "/shim/launch", "/shim/plan"
_PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
# What an option says that was not given.
_DEFAULTS = (None, (), False, "kill")


@dataclass(frozen=True, slots=True)
class ReadyImage:
    """
    An image that may run, in memory.

    Attributes:
        trusted: What was found out about it.
        policy: The file of the policy.
        archives: Its layers as tar archives, the lowest first.
        plan: Its launch plan.
        entry_point: What it executes.
        user: As whom, or None for who calls.
    """

    trusted: Trusted
    policy: Path
    archives: tuple[bytes, ...]
    plan: bytes
    entry_point: tuple[str, ...]
    user: tuple[int, int] | None


def is_image(program: str, policy: Path | None) -> bool:
    """
    Whether what a user wants to run is an image: a directory with the file that every layout has.

    A bare name is a program in PATH first, as everywhere, unless there is a policy for images.
    """
    if not (Path(program) / "oci-layout").is_file():
        return False
    return "/" in program or policy is not None or shutil.which(program) is None


def ready(
    program: str, policy: Path | None, bundles: tuple[Path, ...], options: LaunchOptions, machine: str
) -> ReadyImage:
    """
    Return an image that a policy accepts.

    Args:
        program: The directory of its layout.
        policy: Which images are accepted.
        bundles: Signatures beside it.
        options: Those of a launch: an image has a plan, so none of them may be given.
        machine: What it shall run on, as uname(2) has it.

    Raises:
        UsageError: no policy, or options that an image leaves no room for.
        ShimError: as `shim.cli.trusting.trusted`; no image for the machine, or one without a launch plan.
    """
    from shim.cli.trusting import trusted

    if policy is None:
        raise click.UsageError(
            f"{program}: found an image and no policy that says who may sign it, want --image-policy FILE"
        )
    _refuse_options(options)
    found = trusted(Path(program), policy, bundles)
    image = _for_machine(found, machine)
    return _unpacked(found, policy, image)


def execute(image: ReadyImage, arguments: tuple[str, ...]) -> int:
    """
    Execute the entry point of an image in a root directory of its own, in memory; return its exit code.

    Raises:
        LaunchError: it did not run.

    Not checked:
        Anything: `ready` has, and `shim.cli.trusting.remember` has kept its version.
    """
    from images.layout.unpack import unpack
    from shim.launch.rooted import run_rooted

    def fill(root: Path) -> None:
        unpack(image.archives, root, image.trusted.layout.where)

    return run_rooted(fill, (*image.entry_point, *arguments), image.user)


def _refuse_options(options: LaunchOptions) -> None:
    parts: tuple[object, ...] = (options, options.confining)
    for part in parts:
        for name in type(part).__slots__:  # type: ignore[attr-defined]  # both are dataclasses with slots
            if name != "confining" and getattr(part, name) not in _DEFAULTS:
                option = name.strip("_").replace("_", "-")
                raise click.UsageError(
                    f"found --{option} beside an image, want it in its plan: shim build --{option}"
                )


def _for_machine(found: Trusted, machine: str) -> Manifest:
    from images.layout.contents import contents_of
    from images.layout.errors import LayoutError
    from images.layout.graph import manifests_in
    from images.layout.layers import platform_of

    layout = found.layout
    each = [one for entry in contents_of(layout).images for one in manifests_in(entry)]
    images = list({one.descriptor.digest: one for one in each}.values())  # an index may name one again
    fitting = [one for one in images if platform_of(layout, one) == _PLATFORMS.get(machine)]
    if len(fitting) != 1:
        have = ", ".join(platform_of(layout, one) for one in images)
        raise LayoutError(layout.where, f"images for {have}", f"one for this machine, {machine}")
    return fitting[0]


def _unpacked(found: Trusted, policy: Path, image: Manifest) -> ReadyImage:
    from images.layout.errors import LayoutError
    from images.layout.layers import archives, entry_point, user_of
    from images.layout.unpack import file_in

    layout = found.layout
    entry = entry_point(layout, image)
    if entry[:2] != (LAUNCHER, PLAN):
        shown = " ".join(entry)[:90] or "none"
        raise LayoutError(f"{layout.where}: entry point", shown, f"{LAUNCHER} {PLAN}: an image of shim build")
    layers = archives(layout, image)
    plan = file_in(layers, PLAN[1:], layout.where)
    if plan is None or file_in(layers, LAUNCHER[1:], layout.where) is None:
        raise LayoutError(layout.where, "no launcher with a plan", f"{LAUNCHER} and {PLAN}")
    return ReadyImage(found, policy, layers, plan, entry, user_of(layout, image))
