"""The arguments that `shim inspect`, `shim verify`, `shim fetch` and `shim policy` share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

# As `attestation.kinds` has them, which is not loaded for --help.
KINDS = ("snp", "tdx", "sgx", "azure-snp", "azure-tdx", "cca", "nitro", "nvidia", "tpm", "simulated")


def hexadecimal(size: int) -> Callable[[str], bytes]:
    """Return a converter for `size` bytes in hexadecimal."""

    def convert(text: str) -> bytes:
        try:
            data = bytes.fromhex(text)
        except ValueError as error:
            raise click.BadParameter(f"found {text!r}, want {2 * size} hexadecimal digits") from error
        if len(data) != size:
            raise click.BadParameter(f"found {len(data)} bytes, want {size}")
        return data

    return convert


def moment(text: str) -> datetime:
    """Return a time in ISO 8601; without a time zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"found {text!r}, want a time such as 2025-06-01T12:00:00Z") from error


EVIDENCE = click.argument("evidence_path", metavar="EVIDENCE", type=click.Path(path_type=Path, exists=True))
ENDORSEMENTS = click.option(
    "--endorsements",
    "endorsement_paths",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Certificates, lists, OCSP responses, keys, collateral, manifests: PEM, DER, certificate table, "
    "JSON, XML, or a directory; repeatable.",
)
EARLY = click.option(
    "--early",
    "early_paths",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Intel's collateral of a TCB recovery that is not in force yet: warn of what it will refuse; "
    "repeatable.",
)
STORE = click.option(
    "--store",
    "store_path",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where fetched endorsements are kept.  [default: ~/.cache/shim/endorsements]",
)
NO_STORE = click.option(
    "--no-store",
    is_flag=True,
    help="Use nothing that `shim fetch` kept; it is not used beside --endorsements.",
)
EVENT_LOG = click.option(
    "--event-log",
    "event_log_path",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What was measured into the registers; it has to lead to the values that are signed.",
)
TIME = click.option(
    "--at",
    metavar="TIME",
    type=moment,
    default=lambda: datetime.now(UTC).isoformat(),
    show_default="now",
    help="Judge as of this time, ISO 8601.",
)
FORMAT = click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="How to print the outcome.",
)
