"""`shim measure snp` and `shim measure id-block`: launch digests of AMD SEV-SNP, and what signs them."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from images.measure.snp import MAXIMUM_VCPUS, Launch
from images.measure.vcpu import SIGNATURES, signature
from images.measure.vmsa import Vmm
from shim.cli.arguments import hexadecimal
from shim.cli.measure_input import (
    FORMAT,
    MAXIMUM_KEY,
    Booted,
    booted_files,
    input_file,
    integer,
    read,
)
from shim.cli.measure_output import Value, show


@click.command("snp")
@booted_files
@click.option(
    "--vcpus",
    "counts",
    metavar="N",
    multiple=True,
    required=True,
    type=click.IntRange(1, MAXIMUM_VCPUS),
    help="Number of processors; repeatable: one digest for each.",
)
@click.option(
    "--vcpu-type", metavar="NAME", type=click.Choice(list(SIGNATURES)), help="QEMU's name of the type."
)
@click.option(
    "--vcpu-signature", metavar="N", type=integer, help="EAX of CPUID function 1, instead of a type."
)
@click.option(
    "--vcpu-cpuid",
    "numbers",
    metavar="FAMILY MODEL STEPPING",
    nargs=3,
    type=integer,
    help="What makes up the signature, instead of it.",
)
@click.option(
    "--vmm",
    type=click.Choice([vmm.value for vmm in Vmm]),
    default=Vmm.QEMU.value,
    help="Who starts the VM; on EC2 and GCE the type of its processors does not count.",
)
@click.option(
    "--guest-features",
    metavar="N",
    type=integer,
    default=1,
    show_default="1",
    help="SEV_FEATURES: 0x21 on hosts with Linux before 6.10 that swap debug registers.",
)
@click.option(
    "--firmware-digest",
    metavar="HEX",
    type=hexadecimal(48),
    help="The launch digest behind the firmware, where only the end of the image is at hand.",
)
@FORMAT
def snp(  # noqa: PLR0913  # one parameter per option
    *,
    booted: Booted,
    counts: tuple[int, ...],
    vcpu_type: str | None,
    vcpu_signature: int | None,
    numbers: tuple[int, int, int] | None,
    vmm: str,
    guest_features: int,
    firmware_digest: bytes | None,
    output: str,
) -> None:
    """
    Print the launch digest (MEASUREMENT) of a guest of AMD SEV-SNP.

    With --kernel, the VMM has to put hashes into the guest (QEMU: kernel-hashes=on), and the firmware must
    have a place for them; else it would boot any kernel, and this is refused.
    """
    from images.measure import kernel_hashes, snp as recipe

    given = [value for value in (vcpu_type, vcpu_signature, numbers) if value is not None]
    if len(given) > 1 or (not given and vmm == Vmm.QEMU.value):
        raise click.UsageError("want one of --vcpu-type, --vcpu-signature and --vcpu-cpuid")
    cpu = signature(*numbers) if numbers is not None else vcpu_signature or 0
    cpu = cpu if vcpu_type is None else SIGNATURES[vcpu_type]
    launches = [Launch(count, cpu, Vmm(vmm), guest_features) for count in counts]
    firmware = booted.parsed_firmware()
    boot = booted.handed_over()
    hashes = None if boot is None else kernel_hashes.kernel_hashes(*boot)
    after = firmware_digest or recipe.firmware_digest(firmware)

    kind = f" {vcpu_type or f'{cpu:#x}'}" if given else ""
    machine = f"{vmm}, vCPUs {{}}{kind}, guest features {guest_features:#x}"
    values = [
        Value(
            "measurement",
            recipe.launch_digest(firmware, launch, hashes, after_firmware=after),
            f"{machine.format(launch.vcpus)}, {booted.named}",
        )
        for launch in launches
    ]
    show(values, "report", output, named=False)


@click.command("id-block")
@click.option(
    "--measurement",
    metavar="HEX",
    type=hexadecimal(48),
    required=True,
    help="The launch digest that it allows.",
)
@input_file("--id-key", "id_key_path", required=True, text="The key that signs the block: P-384, PEM.")
@input_file("--author-key", "author_key_path", text="The key that signs that key.")
@click.option(
    "--family-id", metavar="HEX", type=hexadecimal(16), default="00" * 16, help="16 bytes; zeros if left out."
)
@click.option(
    "--image-id", metavar="HEX", type=hexadecimal(16), default="00" * 16, help="16 bytes; zeros if left out."
)
@click.option("--guest-svn", metavar="N", type=integer, default=0, help="Security version of the image.")
@click.option(
    "--guest-policy",
    metavar="N",
    type=integer,
    default=0x30000,
    show_default="0x30000",
    help="As at launch.",
)
@FORMAT
def id_block(  # noqa: PLR0913  # one parameter per option
    *,
    measurement: bytes,
    id_key_path: Path,
    author_key_path: Path | None,
    family_id: bytes,
    image_id: bytes,
    guest_svn: int,
    guest_policy: int,
    output: str,
) -> None:
    """Sign an ID block: the host starts the guest only with this digest, and the report names the keys."""
    from images.measure.id_block import IdBlock, read_key, sign

    paths = (id_key_path, author_key_path)
    keys = [read_key(read(path, "key", MAXIMUM_KEY), str(path)) for path in paths if path is not None]
    signed = sign(IdBlock(measurement, family_id, image_id, guest_svn, guest_policy), *keys)
    values = [
        Value("family_id", family_id),
        Value("image_id", image_id),
        Value("id_key_digest", signed.id_key_digest),
        Value("author_key_digest", signed.author_key_digest),
    ]
    facts = {
        "id-block": base64.b64encode(signed.block).decode(),
        "id-auth": base64.b64encode(signed.authentication).decode(),
    }
    show(values, "report", output, facts=facts)
