"""`shim explain PROGRAM SYSCALL`: by which way does this program come to make this call?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import derivation_options, request

if TYPE_CHECKING:
    from shim.profile.profile import Profile, SyscallRule

EXIT_NOT_MADE = 1


@click.command("explain", short_help="By which way does a program come to make a call?")
@click.argument("program")
@click.argument("syscall", required=False)
@click.option("--unresolved", is_flag=True, help="List the places that could not be bounded, and why.")
@derivation_options
@click.option("--no-cache", is_flag=True, help="Derive anew, and keep nothing.")
def command(  # noqa: PLR0913  # one parameter for each option
    *,
    program: str,
    syscall: str | None,
    unresolved: bool,
    root: str,
    modules: tuple[str, ...],
    assume: tuple[str, ...],
    no_assumptions: bool,
    no_cache: bool,
) -> int:
    """
    Print why PROGRAM may make SYSCALL, a name or a number: the shortest chain of calls, and every place.

    Exits with 1 if the profile does not have the call, or with --unresolved if something is unresolved.
    """
    from shim.cli.files import read_program
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.syscalls import table

    if (syscall is None) == (not unresolved):
        raise click.UsageError("found neither or both, want SYSCALL or --unresolved")
    cache = None if no_cache else default_directory(os.environ)
    asked = request(root, modules, assume, no_assumptions)
    profile = cached_profile(read_program(program), program, cache, asked)
    if syscall is None:
        return _unresolved(profile)
    syscalls = table(profile.arch)
    number = int(syscall) if syscall.isdecimal() else syscalls.number(syscall)
    return _explained(profile, number, syscalls.name(number) if number in syscalls else syscall)


def _unresolved(profile: Profile) -> int:
    places = [*profile.unresolved, *profile.foreign_abi]
    for place in places:
        click.echo(f"{place.function} at {place.address:#x} in {place.object}: {place.reason}")
    if not places:
        click.echo(f"{profile.program.path}: every place that enters the kernel is bounded")
    return EXIT_NOT_MADE if places else 0


def _explained(profile: Profile, number: int, name: str) -> int:
    """Print every phase that has the call; the chain and the places of the first."""
    found = [(phase.name, rule) for phase in profile.phases for rule in phase.rules if rule.number == number]
    if not found:
        click.echo(f"{profile.program.path}: {name} is not in the profile")
        for assumption in profile.assumptions:
            click.echo(f"assumed: {assumption}")
        return EXIT_NOT_MADE
    _, rule = found[0]
    click.echo(f"{rule.name} ({rule.number}), allowed in: {', '.join(phase for phase, _ in found)}")
    for line in (*_conditions(rule), *_chain(rule), *_sites(rule)):
        click.echo(line)
    return 0


def _conditions(rule: SyscallRule) -> list[str]:
    from shim.profile.conditions import alternatives_text

    return [f"only where {line}" for line in alternatives_text(rule)] if rule.conditions else []


def _chain(rule: SyscallRule) -> list[str]:
    return ["", "why, the shortest way:", *(f"  {link}" for link in rule.why)]


def _sites(rule: SyscallRule) -> list[str]:
    lines = [f"  {site.address:#x} {site.function} in {site.object}" for site in rule.sites]
    return ["", f"where, {len(lines)} places:", *lines] if lines else []
