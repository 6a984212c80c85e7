"""What is launched in an image, and who vouches for it?  For `shim run`, `shim profile` and `shim debug`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from images.layout.graph import Layout, Manifest
    from images.trust.result import TrustResult

LAUNCHER, PLAN = "/shim/launch", "/shim/plan"
LAYOUT_FILE = "oci-layout"
_PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


@dataclass(frozen=True, slots=True)
class LaunchedImage:
    """
    An image of shim build, in memory.

    Attributes:
        layout: Where it is from; every byte of it is what names it.
        image: Which of the layout.
        archives: Its layers as tar archives, the lowest first.
        plan: Its launch plan.
        launcher: Its launcher.
        entry_point: What it executes.
        user: As whom, or None for who calls.
    """

    layout: Layout
    image: Manifest
    archives: tuple[bytes, ...]
    plan: bytes
    launcher: bytes
    entry_point: tuple[str, ...]
    user: tuple[int, int] | None


def is_layout(path: str) -> bool:
    """Whether a path is a directory with the file that every OCI layout has."""
    return (Path(path) / LAYOUT_FILE).is_file()


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say who has to vouch for an image, as `image_policy` and `image_bundle`."""
    for option in (
        click.option(
            "--image-bundle", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
            help="A signature of the image that is kept beside it.",
        ),
        click.option(
            "--image-policy", type=click.Path(path_type=Path), metavar="FILE",
            help="Of an image: refuse it unless this policy accepts it, as `shim run` does.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def vouched(path: str, policy: Path | None, bundles: tuple[Path, ...]) -> tuple[Layout, TrustResult | None]:
    """
    Return a layout, and what a policy says of it; without one only that every byte is what names it.

    Raises:
        UsageError: signatures without a policy.
        ShimError: as `shim.cli.trusting.trusted`.
    """
    from images.layout import files, graph
    from shim.cli.trusting import trusted

    if policy is not None:
        found = trusted(Path(path), policy, bundles)
        return found.layout, found.result
    if bundles:
        raise click.UsageError(
            "found --image-bundle alone, want --image-policy FILE, which says whose counts"
        )
    return graph.parse(files.read_files(Path(path)), path), None


def not_vouched(layout: Layout) -> str:
    """Return the line that says that nobody was asked who made an image."""
    from images.layout.contents import contents_of

    signed = len(contents_of(layout).signatures)
    have = f"{signed} signature{'s' * (signed != 1)}, none of them checked" if signed else "no signature"
    return f"{layout.where}: whole, but it has {have}: --image-policy FILE says who may have made it"


def launched_image(layout: Layout, machine: str, *, alone: bool = False) -> LaunchedImage:
    """
    Return the image of a layout that is for a machine, as uname(2) has it.

    Where `alone`, also one for another machine if there is no other.

    Raises:
        LayoutError: no image for it, or none of shim build.
    """
    from images.layout.errors import LayoutError
    from images.layout.layers import archives, entry_point, user_of
    from images.layout.unpack import file_in

    image = _chosen(layout, machine, alone=alone)
    entry = entry_point(layout, image)
    if entry[:2] != (LAUNCHER, PLAN):
        shown = " ".join(entry)[:90] or "none"
        raise LayoutError(f"{layout.where}: entry point", shown, f"{LAUNCHER} {PLAN}: an image of shim build")
    layers = archives(layout, image)
    plan = file_in(layers, PLAN[1:], layout.where)
    launcher = file_in(layers, LAUNCHER[1:], layout.where)
    if plan is None or launcher is None:
        raise LayoutError(layout.where, "no launcher with a plan", f"{LAUNCHER} and {PLAN}")
    return LaunchedImage(layout, image, layers, plan, launcher, entry, user_of(layout, image))


def _chosen(layout: Layout, machine: str, *, alone: bool) -> Manifest:
    from images.layout.contents import contents_of
    from images.layout.errors import LayoutError
    from images.layout.graph import manifests_in
    from images.layout.layers import platform_of

    each = [one for entry in contents_of(layout).images for one in manifests_in(entry)]
    images = list({one.descriptor.digest: one for one in each}.values())  # an index may name one again
    if alone and len(images) == 1:
        return images[0]
    fitting = [one for one in images if platform_of(layout, one) == _PLATFORMS.get(machine)]
    if len(fitting) != 1:
        have = ", ".join(platform_of(layout, one) for one in images) or "nothing"
        raise LayoutError(layout.where, f"images for {have}", f"one for this machine, {machine}")
    return fitting[0]
