"""`shim measure tdx`: the measurements of a trust domain of Intel TDX."""

from __future__ import annotations

from pathlib import Path

import click

from shim.cli.measure_input import (
    FORMAT,
    MAXIMUM_TABLES,
    Booted,
    booted_files,
    input_file,
    read,
)
from shim.cli.measure_output import Value, show


@click.command("tdx")
@booted_files
@click.option(
    "--patched-for",
    "mebibytes",
    metavar="MIB",
    type=click.IntRange(64, 1 << 24),
    help="Memory of the VM, where QEMU is older than 10.0 and writes into the kernel's header.",
)
@click.option(
    "--page-order",
    type=click.Choice(["each-page", "each-section"]),
    default="each-page",
    help="How the VMM adds pages; some hosts before Linux 6.16 measured a section when all of it was there.",
)
@input_file(
    "--td-hob", "hob_path", text="The hand-off block that the VMM made; with the ACPI files it makes RTMR0."
)
@input_file("--acpi-loader", "loader_path", text="The file etc/table-loader that the VMM made.")
@input_file("--acpi-rsdp", "rsdp_path", text="The file etc/acpi/rsdp that the VMM made.")
@input_file("--acpi-tables", "tables_path", text="The file etc/acpi/tables that the VMM made.")
@click.option(
    "--boot-variables",
    type=click.Choice(["last", "first"]),
    default="last",
    help="When the firmware measures its boot options: behind the ACPI files, or before the keys.",
)
@FORMAT
def tdx(  # noqa: PLR0913  # one parameter per option
    *,
    booted: Booted,
    mebibytes: int | None,
    page_order: str,
    hob_path: Path | None,
    loader_path: Path | None,
    rsdp_path: Path | None,
    tables_path: Path | None,
    boot_variables: str,
    output: str,
) -> None:
    """
    Print MRTD, and the registers RTMR1 and RTMR2 of a kernel that the VMM hands over.

    RTMR0 is what the VMM says of its machine: it follows only from the hand-off block and the ACPI files that
    the VMM made.
    """
    from images.measure import setup_header, tdx as recipe

    firmware = booted.parsed_firmware()
    boot = booted.handed_over()
    if boot is None and mebibytes is not None:
        raise click.UsageError("--patched-for means nothing without --kernel")
    given = [path for path in (hob_path, loader_path, rsdp_path, tables_path) if path is not None]
    if len(given) not in {0, 4}:
        raise click.UsageError("want all or none of --td-hob, --acpi-loader, --acpi-rsdp, --acpi-tables")

    label = f"firmware {booted.firmware.name}, pages added {page_order}"
    values = [Value("mr_td", recipe.mrtd(firmware, recipe.PageOrder(page_order)), label)]
    if given:
        platform = recipe.Platform(*(read(path, "platform", MAXIMUM_TABLES) for path in given))
        order = recipe.BootVariables(boot_variables)
        values.append(Value("rtmr0", recipe.rtmr0(firmware, platform, order)))
    if boot is not None:
        kernel, initrd, line = boot
        if mebibytes is not None:
            kernel = setup_header.patched(kernel, len(initrd), mebibytes << 20)
        values += (Value("rtmr1", recipe.rtmr1(kernel)), Value("rtmr2", recipe.rtmr2(initrd, line)))
    show(values, "report", output, unchecked=() if given else ("rtmr0",))
