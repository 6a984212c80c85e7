"""
From an image to what a machine boots, and what hardware will say of it.

Kernel, the image as an initramfs, and a command line, in one of the formats that start them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.reference_values import Entry
from images import disk, eif, reference_values, uki
from images.reference_values import DirectBoot, NamedLaunch
from images.sparse import SparseImage

FORMATS = ("uki", "disk", "vhd", "eif")


@dataclass(frozen=True, slots=True)
class Boot:
    """
    What starts an image.

    Attributes:
        kernel: A bzImage.
        initramfs: The image.
        command_line: From `images.command_line`.
        stub: An EFI stub; empty where the format has none.
        label: Words for people: which image this is.
        created: Seconds since 1970.
        tool_version: Of the shim.
    """

    kernel: bytes
    initramfs: bytes
    command_line: str
    stub: bytes
    label: str
    created: int
    tool_version: str


def bootable(form: str, boot: Boot) -> tuple[SparseImage, tuple[Entry, ...]]:
    """
    Return the bytes of a bootable image, and the registers that evidence of it will have.

    Args:
        form: One of `FORMATS`.
        boot: What it is made of.

    Raises:
        BootImageError: see `images.uki.image`, `images.disk.image` and `images.eif.image`.
        MeasureError: from the stub's image no register follows.
    """
    if form == "eif":
        description = eif.Description(boot.label, "1", "shim", boot.tool_version, boot.created)
        enclave = eif.image(eif.Parts(boot.kernel, boot.command_line, (boot.initramfs,)), description)
        return _whole(enclave), reference_values.of_eif(enclave, boot.label)
    release = f'ID=shim\nNAME="shim"\nPRETTY_NAME="{boot.label}"\n'.encode()
    program = uki.image(boot.stub, uki.Parts(boot.kernel, boot.initramfs, boot.command_line, release))
    expected = reference_values.of_uki(program, boot.label)
    if form == "uki":
        return _whole(program), expected
    made = disk.vhd_image if form == "vhd" else disk.image
    return made(program, boot.created), expected


def handed_over(boot: Boot, firmware: bytes, launches: Sequence[NamedLaunch]) -> tuple[Entry, ...]:
    """
    Return what hardware will say where the VMM hands over kernel, initramfs and command line.

    RTMR1 and RTMR2 of TDX; with a firmware that has a place for hashes also the launch digests of SEV-SNP,
    and with one made for TDX its MRTD.

    Raises:
        MeasureError: from these inputs no register follows, or the firmware is made for neither.
    """
    direct = DirectBoot(boot.kernel, boot.initramfs, boot.command_line.encode())
    if launches:
        return reference_values.of_snp(firmware, direct, launches, boot.label)
    return reference_values.of_tdx(direct, boot.label, firmware or None)


def _whole(data: bytes) -> SparseImage:
    return SparseImage(len(data), ((0, data),))
