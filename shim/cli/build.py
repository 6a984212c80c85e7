"""`shim build PROGRAM`: the smallest image that runs a program, every byte with its reason."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import click

from shim.cli.build_boot import FORMATS as BOOTABLE, BootOptions, boot_options
from shim.cli.derivation import Request, derivation_options
from shim.cli.launching import LaunchOptions, environment, launch_options
from shim.cli.main import say
from shim.errors import IncompleteProfileError

EXIT_INCOMPLETE = 3
FORMATS = ("oci", "rootfs", "initramfs", *BOOTABLE)
# As `images.compress` has them, which is not loaded for --help.
COMPRESSIONS = ("gzip", "zstd", "none")
# What says where, in which format and from where, but not what an image is.
_NOT_RECORDED = frozenset(
    {
        "output",
        "form",
        "compress",
        "level",
        "label",
        "user",
        "tag",
        "explain",
        "why_not",
        "root",
        "image",
        "program",
        "arguments",
        "vulns",
        *BootOptions.__slots__,
    }
)


@click.command(
    "build",
    short_help="Make the smallest image that runs a program.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-o", "--output", metavar="PATH", help="Directory to write; for formats that boot a file.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="oci", show_default=True)
@click.option("--from", "image", metavar="oci:DIR", help="Take all files from the image in an OCI layout.")
@click.option(
    "--include",
    multiple=True,
    metavar="PATH[:TARGET]",
    help="Add a file or directory; with TARGET, one of this machine at another place; repeatable.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out data and additions by path or shell pattern, with what is below; repeatable.",
)
@click.option("--directory", multiple=True, metavar="PATH", help="Add an empty directory; repeatable.")
@click.option("--as", "place", metavar="PATH", help="Where the program is in the image.")
@click.option(
    "--trim",
    is_flag=True,
    help="Replace functions that nothing reaches by traps: smaller, and less to misuse.",
)
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
@boot_options
@derivation_options
@launch_options
@click.pass_context
def command(  # noqa: PLR0913  # one parameter for each option
    context: click.Context,
    *,
    output: str | None,
    form: str,
    image: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    directory: tuple[str, ...],
    place: str | None,
    trim: bool,
    compress: str,
    level: int | None,
    label: tuple[str, ...],
    user: str,
    tag: str,
    explain: str | None,
    why_not: str | None,
    sbom: Path | None,
    vulns: tuple[Path, ...],
    root: str,
    modules: tuple[str, ...],
    assume: tuple[str, ...],
    no_assumptions: bool,
    program: str,
    arguments: tuple[str, ...],
    options: LaunchOptions,
    boot: BootOptions,
) -> int:
    """
    Make an image of PROGRAM with ARGUMENTS, and of every file that it can use, nothing else.

    Libraries are found as the loader finds them; certificates, time zones, accounts and the like are there
    where code that can run uses them. The image's entry point is the launcher, which confines the program to
    its profile.

    Exits with 3 if the profile is incomplete.
    """
    from images import closure
    from images.compress import Compression
    from images.oci import RuntimeSettings
    from shim.cli.build_inputs import creation_time, directories, inclusion, origin_of, program_of
    from shim.cli.build_output import Output, records_of, write_documents
    from shim.cli.build_steps import Build

    boot.check(form)
    if vulns and sbom is None:
        raise click.UsageError("found --vulns, want --sbom DIR beside it")
    if trim and options.allow_incomplete:
        raise click.UsageError(
            "found --trim with --allow-incomplete, want one: what is reached has to be known"
        )
    if output is None and explain is None and why_not is None:
        raise click.UsageError("found no place to write to, want -o PATH, --explain FILE or --why-not FILE")
    signal.signal(signal.SIGTERM, _interrupted)
    created = creation_time(os.environ)
    settings = RuntimeSettings(_labels(label), _user(user))
    written = Output(form, Compression(compress), level, settings, tag, boot)
    origin = origin_of(root, image)
    found = program_of(program, origin, place)
    selection = closure.Selection(
        found.place,
        environment(options.env, os.environ),
        tuple(inclusion(text, running=origin.running) for text in include),
        exclude,
        directories(directory),
    )
    asked = Request(origin.label, modules, assume, no_assumptions)
    try:
        made = Build(found, origin, selection, asked, options, trim=trim)
        inventory = None if sbom is None else made.make_scannable()
        built = made.image(arguments, created, _recorded(context))
    except IncompleteProfileError as error:
        for line in error.unresolved:
            say(f"{error.program}: incomplete profile: {line}")
        say("nothing was written; --allow-incomplete builds it all the same, and those calls are refused")
        return EXIT_INCOMPLETE
    code = made.answer(built, explain, why_not)
    if output is None:
        return code
    for finding in made.files.findings:
        say(finding)
    if made.trimming is not None:
        say(made.trimming.summary)
    described = None if inventory is None else made.documents(built, inventory, records_of(vulns))
    for line in written.write(built, Path(output)):
        click.echo(line)
    if sbom is not None and described is not None:
        for line in write_documents(sbom, described):
            click.echo(line)
    return code


def _user(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]{1,9}(:[0-9]{1,9})?", text):
        want = "UID or UID:GID in digits: an image need not have names for them"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--user")
    return text


def _labels(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    labels = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"found {text!r}, want NAME=VALUE", param_hint="--label")
        labels[name] = value
    return tuple(sorted(labels.items()))


def _recorded(context: click.Context) -> tuple[str, ...]:
    """Return the options that decide what is in the image, as the user gave them, in a fixed order."""
    found: dict[str, list[str]] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        flag = getattr(parameter, "flag_value", None)
        if name in _NOT_RECORDED or name in found or value in (None, (), False, parameter.default):
            continue
        if isinstance(flag, str) and flag != value:  # one of several names for the same
            continue
        option = max(parameter.opts, key=len)
        # That documents were made decides what is in the image, where they were written does not.
        given = (True,) if name == "sbom" else value if isinstance(value, tuple) else (value,)
        found[name] = [text for one in given for text in ([option] if one is True else [option, str(one)])]
    return tuple(text for texts in found.values() for text in texts)


def _interrupted(_number: int, _frame: object) -> None:
    """End a build that is told to, as the user's own interrupt does: nothing half-written stays."""
    raise KeyboardInterrupt
