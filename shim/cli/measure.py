"""`shim measure`: what will hardware say that it measured?"""

from __future__ import annotations

import click

from shim.cli.measure_pcr import pcr
from shim.cli.measure_snp import id_block, snp
from shim.cli.measure_tdx import tdx


@click.group("measure")
def command() -> None:
    """
    Predict measurements: the reference values of a policy, from the files that are booted.

    Exit codes: 0; 1 no digest follows from these files; 2 usage.
    """


for subcommand in (snp, tdx, pcr, id_block):
    command.add_command(subcommand)
