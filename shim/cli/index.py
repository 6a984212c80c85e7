"""`shim index`: one OCI layout for several platforms, out of layouts that were built for each."""

from __future__ import annotations

from pathlib import Path

import click

from shim.cli.main import say


@click.command("index", short_help="Join the images of several platforms under one name.")
@click.option("-o", "--output", metavar="LAYOUT", required=True, help="Directory to write, an OCI layout.")
@click.option("--tag", default="latest", show_default=True, help="Name of the index in its layout.")
@click.argument(
    "layouts",
    metavar="LAYOUT...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
def command(*, output: str, tag: str, layouts: tuple[Path, ...]) -> None:
    """
    Write an OCI layout with one index of all images in LAYOUTs, at most one for each platform.

    The images stay as they are, and so does what is attached to them; those for another processor may come
    from another tool. Each is found by its own name as well, such as latest-arm64. Signatures cover a whole
    layout: sign the new one. Exit codes: 0 written; 1 it cannot be written; 10 a layout that is malformed, or
    two images for one platform.
    """
    from images.layout import files, graph
    from images.layout.joined import joined
    from images.output import write_files

    given = [graph.parse(files.read_files(path), str(path)) for path in layouts]
    made = joined(given, tag, output)
    write_files(Path(output), made.layout.files)
    for platform, digest in made.platforms.items():
        click.echo(f"{platform} sha256:{digest}")
    for line in made.left_out:
        say(f"left out: {line}")
