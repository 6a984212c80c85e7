"""`shim outdated`: does the distribution have newer versions of what is in an image?"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.arguments import TIME

if TYPE_CHECKING:
    from images.sbom.outdated import Comparison

EXIT_OUTDATED, EXIT_UNKNOWN = 1, 2


@click.command("outdated")
@click.argument("path", metavar="SBOM", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--lists",
    "lists_path",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path, file_okay=False),
    default="/var/lib/apt/lists",
    show_default=True,
    help="Lists of packages as apt keeps them.",
)
@click.option(
    "--max-age",
    metavar="DAYS",
    type=click.FloatRange(min=0, min_open=True, max=10_000),
    default=3.0,
    show_default=True,
    help="How old the newest of the lists may be.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@TIME
def command(*, path: Path, lists_path: Path, max_age: float, form: str, at: datetime) -> int:
    """
    Compare the packages of an SBOM (SPDX or CycloneDX, JSON) with the distribution's lists.

    Exit codes: 0 all are current; 1 there are newer versions, so a rebuild is due; 2 that cannot be told: no
    lists, older than --max-age or of another release, a package that is in none of them, or no SBOM.
    """
    from shim.cli.files import write_output
    from shim.errors import ShimError

    try:
        comparison = _compare(path, lists_path, at, timedelta(days=max_age))
    except ShimError as error:  # 1 is an answer here
        raise CannotTellError(str(error)) from error
    except OSError as error:
        raise CannotTellError(f"{error.filename}: found {error.strerror}, want a readable file") from error
    except ModuleNotFoundError as error:
        want = "it: pip install 'tee-shim[sbom]'"
        raise CannotTellError(f"shim outdated: found no module {error.name}, want {want}") from error
    write_output("-", (_json(comparison) if form == "json" else _table(comparison)).encode())
    if comparison.newer:
        return EXIT_OUTDATED
    return EXIT_UNKNOWN if comparison.unknown else 0


class CannotTellError(click.ClickException):
    """What makes the comparison impossible."""

    exit_code = EXIT_UNKNOWN


def _compare(path: Path, lists_path: Path, now: datetime, max_age: timedelta) -> Comparison:
    from images.sbom.outdated import compare
    from images.sbom.reading import MAX_BYTES, package_urls
    from shim.elf.files import RootedFiles

    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    return compare(package_urls(data, str(path)), RootedFiles(str(lists_path)), now, max_age)


def _json(comparison: Comparison) -> str:
    import json
    from dataclasses import asdict

    document = {
        "newer": [asdict(one) for one in comparison.newer],
        "current": comparison.current,
        "unknown": list(comparison.unknown),
        "elsewhere": comparison.elsewhere,
        "age_seconds": round(comparison.age.total_seconds()),
    }
    return json.dumps(document, indent=2) + "\n"


def _table(comparison: Comparison) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from images.sbom.outdated import lines
    from shim.errors import one_line

    table = Table(box=None, pad_edge=False)
    for name in ("package", "ours", "newest", "security", "from"):
        table.add_column(name, no_wrap=True)
    for one in comparison.newer:
        row = (one.name, one.ours, one.newest, "yes" if one.security else "no", one.suite)
        table.add_row(*(Text(cell) for cell in row))
    console = Console(width=200, highlight=False)
    with console.capture() as captured:
        if comparison.newer:
            console.print(table)
    rows = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*rows, *map(one_line, lines(comparison))]) + "\n"
