"""`shim measure pcr`: the registers of a TPM after a unified kernel image was booted."""

from __future__ import annotations

import os
from pathlib import Path

import click

from images.measure.pcr import ALGORITHMS, PHASES
from shim.cli.measure_input import FORMAT, MAXIMUM_IMAGE, read
from shim.cli.measure_output import Value, show


@click.command("pcr")
@click.argument("uki_path", metavar="UKI", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--secure-boot",
    type=click.Choice(["on", "off"]),
    required=True,
    help="Whether it is on where this is booted: register 4 depends on it.",
)
@click.option("--bank", type=click.Choice(ALGORITHMS), default="sha256", help="The bank of registers.")
@click.option(
    "--options", metavar="TEXT", default=None, help="A command line that a boot loader gives to the image."
)
@click.option(
    "--phase",
    "phases",
    metavar="NAME",
    multiple=True,
    help=f"Phases that systemd has announced by then, in their order: {', '.join(PHASES)}; none by default.",
)
@FORMAT
def pcr(
    *, uki_path: Path, secure_boot: str, bank: str, options: str | None, phases: tuple[str, ...], output: str
) -> None:
    """Print the registers 4, 9, 11 and 12 after the firmware's first boot option booted UKI."""
    from images.measure import pcr as recipe, uki as images

    if output == "toml" and bank != "sha256":
        raise click.UsageError("policies take the sha256 bank; --format toml prints no other")
    uki = images.parse(read(uki_path, "unified kernel image", MAXIMUM_IMAGE))
    outside = None if options is None else os.fsencode(options)
    registers = {
        4: recipe.boot_programs(uki, bank, secure_boot=secure_boot == "on"),
        9: recipe.kernel_inputs(uki, bank, options=outside),
        11: recipe.image_contents(uki, bank, phases),
        12: recipe.outside_inputs(uki, bank, options=outside),
    }
    show([Value(f"pcr{number}", value) for number, value in registers.items()], "pcrs", output)
