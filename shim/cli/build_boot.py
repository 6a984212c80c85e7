"""What `shim build` asks for where a machine shall boot the image, and how that becomes one."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from attestation.reference_values import Entry
    from images.bootable import Boot
    from images.buildinfo import BootInput
    from images.image import Image
    from images.reference_values import NamedLaunch

# As `images.bootable` has them, which is not loaded for --help.
FORMATS = ("uki", "disk", "vhd", "eif")
_NEEDING_STUB = frozenset({"uki", "disk", "vhd"})


@dataclass(frozen=True, slots=True)
class BootOptions:
    """What the user says of a boot; the fields are the options of `boot_options`."""

    kernel: Path | None
    stub: Path | None
    cmdline: str
    reference_values: Path | None
    firmware: Path | None
    snp: tuple[str, ...]

    def check(self, form: str, *, has_machine: bool = False) -> None:
        """
        Refuse options that mean nothing for a format, and a format without what it needs.

        Raises:
            UsageError: there are such.
        """
        if form in FORMATS and self.kernel is None:
            raise click.UsageError(f"--format {form}: found no kernel, want --kernel FILE")
        if form not in (*FORMATS, "initramfs") or self.kernel is None:
            given = [name for name in self.__slots__ if getattr(self, name)]
            if given:
                named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
                want = "--kernel FILE and a format that boots: initramfs, uki, disk, vhd, eif"
                raise click.UsageError(f"found {named}, want {want}")
        if self.stub is not None and form not in _NEEDING_STUB:
            raise click.UsageError(f"--format {form}: found --stub, want none: no firmware starts it")
        if (self.firmware or self.snp) and form != "initramfs":
            raise click.UsageError(
                f"--format {form}: found --firmware or --snp, want --format initramfs, which a VMM hands over"
            )
        if self.snp and self.firmware is None:
            raise click.UsageError("found --snp, want --firmware FILE beside it")
        told = self.reference_values is not None or has_machine
        if form == "initramfs" and self.kernel is not None and not told:
            raise click.UsageError(
                "--format initramfs: found --kernel, want --reference-values FILE beside it"
            )


def boot_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a boot, as `boot`."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)

    @click.option("--kernel", type=file, metavar="FILE", help="The kernel that boots the image: a bzImage.")
    @click.option(
        "--stub", type=file, metavar="FILE", help="The EFI stub of a UKI or a disk; systemd's otherwise."
    )
    @click.option(
        "--cmdline", metavar="TEXT", default="", help="Words of the kernel's command line behind ours."
    )
    @click.option(
        "--reference-values",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write what hardware will say of the image, for policies of `shim verify`.",
    )
    @click.option(
        "--firmware", type=file, metavar="FILE", help="What a VMM starts before a kernel that it hands over."
    )
    @click.option(
        "--snp",
        multiple=True,
        metavar="VCPUS:TYPE",
        help="A launch under SEV-SNP to predict, as 4:EPYC-Milan; repeatable.",
    )
    @functools.wraps(command)
    def with_boot(*context: click.Context, **given: Any) -> int:  # noqa: ANN401  # one type per option
        boot = BootOptions(**{name: given.pop(name) for name in BootOptions.__slots__})
        return command(*context, boot=boot, **given)

    return with_boot


def boot_of(
    options: BootOptions, form: str, image: Image, initramfs: bytes
) -> tuple[Boot, tuple[BootInput, ...]]:
    """
    Return what starts the image, and the files that it was made from, as the options name them.

    Raises:
        InputFileError: a file cannot be read.
        StubError: none is named, and systemd's is not installed.
    """
    import shim
    from images import uki
    from images.bootable import Boot
    from images.buildinfo import BootInput
    from images.command_line import command_line
    from shim.canonical import sha256_hex
    from shim.cli.measure_input import MAXIMUM_FIRMWARE, MAXIMUM_IMAGE, read

    parts = {"kernel": (options.kernel, options.kernel, MAXIMUM_IMAGE)}
    if form in _NEEDING_STUB:
        parts["stub"] = (options.stub or uki.found_stub(Path("/")), options.stub, MAXIMUM_IMAGE)
    parts["firmware"] = (options.firmware, options.firmware, MAXIMUM_FIRMWARE)
    data = {name: b"" if path is None else read(path, name, most) for name, (path, _, most) in parts.items()}
    inputs = tuple(
        BootInput(name, str(path), sha256_hex(data[name]), named is not None)
        for name, (path, named, _) in parts.items()
        if path is not None
    )
    label = f"{posixpath.basename(image.manifest.program)}, plan sha256:{image.manifest.plan}"
    line = command_line(options.cmdline)
    boot = Boot(
        data["kernel"], initramfs, line, data.get("stub", b""), label, image.created, shim.__version__
    )
    return boot, inputs


def expected_of(options: BootOptions, boot: Boot, *, simulated: bool = False) -> tuple[Entry, ...]:
    """
    Return what hardware will say of an initramfs that a VMM hands over; `simulated`, what who plays it says.

    Raises:
        MeasureError: from these inputs no register follows.
        BadParameter: a launch that is not written as VCPUS:TYPE.
    """
    from images import reference_values
    from images.bootable import handed_over
    from shim.cli.measure_input import MAXIMUM_FIRMWARE, read

    if simulated:
        direct = reference_values.DirectBoot(boot.kernel, boot.initramfs, boot.command_line.encode())
        return (reference_values.of_simulated(direct, boot.label),)
    firmware = b"" if options.firmware is None else read(options.firmware, "firmware", MAXIMUM_FIRMWARE)
    return handed_over(boot, firmware, tuple(_launch(text) for text in options.snp))


def is_simulated(image: Image) -> bool:
    """Whether the image was built for a TEE that somebody plays."""
    from images.image import PLAN
    from shim.launch.machine import EvidenceKind
    from shim.launch.plan_codec import decode

    plan = image.tree.get(PLAN.encode())
    channel = None if plan is None else decode(plan.data()).channel
    return channel is not None and channel.evidence is EvidenceKind.SIMULATED


def _launch(text: str) -> NamedLaunch:
    from images.measure.snp import MAXIMUM_VCPUS, Launch
    from images.measure.vcpu import SIGNATURES
    from images.measure.vmsa import Vmm
    from images.reference_values import NamedLaunch

    count, _, name = text.partition(":")
    if name not in SIGNATURES or not count.isdecimal() or not 1 <= int(count) <= MAXIMUM_VCPUS:
        want = f"1 to {MAXIMUM_VCPUS}, a colon and a type as EPYC-Milan (`shim measure snp --help`)"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--snp")
    return NamedLaunch(name, Launch(int(count), SIGNATURES[name], Vmm.QEMU, 1))
