"""`shim profile PROGRAM`: what may this program ask of the kernel, and why?"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import derivation_options, request

if TYPE_CHECKING:
    from shim.profile.profile import Profile, SyscallRule

EXIT_INCOMPLETE = 3
FORMATS = ("table", "json", "html", "names", "oci", "docker", "spo", "systemd", "libseccomp", "bpf", "bwrap")


@click.command("profile", short_help="What may this program ask of the kernel?")
@click.argument("program")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", default="-", help="File to write; standard output if not given.")
@derivation_options
@click.option("--no-cache", is_flag=True, help="Derive anew, and keep nothing.")
@click.option("--why", is_flag=True, help="In the table: the whole call chain of every syscall.")
def command(  # noqa: PLR0913  # one parameter for each option
    *,
    program: str,
    form: str,
    output: str,
    why: bool,
    root: str,
    modules: tuple[str, ...],
    assume: tuple[str, ...],
    no_assumptions: bool,
    no_cache: bool,
) -> int:
    """
    Derive the syscall profile of PROGRAM, an x86-64 ELF file, from its and its libraries' machine code.

    Exits with 3 if a place that can enter the kernel could not be bounded; such places are listed.
    """
    from shim.cli import formats
    from shim.cli.files import read_program, write_output
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.profile.codec import dumps

    if form in formats.BINARY and output == "-" and sys.stdout.isatty():
        raise click.UsageError(f"found a terminal for --format {form}, want a file: -o FILE")
    asked = request(root, modules, assume, no_assumptions)
    cache = None if no_cache else default_directory(os.environ)
    profile = cached_profile(read_program(program), program, cache, asked)
    if form == "json":
        write_output(output, dumps(profile) + b"\n")
    elif form == "table":
        write_output(output, render(profile, why=why).encode())
    else:
        write_output(output, formats.write(profile, form))
    for line in open_ends(profile):
        click.echo(f"shim: {line}", err=True)
    return 0 if profile.complete else EXIT_INCOMPLETE


def open_ends(profile: Profile) -> list[str]:
    """Return one line for each place that makes the profile incomplete."""
    places = [("unresolved", place) for place in profile.unresolved]
    places += [("another ABI", place) for place in profile.foreign_abi]
    return [
        f"{profile.program.path}: {place.function} at {place.address:#x}: found {kind} ({place.reason}), "
        "want a set of syscall numbers"
        for kind, place in places
    ]


def render(profile: Profile, *, why: bool) -> str:
    """Return the table for people: syscall, where it is issued, by which way the program gets there."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if why else 118, highlight=False, soft_wrap=False)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("syscall", no_wrap=True)
    shown.add_column("nr", justify="right", no_wrap=True)
    shown.add_column("issued at", no_wrap=True)
    shown.add_column("why" if why else "why (last links of the chain)", overflow="fold")
    count = 0
    for phase in profile.phases:
        for rule in phase.rules:
            count += 1
            shown.add_row(rule.name, str(rule.number), _sites(rule), _chain(rule, whole=why))
    with console.capture() as captured:
        console.print(shown)
    state = "complete" if profile.complete else "INCOMPLETE"
    summary = f"{profile.program.path}: {count} syscalls, {state}; sha256 {profile.program.sha256}"
    rows = "\n".join(line.rstrip() for line in captured.get().splitlines())
    assumed = "".join(f"assumed: {assumption}\n" for assumption in profile.assumptions)
    return f"{rows}\n\n{assumed}{summary}\n"


def _sites(rule: SyscallRule) -> str:
    if not rule.sites:
        return "-"
    first = rule.sites[0]
    name = first.function if len(first.function) <= 28 else first.function[:27] + "…"
    more = f" +{len(rule.sites) - 1}" if len(rule.sites) > 1 else ""
    return f"{name} {first.address:#x}{more}"


def _chain(rule: SyscallRule, *, whole: bool) -> str:
    links = rule.why if whole or not rule.sites else tuple(link.rsplit(": ", 1)[-1] for link in rule.why[-3:])
    return "\n".join(links) if whole else " > ".join(links)
