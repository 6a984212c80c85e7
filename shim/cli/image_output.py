"""How does the outcome of verifying an image look, for people and for programs?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from images.provenance import FILE_URI, Input
from images.trust.result import TrustResult, VerifiedImage
from images.trust.verdict import Verdict
from shim.canonical import canonical_bytes


def show(result: TrustResult, output: str) -> None:
    """Print what was found out about an image; the reasons against it are the command's errors."""
    if output == "json":
        click.echo(canonical_bytes(result.value()))
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    colour = "green" if result.verdict is Verdict.ACCEPTED else "red"
    console.print(
        f"[bold {colour}]{result.verdict.value}[/bold {colour}]: {escape(result.where)}", soft_wrap=True
    )
    for image in result.images:
        console.print(_facts(image))
    if result.unchecked:
        console.print(f"[bold]unchecked[/bold]: {escape(', '.join(result.unchecked))}", soft_wrap=True)


def _facts(image: VerifiedImage) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    claim, build = image.claim, image.provenance
    rows = {
        "image": f"sha256:{image.digest}",
        "platform": image.platform or "several",
        "name in the layout": image.reference,
        "identity": "" if claim is None else claim.identity,
        "version": "" if claim is None or claim.version is None else str(claim.version),
        "signed by": "\n".join(f"{key.name} sha256:{key.identifier}" for key in image.signers),
        "built by": "" if build is None else build.builder,
        "made from": "" if build is None else "\n".join(_inputs(build.inputs)),
        "attached": "\n".join(image.attached),
    }
    for name, value in rows.items():
        table.add_row(f"  {name}", escape(value or "-"))
    return table


def _inputs(inputs: Iterable[Input]) -> Iterator[str]:
    """Yield what an image was made from; files that were taken are many, and counted."""
    taken = [one for one in inputs if one.uri.startswith(FILE_URI)]
    yield from (str(one) for one in inputs if not one.uri.startswith(FILE_URI))
    if taken:
        packages = {name for one in taken for name in one.packages}
        yield f"{len(taken)} files, of {len(packages)} packages (--format json has them)"
