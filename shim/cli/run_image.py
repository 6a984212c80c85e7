"""`shim run IMAGE`: verify an image, and only then execute its launcher with its plan."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.image_parts import is_layout
from shim.cli.launching import LaunchOptions

if TYPE_CHECKING:
    from shim.cli.image_parts import LaunchedImage
    from shim.cli.trusting import Trusted

# What an option says that was not given.
_DEFAULTS = (None, (), False, "kill")


@dataclass(frozen=True, slots=True)
class ReadyImage:
    """
    An image that may run, in memory.

    Attributes:
        trusted: What was found out about it.
        policy: The file of the policy.
        image: What of it runs.
    """

    trusted: Trusted
    policy: Path
    image: LaunchedImage


def is_image(program: str, policy: Path | None) -> bool:
    """
    Whether what a user wants to run is an image: a directory with the file that every layout has.

    A bare name is a program in PATH first, as everywhere, unless there is a policy for images.
    """
    if not is_layout(program):
        return False
    return "/" in program or policy is not None or shutil.which(program) is None


def ready(
    program: str, policy: Path | None, bundles: tuple[Path, ...], options: LaunchOptions, machine: str
) -> ReadyImage:
    """
    Return an image that a policy accepts, for a launch with options.

    Args:
        program: The directory of its layout.
        policy: Which images are accepted.
        bundles: Signatures beside it.
        options: Those of a launch: an image has a plan, so none of them may be given.
        machine: What it shall run on, as uname(2) has it.

    Raises:
        UsageError: no policy, or options that an image leaves no room for.
        ShimError: as `accepted`.
    """
    _check_policy(program, policy)
    _refuse_options(options)
    return accepted(program, policy, bundles, machine)


def accepted(program: str, policy: Path | None, bundles: tuple[Path, ...], machine: str) -> ReadyImage:
    """
    Return an image that a policy accepts.

    Args:
        program: The directory of its layout.
        policy: Which images are accepted.
        bundles: Signatures beside it.
        machine: What it shall run on, as uname(2) has it.

    Raises:
        UsageError: no policy.
        ShimError: as `shim.cli.trusting.trusted`; no image for the machine, or one without a launch plan.
    """
    from shim.cli.image_parts import launched_image
    from shim.cli.trusting import trusted

    policy = _check_policy(program, policy)
    found = trusted(Path(program), policy, bundles)
    return ReadyImage(found, policy, launched_image(found.layout, machine))


def execute(ready_image: ReadyImage, arguments: tuple[str, ...]) -> int:
    """
    Execute the entry point of an image in a root directory of its own, in memory; return its exit code.

    Raises:
        LaunchError: it did not run.

    Not checked:
        Anything: `ready` has, and `shim.cli.trusting.remember` has kept its version.
    """
    from images.layout.unpack import unpack
    from shim.launch.rooted import run_rooted

    image = ready_image.image

    def fill(root: Path) -> None:
        unpack(image.archives, root, image.layout.where)

    return run_rooted(fill, (*image.entry_point, *arguments), image.user)


def _check_policy(program: str, policy: Path | None) -> Path:
    if policy is None:
        raise click.UsageError(
            f"{program}: found an image and no policy that says who may sign it, want --image-policy FILE"
        )
    return policy


def _refuse_options(options: LaunchOptions) -> None:
    parts: tuple[object, ...] = (options, options.confining)
    for part in parts:
        for name in type(part).__slots__:  # type: ignore[attr-defined]  # both are dataclasses with slots
            if name != "confining" and getattr(part, name) not in _DEFAULTS:
                option = name.strip("_").replace("_", "-")
                raise click.UsageError(
                    f"found --{option} beside an image, want it in its plan: shim build --{option}"
                )
