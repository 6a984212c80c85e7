"""`shim fetch`: certificates, lists and collateral from AMD and Intel, before they are needed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from shim.cli.arguments import FORMAT, STORE, TIME


@click.command("fetch")
@click.argument("what", nargs=-1, metavar="[EVIDENCE... | snp | tdx | sgx]")
@click.option("--product", metavar="NAME", help="Milan, Genoa (also Siena, Bergamo) or Turin.")
@click.option("--chip-id", metavar="HEX", help="CHIP_ID of a report: 64 bytes, or the 8 of Turin that count.")
@click.option(
    "--tcb",
    metavar="LEVELS",
    help="REPORTED_TCB: its 8 bytes in hexadecimal, or bootloader=4,tee=0,snp=24,microcode=219 (and fmc=).",
)
@click.option("--vlek", is_flag=True, help="What a VLEK needs; the VLEK itself comes from the cloud.")
@click.option("--fmspc", metavar="HEX", help="The family of an Intel platform, 6 bytes.")
@click.option(
    "--ca", type=click.Choice(["platform", "processor"]), help="Which CA's list; both if it is not given."
)
@click.option("--early", is_flag=True, help="Also what Intel says once its next TCB recovery counts.")
@click.option("--kds", metavar="URL", help="A mirror of AMD's service.")
@click.option("--pcs", metavar="URL", help="A mirror of Intel's service.")
@click.option("--pccs", metavar="URL", help="A caching service (PCCS), asked instead of Intel's.")
@click.option(
    "--tls-ca",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates to trust for TLS instead of the system's.",
)
@click.option(
    "--max-time", type=click.FloatRange(1, 86400), default=300.0, show_default=True, help="Seconds for each."
)
@click.option("--offline", is_flag=True, help="Ask nobody; show what is there and what would be asked.")
@click.option(
    "--export",
    "export_path",
    metavar="FILE",
    help='Write all that is kept to one file; "-" is standard output.',
)
@click.option(
    "--import",
    "import_path",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check what --export wrote elsewhere, and keep it.",
)
@STORE
@TIME
@FORMAT
def command(  # noqa: PLR0913  # one parameter per option
    *,
    what: tuple[str, ...],
    product: str | None,
    chip_id: str | None,
    tcb: str | None,
    vlek: bool,
    fmspc: str | None,
    ca: str | None,
    early: bool,
    kds: str | None,
    pcs: str | None,
    pccs: str | None,
    tls_ca: Path | None,
    max_time: float,
    offline: bool,
    export_path: str | None,
    import_path: Path | None,
    store_path: Path | None,
    at: datetime,
    output: str,
) -> int:
    """
    Fetch what it takes to verify EVIDENCE, or what is named, and keep it.

    Everything is checked before it is kept: against the pinned roots, and for being what was asked for.
    `shim inspect` and `shim verify` look into the same store, and open no socket.  Where only another machine
    has a network: --export there, --import here.

    Exit codes: 0 all of it is kept; 1 some of it is not; 2 usage; 10 EVIDENCE or an archive is malformed.
    """
    from shim.cli import fetching
    from shim.cli.fetch_what import of_arguments

    if bool(what) + (export_path is not None) + (import_path is not None) != 1:
        raise click.UsageError("want one of: EVIDENCE, a kind with its options, --export, --import")
    store = fetching.store_at(store_path)
    if export_path is not None:
        return fetching.export(store, export_path)
    if import_path is not None:
        return fetching.restore(store, import_path, at, output)
    wanted = of_arguments(
        what, product=product, chip_id=chip_id, tcb=tcb, vlek=vlek, fmspc=fmspc, ca=ca, early=early
    )
    services = fetching.services(kds, pcs, pccs)
    if offline:
        return fetching.preview(store, services, wanted, output)
    return fetching.fetch(store, services, wanted, output, tls_ca=tls_ca, max_time=max_time, at=at)
