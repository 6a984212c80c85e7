"""`shim diff A B`: what may the program do now that it could not do before?"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.derivation import Request, derivation_options, request

if TYPE_CHECKING:
    from shim.profile.diff import Difference, SyscallChange
    from shim.profile.profile import Profile, UnresolvedSite

EXIT_GREW, EXIT_USAGE = 1, 2
_ELF = b"\x7fELF"
_MARKS = {"added": "+", "widened": "+", "narrowed": "-", "removed": "-"}


@click.command("diff", short_help="What may this program do that it could not do before?")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-o", "--output", default="-", help="File to write; standard output if not given.")
@click.option("--exact", is_flag=True, help="Exit with 1 if something was removed, too.")
@derivation_options
def command(*, before: str, after: str, form: str, output: str, exact: bool, **derivation: Any) -> int:  # noqa: ANN401  # as derivation_options names them
    """
    Compare two profiles, each the JSON of one or a program whose profile is derived; "-" is standard input.

    Exits with 1 if B may do something that A could not: a syscall, other arguments, more in a phase, or a
    place that could not be bounded.  What was removed is shown and is no error.  Exits with 2 if the two
    cannot be compared.
    """
    from shim.cli.files import write_output
    from shim.errors import ShimError
    from shim.profile.diff import diff

    try:
        asked = request(**derivation)
        difference = diff(read_profile(before, asked), read_profile(after, asked))
    except ShimError as error:  # 1 is an answer here
        raise CannotCompareError(str(error)) from error
    except OSError as error:
        raise CannotCompareError(f"{error.filename}: found {error.strerror}, want a readable file") from error
    text = render(difference, before, after) if form == "table" else json_text(difference)
    write_output(output, text.encode())
    return EXIT_GREW if difference.grew or (exact and difference.shrank) else 0


class CannotCompareError(click.ClickException):
    """One of the two is no profile and no program, or they are of different kinds."""

    exit_code = EXIT_USAGE


def read_profile(path: str, asked: Request) -> Profile:
    """
    Return the profile that `path` is, or that of the program which it is, derived as `asked`.

    Raises:
        ProfileFormatError: the file is no ELF file and no profile.
        BinaryError: a file that cannot be read, or a program that cannot be analysed.
        OSError: a pipe that cannot be read.
    """
    from shim.cli.files import read_program
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.profile.codec import MAX_BYTES, loads

    if path == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    elif _is_pipe(path):  # <(git show HEAD:profile.json)
        with Path(path).open("rb") as pipe:
            data = pipe.read(MAX_BYTES + 1)
    else:
        data = read_program(path)
    if data.startswith(_ELF):
        return cached_profile(data, path, default_directory(os.environ), asked)
    return loads(data, path)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False  # read_program says what is wrong with it


def json_text(difference: Difference) -> str:
    """Return the difference as JSON, indented, with a final newline."""
    import json

    document = {
        "grew": difference.grew,
        "shrank": difference.shrank,
        "complete": {"before": difference.was_complete, "after": difference.is_complete},
        "syscalls": [_syscall_value(change) for change in difference.syscalls],
        "unresolved": _change_value(difference.unresolved),
        "foreign_abi": _change_value(difference.foreign_abi),
        "phases": _change_value(difference.phases),
        "assumptions": _change_value(difference.assumptions),
        "objects": _change_value(difference.objects),
    }
    return json.dumps(document, indent=2) + "\n"


def _syscall_value(change: SyscallChange) -> dict[str, Any]:
    from shim.profile.conditions import alternatives_text
    from shim.syscalls.effects import EFFECTS

    rules = {"before": change.before, "after": change.after}
    return {
        "change": change.kind,
        "number": change.number,
        "name": change.name,
        "risk": EFFECTS[change.name].risk.name.lower(),
        "phases": list(change.phases),
        "arguments": {key: None if rule is None else alternatives_text(rule) for key, rule in rules.items()},
        "why": list((change.after or change.before).why) if change.after or change.before else [],  # type: ignore[union-attr]
    }


def _change_value(change: Any) -> dict[str, list[Any]]:  # noqa: ANN401  # a Change of any of its items
    from dataclasses import asdict, is_dataclass

    def values(items: tuple[Any, ...]) -> list[Any]:
        return [asdict(item) if is_dataclass(item) and not isinstance(item, type) else item for item in items]

    return {"added": values(change.added), "removed": values(change.removed)}


def render(difference: Difference, before: str, after: str) -> str:
    """Return the difference for people: what was added first, the verdict last."""
    from shim.errors import one_line

    lines = [*_syscall_table(difference), *_other_lines(difference)]
    text = "\n".join(one_line(line).rstrip() for line in lines)
    verdict = "B may do more than A" if difference.grew else "B may do no more than A"
    summary = f"A {before}, B {after}: {verdict}; {_counts(difference)}"
    return f"{text}\n\n{one_line(summary)}\n" if text else f"{one_line(summary)}\n"


def _syscall_table(difference: Difference) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from shim.syscalls.effects import EFFECTS

    if not difference.syscalls:
        return []
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "syscall", "change", "risk", "phases"):
        shown.add_column(title, no_wrap=title != "phases")
    shown.add_column("arguments, or why", overflow="fold")
    for change in difference.syscalls:
        phases = "all" if change.everywhere else ", ".join(change.phases)
        risk = EFFECTS[change.name].risk.name.lower()
        row = (_MARKS[change.kind], change.name, change.kind, risk, phases, _detail(change))
        shown.add_row(*(Text(cell) for cell in row))  # names of others are no markup
    console = Console(width=118, highlight=False, soft_wrap=False)
    with console.capture() as captured:
        console.print(shown)
    return captured.get().splitlines()


def _detail(change: SyscallChange) -> str:
    from shim.profile.conditions import alternatives_text

    if change.kind == "removed" or change.after is None:
        return ""
    texts = alternatives_text(change.after)
    if change.before is None:
        chain = [link.rsplit(": ", 1)[-1] for link in change.after.why[-3:]]
        limits = f"only {' or '.join(texts)}" if texts else ""
        return "; ".join(part for part in (limits, " > ".join(chain)) if part)
    if not texts:
        return f"any arguments; before only {' or '.join(alternatives_text(change.before))}"
    known = alternatives_text(change.before)
    new = [text for text in texts if text not in known]
    gone = [text for text in known if text not in texts] or ([] if known else ["any arguments"])
    parts = [f"now {' or '.join(new)}" if new else "", f"no longer {' or '.join(gone)}" if gone else ""]
    return "; ".join(part for part in parts if part)


def _other_lines(difference: Difference) -> Iterator[str]:
    if difference.was_complete != difference.is_complete:
        yield "+ no longer complete" if difference.was_complete else "- complete now"
    for title, change in (("unresolved", difference.unresolved), ("another ABI", difference.foreign_abi)):
        yield from (f"+ {title}: {_place(site)}" for site in change.added)
        yield from (f"- {title}: {_place(site)}" for site in change.removed)
    for title, names in (
        ("phase", difference.phases),
        ("assumption", difference.assumptions),
        ("object", difference.objects),
    ):
        yield from (f"  {title} new: {name}" for name in names.added)
        yield from (f"  {title} gone: {name}" for name in names.removed)


def _place(site: UnresolvedSite) -> str:
    return f"{site.object}: {site.function or 'code'} at {site.address:#x}: {site.reason}"


def _counts(difference: Difference) -> str:
    from collections import Counter

    from shim.profile.diff import KINDS

    kinds = Counter(change.kind for change in difference.syscalls)
    return ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind]) or "the same syscalls"
