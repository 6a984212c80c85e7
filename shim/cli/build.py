"""`shim build PROGRAM`: the smallest image that runs a program, every byte with its reason."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import click

from shim.cli.build_boot import FORMATS as BOOTABLE, BootOptions, boot_options
from shim.cli.build_provenance import ProvenanceOptions, provenance_options
from shim.cli.build_request import Asked, check_text, content_options, recorded
from shim.cli.build_sbom import SaidOptions, said_options, warnings
from shim.cli.main import say
from shim.errors import IncompleteProfileError

EXIT_INCOMPLETE = 3
STARTED_BY_OTHERS = ("oci", "rootfs")
FORMATS = (*STARTED_BY_OTHERS, "initramfs", *BOOTABLE)
# As `images.compress` has them, which is not loaded for --help.
COMPRESSIONS = ("gzip", "zstd", "none")
# Where something is written is no part of it.
_WRITTEN = ("output", "sbom", "buildinfo", "provenance", "reference_values")
_COMPONENT = "[A-Za-z0-9]+(([-._:@+]|--)[A-Za-z0-9]+)*"


@click.command(
    "build",
    short_help="Make the smallest image that runs a program.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-o", "--output", metavar="PATH", help="Directory to write; for formats that boot a file.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="oci", show_default=True)
@click.option("--compress", type=click.Choice(COMPRESSIONS), default="gzip", show_default=True)
@click.option("--level", type=int, help="How well: 1 to 9 for gzip, 1 to 22 for zstd.")
@click.option("--label", multiple=True, metavar="NAME=VALUE", help="Label of the OCI image; repeatable.")
@click.option("--user", metavar="UID[:GID]", default="", help="Who runs the OCI image; root otherwise.")
@click.option("--tag", default="latest", show_default=True, help="Name of the image in its OCI layout.")
@click.option("--explain", metavar="FILE", help="Print why FILE is in the image.")
@click.option("--why-not", metavar="FILE", help="Print why FILE is not in the image.")
@click.option(
    "--sbom",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write SPDX and CycloneDX there, and into the image what scanners look for.",
)
@click.option(
    "--vulns",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="With --sbom: OSV records; OpenVEX says what they mean for the image; repeatable.",
)
@click.option(
    "--buildinfo",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the manifest, and how the image was written: what `shim rebuild` needs.",
)
@boot_options
@provenance_options
@said_options
@content_options
@click.pass_context
def command(  # noqa: PLR0913  # one parameter for each option
    context: click.Context,
    *,
    output: str | None,
    form: str,
    compress: str,
    level: int | None,
    label: tuple[str, ...],
    user: str,
    tag: str,
    explain: str | None,
    why_not: str | None,
    sbom: Path | None,
    vulns: tuple[Path, ...],
    buildinfo: Path | None,
    asked: Asked,
    boot: BootOptions,
    provenance: ProvenanceOptions,
    said: SaidOptions,
) -> int:
    """
    Make an image of PROGRAM with ARGUMENTS, and of every file that it can use, nothing else.

    Libraries are found as the loader finds them; certificates, time zones, accounts and the like are there
    where code that can run uses them. The image's entry point is the launcher, which confines the program to
    its profile.

    Exits with 3 if the profile is incomplete.
    """
    from images.compress import Compression
    from images.oci import RuntimeSettings
    from shim.cli.build_inputs import creation_time
    from shim.cli.build_output import Output, records_of
    from shim.cli.build_products import Products

    if asked.appended == "allow" and form not in STARTED_BY_OTHERS:
        want = f"one of {', '.join(STARTED_BY_OTHERS)}: the first process of a machine is given none"
        raise click.UsageError(f"found --arguments allow for --format {form}, want {want}")
    asked.machine.check(form)
    boot.check(form, has_machine=bool(asked.machine.given))
    provenance.check(form)
    if vulns and sbom is None:
        raise click.UsageError("found --vulns, want --sbom DIR beside it")
    if asked.trim and asked.options.allow_incomplete:
        raise click.UsageError(
            "found --trim with --allow-incomplete, want one: what is reached has to be known"
        )
    about = said.said(documented=sbom is not None)
    if output is None and explain is None and why_not is None:
        raise click.UsageError("found no place to write to, want -o PATH, --explain FILE or --why-not FILE")
    signal.signal(signal.SIGTERM, interrupted)
    created = creation_time(os.environ)
    request = recorded(context)
    check_text(value for name, value in context.params.items() if name not in _WRITTEN)
    check_text(request)
    settings = RuntimeSettings(_labels(label), _user(user))
    written = Output(form, Compression(compress), level, settings, _tag(tag), boot)
    products = Products(sbom, boot.reference_values, buildinfo, provenance)
    try:
        made = asked.build(boot.kernel)
        built = made.image(asked.program, asked.arguments, created, request)
    except IncompleteProfileError as error:
        return incomplete(
            error,
            "nothing was written; --allow-incomplete builds it all the same, and those calls are refused",
        )
    code = made.answer(built, explain, why_not)
    if output is None:
        return code
    for finding in made.findings:
        say(finding)
    if made.trimming is not None:
        say(made.trimming.summary)
    documents = None if sbom is None else made.documents(built, records_of(vulns), about)
    for line in products.write(built, written.packed(built), Path(output), documents):
        click.echo(line)
    for line in warnings(() if documents is None else documents.missing):
        say(line)
    return code


def incomplete(error: IncompleteProfileError, consequence: str) -> int:
    """Say which calls a profile leaves open and what follows, and return the exit code of that."""
    for line in error.unresolved:
        say(f"{error.program}: incomplete profile: {line}")
    say(consequence)
    return EXIT_INCOMPLETE


def _user(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]{1,9}(:[0-9]{1,9})?", text):
        want = "UID or UID:GID in digits: an image need not have names for them"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--user")
    return text


def _tag(text: str) -> str:
    """Return a name that tools find an image by; they refuse others (OCI image 1.1, annotations.md)."""
    if not re.fullmatch(rf"{_COMPONENT}(/{_COMPONENT})*", text):
        want = "letters and digits with single characters of -._:@+/ between them"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--tag")
    return text


def _labels(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    labels = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"found {text!r}, want NAME=VALUE", param_hint="--label")
        labels[name] = value
    return tuple(sorted(labels.items()))


def interrupted(_number: int, _frame: object) -> None:
    """End a build that is told to, as the user's own interrupt does: nothing half-written stays."""
    raise KeyboardInterrupt
