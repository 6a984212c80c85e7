"""What SEV-SNP and TDX need to be started with: firmware, a model of processor, an ID block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from images.boot import qemu
from images.boot.choice import Technology
from images.boot.errors import BootError
from shim.cli.measure_input import MAXIMUM_FIRMWARE, MAXIMUM_KEY, read

if TYPE_CHECKING:
    from attestation.reference_values import Entry
    from images.measure.snp import Launch
    from shim.cli.boot_request import Request


def firmware_of(request: Request, technology: Technology) -> bytes:
    """
    Return what a confidential machine starts with.

    Raises:
        BootError: none was named.
        InputFileError: it cannot be read.
    """
    if not technology.is_confidential:
        return b""
    if request.firmware is None:
        want = "--firmware FILE: OVMF that is made for it and checks what is handed over"
        raise BootError(f"--by {technology}", "no firmware", want)
    return read(request.firmware, "firmware", MAXIMUM_FIRMWARE)


def launch_of(request: Request) -> tuple[str, Launch]:
    """
    Return QEMU's name of the model of processor, and how an SEV-SNP guest is launched.

    Raises:
        BadParameter: a model that is not known.
    """
    from images.measure.snp import Launch
    from images.measure.vcpu import SIGNATURES
    from images.measure.vmsa import Vmm

    if request.vcpu_type not in SIGNATURES:
        want = f"one of {', '.join(SIGNATURES)}"
        raise click.BadParameter(f"found {request.vcpu_type!r}, want {want}", param_hint="--vcpu-type")
    return request.vcpu_type, Launch(request.cpus, SIGNATURES[request.vcpu_type], Vmm.QEMU, 1)


def base_of(
    request: Request, technology: Technology, resources: qemu.Resources, booted: tuple[Entry, ...]
) -> qemu.Part:
    """
    Return the part of QEMU's command line that says what machine it is.

    Raises:
        KeyUnfitError, InputFileError: a key that no ID block can be signed with.
    """
    if technology is Technology.SNP:
        return qemu.snp(resources, request.vcpu_type, _identity(request, booted[0].digest))
    if request.id_key is not None:
        raise click.UsageError(f"found --id-key, want none under {technology}: ID blocks are of SEV-SNP")
    if technology is Technology.TDX:
        return qemu.tdx(resources)
    return qemu.plain(technology, resources)


def _identity(request: Request, measurement: bytes) -> qemu.Identity | None:
    if request.id_key is None:
        return None
    from images.measure.id_block import IdBlock, read_key, sign

    paths = [path for path in (request.id_key, request.author_key) if path is not None]
    keys = [read_key(read(path, "key", MAXIMUM_KEY), str(path)) for path in paths]
    signed = sign(IdBlock(measurement, policy=qemu.SNP_POLICY), *keys)
    return qemu.Identity(signed.block, signed.authentication, has_author_key=request.author_key is not None)
