"""The options by which a user confines a launch, and what they say."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from shim.launch.confinement import Confinement
    from shim.launch.plan import Cgroup, ResourceLimit

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS: Final = {"ms": 1e-3, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400}
# Microseconds, as the kernel has it when nobody says anything.
_CPU_PERIOD: Final = 100_000
_NAMESPACES: Final = ("mount", "cgroup", "uts", "ipc", "user", "net")


@dataclass(frozen=True, slots=True)
class ConfiningOptions:
    """The fields are the options of `confining_options`."""

    ro: tuple[str, ...]
    rw: tuple[str, ...]
    exec_: tuple[str, ...]
    no_files: bool
    bind: tuple[int, ...]
    connect: tuple[int, ...]
    no_network: bool
    allow_signals: bool
    uid: int | None
    gid: int | None
    limit: tuple[str, ...]
    pid_namespace: bool
    namespace: tuple[str, ...]
    new_session: bool
    copy: bool
    timeout: str | None
    cgroup: str | None
    memory: str | None
    pids: int | None
    cpus: float | None


_PORT = click.IntRange(0, 65535)
_ID = click.IntRange(0, (1 << 32) - 2)
# Name, what `click.option` takes beside it, and help.
_OPTIONS: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    (
        "--ro",
        {"metavar": "PATH", "multiple": True},
        "May be read. With --ro, --rw, --exec nothing else may.",
    ),
    ("--rw", {"metavar": "PATH", "multiple": True}, "May be read, changed, made and removed."),
    ("--exec", {"metavar": "PATH", "multiple": True}, "May be read and executed."),
    ("--no-files", {"is_flag": True}, "Reach no file but the program and its libraries."),
    (
        "--bind",
        {"metavar": "PORT", "multiple": True, "type": _PORT},
        "TCP port to bind; then no other may.",
    ),
    ("--connect", {"metavar": "PORT", "multiple": True, "type": _PORT}, "TCP port to connect to; likewise."),
    ("--no-network", {"is_flag": True}, "Bind and connect to no TCP port."),
    ("--allow-signals", {"is_flag": True}, "Let the program signal processes that are not its own."),
    ("--uid", {"type": _ID}, "Run as this user."),
    ("--gid", {"type": _ID}, "Run as this group, and in no other."),
    ("--limit", {"metavar": "NAME=SOFT[:HARD]", "multiple": True}, "Resource limit: nofile=64, as=1g:2g."),
    ("--pid-namespace", {"is_flag": True}, "Processes of its own, which all end with the program."),
    ("--namespace", {"multiple": True, "type": click.Choice(_NAMESPACES)}, "A namespace of its own."),
    ("--new-session", {"is_flag": True}, "Away from the terminal: a session of its own."),
    ("--copy", {"is_flag": True}, "Run a sealed copy of the file: where others may write to it."),
    ("--timeout", {"metavar": "TIME"}, "Kill the program after 90, 1.5m or 2h; the exit code is 124."),
    (
        "--cgroup",
        {"metavar": "PATH"},
        "A cgroup v2 directory to make the program's own in; what is left there ends with the program.",
    ),
    ("--memory", {"metavar": "SIZE"}, "Memory for all its processes: 64m. Takes --cgroup."),
    ("--pids", {"type": click.IntRange(1, 4194304)}, "Processes and threads at a time. Takes --cgroup."),
    (
        "--cpus",
        {"type": click.FloatRange(0.01, 10000)},
        "CPU time: 1.5 is one and a half CPUs. Takes --cgroup.",
    ),
)


def confining_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command these options, as `confining`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> int:  # noqa: ANN401  # one type per option
        options = ConfiningOptions(**{name: given.pop(name) for name in ConfiningOptions.__slots__})
        return command(confining=options, **given)

    wrapped: Callable[..., int] = with_options
    for name, settings, words in reversed(_OPTIONS):
        names = (name, "exec_") if name == "--exec" else (name,)
        wrapped = click.option(*names, **settings, help=words)(wrapped)
    return wrapped


def confinement_of(
    options: ConfiningOptions, absolute: Callable[[str], str] = lambda path: str(Path(path).resolve())
) -> Confinement:
    """
    Return what the options say; `absolute` makes paths as the program will find them.

    Raises:
        BadParameter: one of them is not understood.
    """
    from shim.launch.confinement import NAMESPACES, Confinement
    from shim.launch.plan import Identity, PlanFlag

    identity = None
    if options.uid is not None or options.gid is not None:
        identity = Identity(
            os.getuid() if options.uid is None else options.uid,
            os.getgid() if options.gid is None else options.gid,
        )
    names = (*options.namespace, *(("pid",) if options.pid_namespace else ()))
    flags = PlanFlag(0)
    flags |= PlanFlag.NEW_SESSION if options.new_session else 0
    flags |= PlanFlag.COPY if options.copy else 0
    return Confinement(
        read=tuple(map(absolute, options.ro)),
        write=tuple(map(absolute, options.rw)),
        execute=tuple(map(absolute, options.exec_)),
        no_files=options.no_files,
        bind=options.bind,
        connect=options.connect,
        no_network=options.no_network,
        allow_signals=options.allow_signals,
        identity=identity,
        namespaces=functools.reduce(lambda kinds, name: kinds | NAMESPACES[name], names, 0),
        limits=_limits(options.limit),
        timeout=0 if options.timeout is None else nanoseconds(options.timeout),
        cgroup=_cgroup(options),
        flags=flags,
    )


def _cgroup(options: ConfiningOptions) -> Cgroup | None:
    from shim.launch.plan import Cgroup

    limited = [name for name in ("memory", "pids", "cpus") if getattr(options, name) is not None]
    if options.cgroup is None:
        if limited:
            want = "--cgroup PATH beside it: a cgroup v2 directory that you may write to"
            raise click.BadParameter(f"found no cgroup, want {want}", param_hint=f"--{limited[0]}")
        return None
    return Cgroup(
        os.fsencode(Path(options.cgroup).resolve()),
        0 if options.memory is None else _memory(options.memory),
        options.pids or 0,
        0 if options.cpus is None else round(options.cpus * _CPU_PERIOD),
        0 if options.cpus is None else _CPU_PERIOD,
    )


def _memory(text: str) -> int:
    found = _amount(text, text, "--memory")
    if not 0 < found < 1 << 63:
        raise click.BadParameter(f"found {text!r}, want a size above 0", param_hint="--memory")
    return found


def _limits(texts: tuple[str, ...]) -> tuple[ResourceLimit, ...]:
    from shim.launch.confinement import RESOURCES
    from shim.launch.plan import ResourceLimit

    found: dict[int, ResourceLimit] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        resource = RESOURCES.get(name.lower())
        soft, _, hard = values.partition(":")
        if resource is None or not equals:
            want = f"NAME=SOFT[:HARD] with NAME one of {', '.join(RESOURCES)}"
            raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--limit")
        limit = ResourceLimit(resource, _amount(soft, text), _amount(hard or soft, text))
        if resource in found or limit.soft > limit.hard:
            want = "each limit once, SOFT at most HARD"
            raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--limit")
        found[resource] = limit
    return tuple(found[resource] for resource in sorted(found))


def _amount(text: str, whole: str, option: str = "--limit") -> int:
    from shim.launch.confinement import UNLIMITED

    if text == "unlimited":
        return UNLIMITED
    match = re.fullmatch(r"(\d+)([kmgt]?)", text.lower())
    if match is None or int(match[1]) * _UNITS[match[2]] > UNLIMITED:
        want = "a number with K, M, G or T behind it, or 'unlimited'"
        raise click.BadParameter(f"found {whole!r}, want {want}", param_hint=option)
    return int(match[1]) * _UNITS[match[2]]


def nanoseconds(text: str) -> int:
    """
    Return the nanoseconds that a duration is: a number, and ms, s, m, h or d behind it.

    Raises:
        BadParameter: it is none, or not above 0, or longer than 292 years.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", text)
    found = 0 if match is None else int(float(match[1]) * _SECONDS[match[2]] * 1e9)
    if not 0 < found < 1 << 63:
        raise click.BadParameter(f"found {text!r}, want a time as 90, 1.5m or 2h", param_hint="--timeout")
    return found
