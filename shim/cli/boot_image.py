"""What of an IMAGE does a machine boot, which plan is in it, and what will be measured?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from images.boot.errors import BootImageFormError, InitramfsError
from shim.cli.measure_input import MAXIMUM_IMAGE, read

if TYPE_CHECKING:
    from shim.launch.plan import LaunchPlan

PLAN = b"shim/plan"
_FORMS = "an initramfs, a unified kernel image, a disk or VHD, or a folder with oci-layout"


@dataclass(frozen=True, slots=True)
class BootImage:
    """
    What is booted, in memory: no file that could be another one a moment later.

    Attributes:
        where: What the user called it.
        form: "initramfs", which a VMM hands over, or "uki", which firmware starts.
        kernel, initrd: Of an initramfs; of a UKI what its stub hands over.
        command_line: Of the kernel.
        program: The UKI; empty for an initramfs.
        plan: The bytes of the launch plan.
    """

    where: str
    form: str
    kernel: bytes
    initrd: bytes
    command_line: str
    program: bytes
    plan: bytes

    @property
    def plan_digest(self) -> bytes:
        """SHA-256 of the plan: what a relying party knows it by."""
        return hashlib.sha256(self.plan).digest()

    def planned(self) -> LaunchPlan:
        """
        Return the plan.

        Raises:
            PlanFormatError: it is none.
        """
        from shim.launch.plan_codec import decode

        return decode(self.plan)

    def with_plan(self, change: Callable[[LaunchPlan], LaunchPlan]) -> BootImage:
        """
        Return the same with another plan: it is measured anew, and no signature of the image covers it.

        Raises:
            BootImageFormError: a firmware's program, in which nothing is changed.
            PlanFormatError: a plan that cannot be.
        """
        from images.boot.initramfs import replaced, unpacked
        from shim.launch.plan_codec import encode

        plan = encode(change(self.planned()))
        if plan == self.plan:
            return self
        if self.form != "initramfs":
            raise BootImageFormError(self.where, "a change of its plan", "none: build the image anew")
        initrd = replaced(unpacked(self.initrd, self.where), PLAN, plan, self.where)
        return replace(self, initrd=initrd, plan=plan)


@dataclass(frozen=True, slots=True)
class Trust:
    """Which OCI images may run: the policy for images, and signatures that are kept beside them."""

    policy: Path | None
    bundles: tuple[Path, ...]


def load(image: Path, kernel: Path | None, cmdline: str, trust: Trust) -> BootImage:
    """
    Return what an IMAGE boots.

    Args:
        image: The file or folder.
        kernel: What is booted with an initramfs.
        cmdline: Words for the kernel behind ours; for an initramfs only.
        trust: For OCI images.

    Raises:
        BootImageFormError, InitramfsError: it is none, or not of shim build.
        InputFileError: a file cannot be read.
        UsageError: options that the form of the image has no room for.
        ShimError: as `shim.cli.run_image.ready`.
    """
    from images.boot.initramfs import is_initramfs

    if image.is_dir():
        return _handed_over(str(image), _of_layout(image, trust), kernel, cmdline)
    if trust.policy is not None or trust.bundles:
        raise click.UsageError(f"{image}: --image-policy and --image-bundle are for a folder with oci-layout")
    data = read(image, "image", 8 * MAXIMUM_IMAGE)
    if is_initramfs(data):
        return _handed_over(str(image), data, kernel, cmdline)
    for option, given in (("--kernel", kernel), ("--cmdline", cmdline)):
        if given:
            raise click.UsageError(f"{image}: found {option}, want none: it is in the image")
    return _started_by_firmware(str(image), data)


def _handed_over(where: str, initrd: bytes, kernel: Path | None, cmdline: str) -> BootImage:
    from images.command_line import command_line

    if kernel is None:
        raise click.UsageError(f"{where}: found no kernel for it, want --kernel FILE")
    plan = _plan_in(initrd, where)
    data = read(kernel, "kernel", MAXIMUM_IMAGE)
    return BootImage(where, "initramfs", data, initrd, command_line(cmdline), b"", plan)


def _started_by_firmware(where: str, data: bytes) -> BootImage:
    from images.boot.disk import boot_program
    from images.measure import uki

    program = data if data.startswith(b"MZ") else boot_program(data, where)
    if program is None:
        raise BootImageFormError(where, f"a file that begins with {data[:4].hex(' ') or 'nothing'}", _FORMS)
    sections = uki.parse(program).sections
    kernel, initrd = sections.get(".linux", b""), sections.get(".initrd", b"")
    line = sections.get(".cmdline", b"").rstrip(b"\0").decode("utf-8", "replace")
    return BootImage(where, "uki", kernel, initrd, line, program, _plan_in(initrd, where))


def _plan_in(initrd: bytes, where: str) -> bytes:
    from images.boot.initramfs import content, unpacked

    plan = content(unpacked(initrd, where), PLAN, where)
    if plan is None:
        raise InitramfsError(where, f"no /{PLAN.decode()}", "an image of shim build")
    return plan


def _of_layout(image: Path, trust: Trust) -> bytes:
    """Return the files of an image that a policy accepts as an initramfs."""
    from images.boot.layers import initramfs_of
    from shim.cli.run_image import accepted
    from shim.cli.trusting import remember

    if not (image / "oci-layout").is_file():
        raise BootImageFormError(str(image), "a folder without oci-layout", _FORMS)
    found = accepted(str(image), trust.policy, trust.bundles, os.uname().machine)
    packed = initramfs_of(found.image.archives, str(image))
    remember(found.trusted, found.policy)
    return packed
