"""What `shim plan` and `shim run` have in common: their options, and the plan that follows from these."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from shim.cli.confining import ConfiningOptions, confinement_of, confining_options

if TYPE_CHECKING:
    from shim.launch.compose import OnViolation
    from shim.launch.plan import LaunchPlan
    from shim.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What the user says of a launch; the fields are the options of `launch_options`."""

    env: tuple[str, ...]
    on_violation: OnViolation
    no_events: bool
    allow_incomplete: bool
    require: tuple[str, ...]
    no_pin: bool
    no_phases: bool
    profile: str | None
    confining: ConfiningOptions


_FEATURES = click.Choice(["mdwe", "mseal", "landlock"])


def _features(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in lists with commas, each once, in their order."""
    names = [name for text in value for name in text.split(",")]
    return tuple(dict.fromkeys(_FEATURES.convert(name, parameter, context) for name in names))


def launch_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a launch, as `options`, and the program with its arguments."""

    @click.option(
        "--env",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Pass a variable; the environment is empty otherwise.",
    )
    @click.option(
        "--on-violation",
        type=click.Choice(["kill", "errno", "audit"]),
        default="kill",
        show_default=True,
        help="What becomes of a refused call: it ends the program, fails with EPERM, or is made and "
        "reported.",
    )
    @click.option(
        "--audit", "on_violation", flag_value="audit", help="As --on-violation audit: make and report them."
    )
    @click.option(
        "--profile",
        metavar="FILE",
        help="The program's profile as JSON, instead of one of its machine code alone.",
    )
    @click.option(
        "--no-events", is_flag=True, help="Let the kernel kill the program at once, without a report."
    )
    @click.option(
        "--allow-incomplete",
        is_flag=True,
        help="Accept a profile with unresolved sites; their calls are refused.",
    )
    @click.option(
        "--require",
        multiple=True,
        metavar="[mdwe|mseal|landlock],...",
        callback=_features,
        help="Fail where the kernel lacks it: mdwe keeps pages from becoming code, mseal keeps code what "
        "it is, landlock handles all that is asked of it.",
    )
    @click.option("--no-pin", is_flag=True, help="Allow calls from everywhere in the process.")
    @click.option(
        "--no-phases",
        is_flag=True,
        help="Keep one filter from the first instruction to the end, and do not measure shared objects.",
    )
    @confining_options
    @click.argument("program")
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @functools.wraps(command)
    def with_options(**given: Any) -> int:  # noqa: ANN401  # one type per option
        options = LaunchOptions(**{name: given.pop(name) for name in LaunchOptions.__slots__})
        return command(options=options, **given)

    return with_options


appended_option = click.option(
    "--arguments",
    "appended",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="What becomes of arguments that a container runtime appends: shim-launch PLAN ARGUMENT... They are "
    "not in the plan, so that nothing attests to them.",
)
"""For commands that make a plan which others start."""


def prepare(
    path: str, data: bytes, argv: tuple[str, ...], options: LaunchOptions, *, appendable: bool = False
) -> tuple[Profile, LaunchPlan, bytes]:
    """Return the profile of the program with the bytes `data`, its launch plan, and the plan's bytes."""
    from shim.cli.profile_cache import cached_profile, default_directory
    from shim.elf.files import RootedFiles
    from shim.elf.image import parse_elf
    from shim.launch.compose import compose
    from shim.launch.layout import layout_of
    from shim.launch.plan_codec import encode

    on_violation = answer_of(options.on_violation, no_events=options.no_events)
    if options.profile is None:
        profile = cached_profile(data, path, default_directory(os.environ))
    else:
        profile = given_profile(options.profile, data, path)
    image = parse_elf(data, path)
    plan = compose(
        profile,
        path,
        argv,
        environment(options.env, os.environ),
        on_violation=on_violation,
        allow_incomplete=options.allow_incomplete,
        layout=layout_of(profile, image, RootedFiles("/").read),
        pin=not options.no_pin,
        phases=not options.no_phases,
        require=options.require,
        confinement=confinement_of(options.confining),
        appendable=appendable,
    )
    return profile, plan, encode(plan)


def given_profile(file: str, data: bytes, path: str) -> Profile:
    """
    Return the profile in a file, which has to be of the program with the bytes `data`.

    Raises:
        ProfileError: it is of another program, or no profile.
    """
    from shim.canonical import sha256_hex
    from shim.cli.files import read_program
    from shim.errors import ProfileError
    from shim.profile.codec import loads

    profile = loads(read_program(file), file)
    digest = sha256_hex(data)
    if profile.program.sha256 != digest:
        found = f"{profile.program.path} sha256 {profile.program.sha256}"
        raise ProfileError(f"{file}: program", found, f"{path} sha256 {digest}")
    return profile


def answer_of(on_violation: OnViolation, *, no_events: bool) -> OnViolation:
    """
    Return what two options together say of refused calls.

    Raises:
        UsageError: they contradict each other.
    """
    if no_events and on_violation != "kill":
        raise click.UsageError(
            f"--no-events lets the kernel kill; --on-violation {on_violation} needs events"
        )
    return "kernel" if no_events else on_violation


def environment(assignments: tuple[str, ...], own: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment that NAME=VALUE arguments describe; a bare NAME takes its value from `own`.

    Raises:
        BadParameter: one of them is no assignment, or `own` lacks the name.
    """
    result = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or (not equals and name not in own):
            raise click.BadParameter(
                f"found {assignment!r}, want NAME=VALUE or a name that is set", param_hint="--env"
            )
        result[name] = value if equals else own[name]
    return result
