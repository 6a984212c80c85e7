"""`shim reference-values`: which measurements do these files vouch for, and in another form?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from attestation.reference_values import Entry, Manifest

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("reference-values")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "corim"]),
    default="table",
    help="What to print: a table, plain JSON, or a CoRIM.",
)
@click.option("--output", "-o", default="-", metavar="FILE", help="Where to, instead of standard output.")
@click.option(
    "--key", "key_path", metavar="FILE", type=_FILE, help="Who has to have signed: a public key, PEM."
)
@click.option(
    "--sign-key", "sign_path", metavar="FILE", type=_FILE, help="Sign the CoRIM: P-256, P-384 or P-521, PEM."
)
@click.option("--signer", default="", metavar="NAME", help="Who signs, in words.")
@click.option("--id", "identifier", default="", metavar="TEXT", help="Names the CoRIM; else its contents do.")
def command(  # noqa: PLR0913  # one parameter per option
    *,
    paths: tuple[Path, ...],
    output_format: str,
    output: str,
    key_path: Path | None,
    sign_path: Path | None,
    signer: str,
    identifier: str,
) -> None:
    """
    Check reference values and show them, or write those of all FILEs in another form.

    Each FILE is plain JSON, a CoRIM or a signed CoRIM, told apart by its contents.  What a CoRIM says besides
    digests is named on standard error and left out.  A signed CoRIM is converted only with its --key.
    Exit codes: 0 all files are good; 2 usage, or a file that cannot be used.
    """
    from attestation import files, reference_files, reference_values
    from shim.cli.files import write_output

    if output != "-" and output_format == "table":
        raise click.UsageError("--output goes with --format json or corim")
    if (sign_path is None) != (signer == "") or (sign_path is not None and output_format != "corim"):
        raise click.UsageError("--sign-key and --signer belong together, with --format corim")
    key = None if key_path is None else files.read_limited(key_path, "key")
    manifests = {
        str(path): reference_files.parse_reference_values(reference_files.read(path), str(path), key)
        for path in paths
    }
    for where, manifest in manifests.items():
        _remark(where, manifest, unsafe=output_format != "table")
    entries = tuple(entry for manifest in manifests.values() for entry in manifest.entries)
    if output_format == "table":
        _show(manifests)
        return
    reference_values.checked(reference_values.Manifest(entries), "all files together")
    if output_format == "json":
        write_output(output, reference_values.write(entries) + b"\n")
    else:
        write_output(output, _corim(entries, identifier, sign_path, signer))


def _corim(entries: tuple[Entry, ...], identifier: str, sign_path: Path | None, signer: str) -> bytes:
    from attestation import files, reference_values
    from attestation.corim import signed, writing
    from shim.canonical import sha256_hex

    name = identifier or f"sha-256:{sha256_hex(reference_values.write(entries))}"
    payload = writing.write(entries, name)
    if sign_path is None:
        return payload
    key = signed.load_key(files.read_limited(sign_path, "key"), str(sign_path))
    return signed.sign(payload, signer, key)


def _remark(where: str, manifest: Manifest, *, unsafe: bool) -> None:
    """
    Say what a table of digests does not.

    Raises:
        ReferenceValueError: values would lose what they were signed or restricted by.
    """
    from attestation.reference_values import ReferenceValueError
    from shim.cli.main import say

    if manifest.signer is not None and not manifest.verified:
        if unsafe:
            raise ReferenceValueError(where, "a signed CoRIM", "--key, to check who signed before converting")
        say(f"{where}: signed by {manifest.signer!r}, as it says: the signature was not checked (--key)")
    if manifest.profile is not None:
        if unsafe:
            raise ReferenceValueError(where, f"profile {manifest.profile}", "none: its rules would be lost")
        say(f"{where}: has rules of its own, profile {manifest.profile}: no policy can use it")
    if manifest.not_after is not None:
        start = "ever" if manifest.not_before is None else manifest.not_before.isoformat()
        say(f"{where}: counts from {start} to {manifest.not_after.isoformat()}")
    for reason in manifest.left_out:
        say(f"left out: {reason}")


def _show(manifests: dict[str, Manifest]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("kind", "register", "algorithm", "digest", "label", "environment"):
        table.add_column(name, overflow="fold", no_wrap=name in {"kind", "register", "algorithm"})
    for manifest in manifests.values():
        for entry in manifest.entries:
            decides = ", ".join(f"{name} {value}" for name, value in entry.environment.items())
            row = (entry.tee, entry.register, entry.algorithm, entry.digest.hex(), entry.label, decides)
            table.add_row(*map(escape, row))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=200)).print(table)
