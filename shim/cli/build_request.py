"""What `shim build` is asked for, as far as it decides what is in an image: recorded, and read back."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.build_machine import MachineOptions, machine_options, variables_of
from shim.cli.derivation import Request, derivation_options
from shim.cli.launching import LaunchOptions, appended_option, environment, launch_options
from shim.errors import FoundWantError

if TYPE_CHECKING:
    from shim.cli.build_steps import Build


class RequestError(FoundWantError):
    """Options that were recorded, and that this version does not have or does not record."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields are the options of `content_options`, and whether scanners shall find packages."""

    image: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    directory: tuple[str, ...]
    place: str | None
    trim: bool
    root: str
    modules: tuple[str, ...]
    assume: tuple[str, ...]
    no_assumptions: bool
    program: str
    arguments: tuple[str, ...]
    appended: str
    options: LaunchOptions
    machine: MachineOptions
    scannable: bool

    def build(self, kernel: Path | None) -> Build:
        """
        Return the build of this from what is there now, analysed, with its files.

        Args:
            kernel: What boots it; its modules are taken where no others are named.

        Raises:
            ShimError: as `shim build` ends: an input that is missing, or an analysis that fails.
            ClickException: an option that means nothing.
        """
        from images import closure
        from shim.cli.build_guest import guest_of
        from shim.cli.build_inputs import directories, inclusion, origin_of, program_of
        from shim.cli.build_steps import Build

        origin = origin_of(self.root, self.image)
        found = program_of(self.program, origin, self.place)
        selection = closure.Selection(
            found.place,
            variables_of(self.machine, environment(self.options.env, os.environ)),
            tuple(inclusion(text, running=origin.running) for text in self.include),
            self.exclude,
            directories(self.directory),
        )
        request = Request(origin.label, self.modules, self.assume, self.no_assumptions)
        return Build(
            found,
            origin,
            selection,
            request,
            self.options,
            guest_of(self.machine, kernel),
            appendable=self.appended == "allow",
            trim=self.trim,
            scannable=self.scannable,
        )


def content_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that decide what is in an image, as `asked`, and the program."""

    @click.option(
        "--from", "image", metavar="oci:DIR", help="Take all files from the image in an OCI layout."
    )
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
    @appended_option
    @machine_options
    @derivation_options
    @launch_options
    @functools.wraps(command)
    def with_options(*context: click.Context, sbom: object, **given: Any) -> Any:  # noqa: ANN401  # one type per option
        fields = {name: given.pop(name) for name in Asked.__slots__ if name != "scannable"}
        asked = Asked(**fields, scannable=bool(sbom))
        return command(*context, asked=asked, sbom=sbom, **given)

    return with_options


@click.command("build", add_help_option=False, context_settings={"allow_interspersed_args": False})
@click.option("--sbom", is_flag=True)
@content_options
def _recorded(*, asked: Asked, sbom: bool) -> Asked:
    """Read options back: of these alone a record may hold any, so none that writes is among them."""
    del sbom
    return asked


def recorded(context: click.Context) -> tuple[str, ...]:
    """
    Return the options that decide what is in the image, as the user gave them, in a fixed order.

    Variables get their values: a name alone means nothing elsewhere.
    """
    found: dict[str, list[str]] = {}
    for parameter in _recorded.params:
        name = parameter.name or ""
        value = context.params.get(name)
        flag = getattr(parameter, "flag_value", None)
        if isinstance(parameter, click.Argument) or name in found:
            continue
        if value is None or value is False or value in ((), parameter.default):  # 0 is a user's, and a port
            continue
        if isinstance(flag, str) and flag != value:  # one of several names for the same
            continue
        option = max(parameter.opts, key=len)
        given = _values(name, value)
        found[name] = [text for one in given for text in ([option] if one is True else [option, str(one)])]
    return tuple(text for texts in found.values() for text in texts)


def check_text(values: Iterable[object]) -> None:
    """
    Hold options, tuples of them included, against what manifests and documents can spell.

    Raises:
        UsageError: one of them is no UTF-8.
    """
    for value in values:
        if isinstance(value, tuple):
            check_text(value)
        elif isinstance(value, str | Path):
            try:
                str(value).encode()
            except UnicodeEncodeError as error:
                want = "UTF-8: the manifest of an image could not spell it"
                raise click.UsageError(f"found {os.fsencode(value)!r}, want {want}") from error


def _values(name: str, value: Any) -> Sequence[object]:  # noqa: ANN401  # one type per option
    if (
        name == "sbom"
    ):  # that documents were made decides what is in the image, where they were written does not
        return (True,)
    if name == "env":
        return [f"{key}={text}" for key, text in environment(value, os.environ).items()]
    return value if isinstance(value, tuple) else (value,)


def asked_again(command: Sequence[str], where: str) -> Asked:
    """
    Return what recorded options ask for.

    Args:
        command: Options, `--`, the program and its arguments.
        where: The record's name, for messages.

    Raises:
        RequestError: an option that this version does not record.
    """
    try:
        with _recorded.make_context("shim build", list(command)) as context:
            asked: Asked = _recorded.invoke(context)
    except click.ClickException as error:
        want = "options that this version of shim build records"
        raise RequestError(f"{where}: request", error.format_message().rstrip("."), want) from error
    for assignment in asked.options.env:
        if "=" not in assignment:  # the builder's own variables are nobody else's business
            raise RequestError(
                f"{where}: request: --env", repr(assignment), "NAME=VALUE, as builds record it"
            )
    return asked
