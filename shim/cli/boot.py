"""`shim boot IMAGE`: a machine that boots an image, and gets its secret only if its evidence is affirmed."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from shim.cli.arguments import ENDORSEMENTS
from shim.cli.main import say

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
TECHNOLOGIES = ("snp", "tdx", "kvm", "tcg")


@click.command("boot", short_help="Boot an image in a machine of its own, appraise it, run its program.")
@click.option("--kernel", type=_FILE, metavar="FILE", help="What boots an initramfs or an OCI image.")
@click.option("--cmdline", metavar="TEXT", default="", help="Words of its command line behind ours.")
@click.option(
    "--image-policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Which images may run; required for a folder with oci-layout.",
)
@click.option(
    "--image-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="A signature of the image that is kept beside it.",
)
@click.option(
    "--by",
    type=click.Choice(TECHNOLOGIES),
    help="Run it by this technology.  [default: the one that protects most]",
)
@click.option("--firmware", type=_FILE, metavar="FILE", help="What an SEV-SNP or TDX machine starts with.")
@click.option("--vcpu-type", metavar="NAME", default="EPYC-Milan", show_default=True, help="For SEV-SNP.")
@click.option("--id-key", type=_FILE, metavar="FILE", help="Sign an ID block for SEV-SNP: P-384, PEM.")
@click.option("--author-key", type=_FILE, metavar="FILE", help="Sign the key of --id-key with this one.")
@click.option("--memory", type=click.IntRange(64, 1 << 22), metavar="MIB", default=512, show_default=True)
@click.option("--cpus", type=click.IntRange(1, 255), metavar="N", default=1, show_default=True)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="End it then.")
@click.option("--console", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Keep what the machine writes to its console.")  # fmt: skip
@click.option("--events", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Append each event of the machine as a line of JSON.")  # fmt: skip
@click.option(
    "--publish",
    multiple=True,
    metavar="PORT:PORT",
    help="Lead a TCP port of this host's loopback to one of it.",
)
@click.option("--secret", type=_FILE, metavar="FILE", help="What is released to it; nothing otherwise.")
@click.option(
    "--key",
    type=_FILE,
    metavar="FILE",
    help="The relying party's key: Ed25519, PEM.  [default: one that is made now and put into the plan]",
)
@click.option(
    "--policy", type=_FILE, metavar="FILE", help="What its evidence must say.  [default: what is computed]"
)
@click.option(
    "--reference-values",
    type=_FILE,
    metavar="FILE",
    help="Expect the measurements in this file, not those of IMAGE.",
)
@ENDORSEMENTS
@click.option(
    "--url", metavar="tcp://HOST:PORT", help="Relay to a relying party elsewhere (shim serve --channel)."
)
@click.option(
    "--tpm", is_flag=True, help="Give it a TPM in software (swtpm), for an image with --evidence tpm."
)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep what it showed, for shim verify.")  # fmt: skip
@click.option("--qemu", metavar="FILE", default="qemu-system-x86_64", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print QEMU's command line, and start nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.argument("image", type=click.Path(path_type=Path, exists=True))
@click.argument("arguments", nargs=-1)
def command(**given: Any) -> int:  # noqa: ANN401  # one type per option
    """
    Start QEMU with IMAGE: an initramfs or a folder with oci-layout (with --kernel), a unified kernel image, a
    disk or VHD.  ARGUMENTS follow those of the program.

    An image with a relying party gets its secret from one in this process, or from the one that --url names,
    only if its evidence is affirmed.  What the machine does not seal to the relying party nobody sees.

    Its program's exit status is passed on; 124 its time was up, 125 it did not run, 128+n signal n to us.
    """  # noqa: D205  # the first sentence has two lines
    from shim.cli import boot_steps
    from shim.cli.boot_request import Request

    request = Request(**given)
    request.check()
    with ExitStack() as stack:
        ready = boot_steps.prepare(request, stack)
        if request.dry_run:
            for line in ready.said:
                say(line)
            click.echo(shlex.join(ready.dry_command_line()))
            return 0
        return boot_steps.execute(ready)
