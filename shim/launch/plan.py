"""
What is to be run, exactly: the launch plan as a value.

Its bytes are `shim.launch.plan_codec`.  Never interprets the filter, never looks at the file system.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from shim.filter.program import Relocation
from shim.launch.machine import Channel, Module, Network


class PlanFlag(IntFlag):
    """What a plan says in its header."""

    EXEC_ALLOWED = 1
    """The filter may allow execve and execveat; without it the launcher refuses such a filter."""
    NO_EVENTS = 2
    """Refused calls are the kernel's to punish: no listener, no event."""
    NEW_SESSION = 4
    """The program leaves the terminal: setsid."""
    LOADER_ENVIRONMENT = 8
    """Names that steer the C library (LD_*, GLIBC_TUNABLES, GCONV_PATH) may be passed."""
    NO_EXEC_GAIN = 16
    """PR_SET_MDWE before the first instruction: no page becomes code that was not mapped as code."""
    REQUIRE_SEALS = 32
    """A kernel without mseal cannot launch the plan; else it is only reported."""
    ERRNO = 64
    """A refused call fails with EPERM, and is reported."""
    AUDIT = 128
    """A refused call is made, and is reported; with EXEC_ALLOWED only, for it may be execve."""
    REQUIRE_LANDLOCK = 256
    """A kernel that does not handle all that the plan's Landlock rules handle cannot launch it."""
    COPY = 512
    """Run a sealed copy of the program's file, which nobody can write to."""
    REQUIRE_NO_EXEC_GAIN = 1024
    """A kernel without PR_SET_MDWE cannot launch the plan; else it is only reported."""


NO_FLAGS: Final = PlanFlag(0)


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """
    One resource limit of the program.

    Attributes:
        resource: RLIMIT_* number, below 16 and not RLIMIT_CORE: core dumps are always off.
        soft: Soft limit in the resource's own unit, at most `hard`.
        hard: Hard limit; 2**64 - 1 is no limit.
    """

    resource: int
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """
    A shared object that has to be mapped when the program's own first instruction is reached, and the loader.

    Attributes:
        digest: SHA-256 of the file, 32 bytes.
        address: Of the first mapped page, in the file's addresses.
    """

    digest: bytes
    address: int


@dataclass(frozen=True, slots=True)
class ObjectSeal:
    """Whole pages of one object, by its place in the plan, that nobody shall change or unmap."""

    object: int
    pages: range


@dataclass(frozen=True, slots=True)
class Stage:
    """
    A stretch of the program's life with a tighter filter.

    Attributes:
        boundary: Address in the program's file of the instruction that begins it.
        filter: `struct sock_filter[]`, as that of the plan.
        relocations: What is added to its operands; objects are moved things from 2 on, in the plan's order.
    """

    boundary: int
    filter: bytes
    relocations: tuple[Relocation, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRule:
    """Landlock rights (LANDLOCK_ACCESS_FS_*) on a file, or on everything below a directory."""

    rights: int
    path: bytes


@dataclass(frozen=True, slots=True)
class PortRule:
    """Landlock rights (LANDLOCK_ACCESS_NET_*) on a TCP port."""

    rights: int
    port: int


@dataclass(frozen=True, slots=True)
class Landlock:
    """
    What Landlock takes from the program, and what of it the rules give back.

    Attributes:
        files: LANDLOCK_ACCESS_FS_* that are denied but by a rule.
        network: LANDLOCK_ACCESS_NET_* likewise.
        scopes: LANDLOCK_SCOPE_* that end at the program.
        paths: Rules for files.
        ports: Rules for ports, by increasing port.
    """

    files: int = 0
    network: int = 0
    scopes: int = 0
    paths: tuple[PathRule, ...] = ()
    ports: tuple[PortRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and the group that the program runs as, and no other group."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cgroup:
    """
    A cgroup of the program's own, made for it and ended with it.

    Attributes:
        parent: Absolute path of a cgroup v2 directory below which the launcher may make one.
        memory: Bytes that all its processes may use together, none of them in swap; 0 for any.
        processes: How many tasks there may be; 0 for any.
        cpu_quota: Microseconds of CPU time in each period; 0 for any.
        cpu_period: Microseconds; 0 if there is no quota.
    """

    parent: bytes
    memory: int = 0
    processes: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """
    One launch, complete.

    Attributes:
        program: Absolute path of the file to execute.
        digest: SHA-256 of that file, 32 bytes.
        filter: `struct sock_filter[]`, 1 to 4096 instructions of 8 bytes, little-endian.
        argv: Argument vector, at least one.
        environment: `NAME=VALUE` each; nothing else is passed on.
        limits: By increasing resource.
        entry_point: Address of the program's first instruction in its file; None if nothing below needs it.
        relocations: What the launcher adds to the filter's operands, by increasing instruction.
        sealed: Address ranges of the file, whole pages with gaps between, that nobody shall change or unmap.
        objects: What has to be mapped, and nothing else executable, at the boundary of the first stage, which
            is the entry point then.
        object_seals: What of them is sealed there, by object and address.
        stages: In their order, at most 4; neither with EXEC_ALLOWED nor with NO_EVENTS.
        landlock: What the program may reach; None leaves that to its user's rights.
        identity: Whom it runs as; None leaves that as it is.
        namespaces: CLONE_NEW* of those that it gets for its own.
        timeout: Nanoseconds after which it is killed; 0 for never.
        cgroup: Limits on all that it starts; None leaves it in the launcher's.
        modules: Of the kernel, in the order in which they are loaded, at most 256. This and what follows is
            for the first process of a machine only.
        network: How the machine gets one; None for the loopback alone.
        hostname: Its name; b"" leaves the kernel's.
        channel: To its relying party; None if there is none.
        flags: See `PlanFlag`.
    """

    program: bytes
    digest: bytes
    filter: bytes
    argv: tuple[bytes, ...]
    environment: tuple[bytes, ...] = ()
    limits: tuple[ResourceLimit, ...] = ()
    entry_point: int | None = None
    relocations: tuple[Relocation, ...] = ()
    sealed: tuple[range, ...] = ()
    objects: tuple[PlannedObject, ...] = ()
    object_seals: tuple[ObjectSeal, ...] = ()
    stages: tuple[Stage, ...] = ()
    landlock: Landlock | None = None
    identity: Identity | None = None
    namespaces: int = 0
    timeout: int = 0
    cgroup: Cgroup | None = None
    modules: tuple[Module, ...] = ()
    network: Network | None = None
    hostname: bytes = b""
    channel: Channel | None = None
    flags: PlanFlag = NO_FLAGS

    @property
    def has_machine(self) -> bool:
        """Whether it asks for what only the first process of a machine can do."""
        return bool(self.modules or self.network or self.hostname or self.channel)
