"""`shim attest`: what does this machine say about itself?  Collected here, to be verified elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.arguments import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from attestation.collect import Collected, Request
    from attestation.guest import Guest

TEES = ["auto", "snp", "tdx", "cca", "azure-snp", "azure-tdx", "nitro", "simulated"]
ROOT = Path("/")
TD_QUOTE_COMMAND = click.option(
    "--td-quote-command",
    metavar="COMMAND",
    help="On Azure with TDX: reads the TDREPORT and writes the quote that the metadata service makes of it.",
)


def handle(text: str) -> int:
    """Return the handle of a key that a TPM keeps."""
    try:
        number = int(text, 16)
    except ValueError as error:
        raise click.BadParameter(f"found {text!r}, want a number such as 0x81000003") from error
    if not 0x81000000 <= number <= 0x81FFFFFF:
        raise click.BadParameter(f"found 0x{number:x}, want 0x81000000 to 0x81ffffff")
    return number


@click.command("attest", short_help="Collect evidence about this machine, to be verified elsewhere.")
@click.option("-o", "--output", required=True, metavar="FILE",
              help='Where evidence goes, or with --url what is released; "-" is the output.')  # fmt: skip
@click.option("--tee", type=click.Choice([*TEES, "tpm"]), default="auto", show_default=True,
              help="Where evidence comes from; the simulation and a mere TPM must be named.")  # fmt: skip
@click.option(
    "--nonce", type=hexadecimal(32), metavar="HEX", help="The 32 bytes that the relying party sent."
)
@click.option(
    "--public-key", type=hexadecimal(32), metavar="HEX", help="This machine's X25519 key, if it has one."
)
@click.option(
    "--plan-digest", type=hexadecimal(32), metavar="HEX", help="SHA-256 of the launch plan, if there is one."
)
@click.option("--report-data", type=hexadecimal(64), metavar="HEX", help="All 64 bytes instead.")
@click.option("--certificates", metavar="FILE", help="Where the host's certificates go, if it adds any.")
@click.option("--event-log", metavar="FILE", help="Where the firmware's log goes.")
@click.option("--no-event-log", is_flag=True, help="With --url: do not send the firmware's log.")
@click.option(
    "--vmpl", type=click.IntRange(0, 3), help="On SEV-SNP: the privilege level that the report is about."
)
@click.option(
    "--attestation-key", type=handle, metavar="HANDLE", help="With --tee tpm: the key that signs the quote."
)
@click.option(
    "--td-quote",
    type=click.Path(path_type=Path),
    help="On Azure with TDX: the quote that the metadata service made for the same bytes.",
)
@TD_QUOTE_COMMAND
@click.option("--url", metavar="URL", help="A relying party: attest to it, and get what it releases.")
@click.option("--resource", metavar="NAME", help="With --url: what is asked for.")
@click.option("--token", metavar="FILE", help="With --url: where the signed token goes.")
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --url: certificates to trust for TLS instead of the system's.",
)
@click.option(
    "--relying-party-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --url: the public key, PEM, that has to have signed the answer.",
)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    output: str,
    tee: str,
    nonce: bytes | None,
    public_key: bytes | None,
    plan_digest: bytes | None,
    report_data: bytes | None,
    certificates: str | None,
    event_log: str | None,
    no_event_log: bool,
    vmpl: int | None,
    attestation_key: int | None,
    td_quote: Path | None,
    td_quote_command: str | None,
    url: str | None,
    resource: str | None,
    token: str | None,
    tls_ca: Path | None,
    relying_party_key: Path | None,
) -> None:
    """
    Write evidence about this machine that is bound to a nonce; nothing is judged here.

    `shim verify` on another machine takes the same --nonce, --public-key and --plan-digest, or --report-data.
    With --url nonce and key come from the exchange with `shim serve`, and what it releases is written; the
    firmware's log is sent with the evidence where there is one.
    With "auto" the order is: the provider of configfs-tsm, /dev/sev-guest, /dev/tdx_guest, the vTPM of Azure,
    /dev/nsm.
    """
    from attestation.collect import Request
    from attestation.eventlog.collect import event_log as read_event_log
    from shim.cli.files import write_output
    from shim.cli.guest import entry_name, guest

    if url is None and (resource or token or tls_ca or relying_party_key or no_event_log):
        raise click.UsageError(
            "--resource, --token, --tls-ca, --relying-party-key and --no-event-log mean nothing without --url"
        )
    if (tee == "tpm") != (attestation_key is not None):
        raise click.UsageError("--tee tpm and --attestation-key mean nothing without each other")
    if td_quote is not None and td_quote_command is not None:
        raise click.UsageError("--td-quote and --td-quote-command stand for each other")
    machine = guest(ROOT)
    quote_of = _quote_of(td_quote, td_quote_command)

    def collected(data: bytes) -> Collected:
        return _collected(tee, machine, Request(data, entry_name(), vmpl, quote_of), attestation_key)

    if url is not None:
        if resource is None or nonce or public_key or report_data or certificates or event_log:
            raise click.UsageError("--url wants --resource; nonce, key and evidence are made by itself")
        from shim.cli.attest_url import Asked, attest

        plan = plan_digest or bytes(32)
        log_of = None if no_event_log else lambda kind: read_event_log(machine, kind)
        asked = Asked(url, resource, output, token, tls_ca, relying_party_key, plan, log_of)
        _say(*attest(asked, collected))
        return
    found = collected(_bound(nonce, public_key, plan_digest, report_data))
    log = None if event_log is None else read_event_log(machine, found.kind)
    write_output(output, found.evidence)
    said = [f"{len(found.evidence)} bytes of evidence ({found.kind}) from {found.source}: {output}"]
    if certificates is not None and found.certificates:
        write_output(certificates, found.certificates)
        said.append(f"{len(found.certificates)} bytes of certificates: {certificates}")
    elif certificates is not None:
        said.append("no certificates: the host adds none")
    if event_log is not None and log is not None:
        write_output(event_log, log)
        said.append(f"{len(log)} bytes of event log: {event_log}")
    _say(found, said)


def _bound(
    nonce: bytes | None, public_key: bytes | None, plan_digest: bytes | None, given: bytes | None
) -> bytes:
    from attestation.binding import report_data

    if given is not None:
        if nonce or public_key or plan_digest:
            raise click.UsageError(
                "--report-data stands for --nonce, --public-key and --plan-digest together"
            )
        return given
    if nonce is None:
        raise click.UsageError("evidence has to be bound: --nonce or --report-data is missing")
    return report_data(nonce, public_key, plan_digest or bytes(32))


def _quote_of(path: Path | None, by_command: str | None) -> Callable[[bytes], bytes] | None:
    """Return how to get the quote of a trust domain on Azure, if anybody said how."""
    from attestation.files import read_limited
    from shim.cli.guest import quote_by_command

    if path is not None:
        quote = read_limited(path, "quote")
        return lambda _: quote
    return None if by_command is None else quote_by_command(by_command)


def _collected(tee: str, machine: Guest, request: Request, key: int | None) -> Collected:
    import hashlib

    from attestation.collect import Collected, collect, detect
    from attestation.tpm import collect as tpm

    if key is None:
        return collect(detect(machine, request.entry) if tee == "auto" else tee, machine, request)
    digest = hashlib.sha256(request.report_data).digest()
    return Collected(tee, tpm.evidence(tpm.tpm_of(machine), key, digest), f"/{tpm.DEVICE}")


def _say(found: Collected, lines: list[str]) -> None:
    """Say what was written, beside it: the evidence itself may be the output."""
    from shim.cli.attest_here import SIMULATED_NOTICE
    from shim.cli.main import say

    for line in ([SIMULATED_NOTICE] if found.kind == "simulated" else []) + lines:
        say(line)
