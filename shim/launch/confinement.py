"""
What a program may reach beside its system calls, as whom it runs, and within which limits.

From words that a user knows to what the plan holds; pure, but for asking which files are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType

from shim.errors import PlanFormatError
from shim.launch.plan import NO_FLAGS, Cgroup, Identity, Landlock, PathRule, PlanFlag, PortRule, ResourceLimit
from shim.profile.profile import Profile


class Files(IntFlag):
    """LANDLOCK_ACCESS_FS_* of include/uapi/linux/landlock.h, v6.18."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    MAKE_CHAR = 1 << 6
    MAKE_BLOCK = 1 << 11
    ALL = (1 << 16) - 1


class Network(IntFlag):
    """LANDLOCK_ACCESS_NET_* of the same file."""

    BIND_TCP = 1 << 0
    CONNECT_TCP = 1 << 1
    ALL = 3


class Scopes(IntFlag):
    """LANDLOCK_SCOPE_* of the same file."""

    ABSTRACT_UNIX_SOCKET = 1 << 0
    SIGNAL = 1 << 1


READ = Files.READ_FILE | Files.READ_DIR
WRITE = Files.ALL & ~(Files.EXECUTE | Files.MAKE_CHAR | Files.MAKE_BLOCK)
CLOSURE = Files.READ_FILE | Files.EXECUTE

# include/uapi/linux/sched.h, v6.18.
NAMESPACES = MappingProxyType(
    {
        "mount": 0x0002_0000,
        "cgroup": 0x0200_0000,
        "uts": 0x0400_0000,
        "ipc": 0x0800_0000,
        "user": 0x1000_0000,
        "pid": 0x2000_0000,
        "net": 0x4000_0000,
    }
)
# include/uapi/asm-generic/resource.h, v6.18, but for RLIMIT_CORE: core dumps are always off.
RESOURCES = MappingProxyType(
    {
        "cpu": 0,
        "fsize": 1,
        "data": 2,
        "stack": 3,
        "rss": 5,
        "nproc": 6,
        "nofile": 7,
        "memlock": 8,
        "as": 9,
        "locks": 10,
        "sigpending": 11,
        "msgqueue": 12,
        "nice": 13,
        "rtprio": 14,
        "rttime": 15,
    }
)
UNLIMITED = (1 << 64) - 1
# What sends a signal to a process by its number.
SIGNALLING = frozenset(
    {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"}
)
LOADER_FILES = ("/etc/ld.so.cache",)


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    What a user says of a launch beside the system calls.

    Attributes:
        read: Absolute paths of files and directories that may be read.
        write: Those that may be read, changed, made and removed.
        execute: Those that may be read and executed.
        no_files: Nothing but the program's own closure may be reached, even if none of these is given.
        bind: TCP ports that may be bound.
        connect: TCP ports that may be connected to.
        no_network: No TCP port may be bound or connected to, even if none of these is given.
        allow_signals: Other processes may be signalled.
        identity: Whom the program runs as.
        namespaces: CLONE_NEW* of those that it gets for its own.
        limits: Its resource limits.
        timeout: Nanoseconds after which it is killed; 0 for never.
        cgroup: Limits on all that it starts.
        flags: Of the plan.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()
    no_files: bool = False
    bind: tuple[int, ...] = ()
    connect: tuple[int, ...] = ()
    no_network: bool = False
    allow_signals: bool = False
    identity: Identity | None = None
    namespaces: int = 0
    limits: tuple[ResourceLimit, ...] = ()
    timeout: int = 0
    cgroup: Cgroup | None = None
    flags: PlanFlag = NO_FLAGS


def landlock_for(
    confinement: Confinement, profile: Profile, program: str, exists: Callable[[str], bool]
) -> Landlock | None:
    """
    Return what Landlock shall do for a program, None if there is nothing.

    Files are restricted where paths are given or none are wanted: then the program and the objects of its
    profile can be read and executed beside what was asked for. Ports likewise. A program that can send
    signals may signal only processes of its own, unless that was allowed.

    Raises:
        PlanFormatError: a path that was asked for is not there.
    """
    asked = (
        *((path, READ) for path in confinement.read),
        *((path, WRITE) for path in confinement.write),
        *((path, READ | Files.EXECUTE) for path in confinement.execute),
    )
    missing = [path for path, _ in asked if not exists(path)]
    if missing:
        raise PlanFormatError(
            f"{program}: Landlock", f"no {missing[0]}", "files and directories that are there"
        )
    files = bool(asked) or confinement.no_files
    ports = _ports(confinement)
    network = bool(ports) or confinement.no_network
    signals = not confinement.allow_signals and _signals(profile)
    if not (files or network or signals):
        return None
    return Landlock(
        Files.ALL if files else 0,
        Network.ALL if network else 0,
        (Scopes.SIGNAL if signals else 0) | (Scopes.ABSTRACT_UNIX_SOCKET if files else 0),
        _paths(asked, profile, program, exists) if files else (),
        ports,
    )


def _signals(profile: Profile) -> bool:
    return not SIGNALLING.isdisjoint(rule.name for phase in profile.phases for rule in phase.rules)


def _ports(confinement: Confinement) -> tuple[PortRule, ...]:
    rights: dict[int, int] = {}
    for port in confinement.bind:
        rights[port] = rights.get(port, 0) | Network.BIND_TCP
    for port in confinement.connect:
        rights[port] = rights.get(port, 0) | Network.CONNECT_TCP
    return tuple(PortRule(int(rights[port]), port) for port in sorted(rights))


def _paths(
    asked: Collection[tuple[str, int]], profile: Profile, program: str, exists: Callable[[str], bool]
) -> tuple[PathRule, ...]:
    rights = {program: int(CLOSURE)}
    for one in profile.objects[1:]:
        rights[one.path] = int(CLOSURE)
    if len(profile.objects) > 1:
        rights.update(dict.fromkeys(LOADER_FILES, int(Files.READ_FILE)))
    rights = {path: right for path, right in rights.items() if exists(path)}
    for path, right in asked:
        rights[path] = rights.get(path, 0) | int(right)
    return tuple(PathRule(rights[path], path.encode(errors="surrogateescape")) for path in sorted(rights))
