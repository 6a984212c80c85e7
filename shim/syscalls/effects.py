"""
What can a syscall do, and how much does it matter that a program may call it?

Groups say what a call reaches, risks how far.  A risk is a property of the number alone: arguments that a
profile pins can only lower it.  What decides, from the top:

critical
    Power over the kernel or over other processes.  systemd 252 has the call in @clock, @debug, @module,
    @mount, @raw-io, @reboot or @swap (systemd-analyze syscall-filter), or Docker's default profile allows it
    only together with a capability other than CAP_SYS_NICE (moby, profiles/seccomp/default.json).
high
    Runs new code, changes who the process is, or opens a part of the kernel that others keep shut: systemd's
    @chown, @cpu-emulation, @keyring, @setuid and the rest of @privileged; execve; device nodes; io_uring
    (left out of Docker's profile since moby#46762), userfaultfd (vm.unprivileged_userfaultfd is 0),
    personality (Docker allows five values).
moderate
    Reaches something outside the process: names of files, the network, other processes, shared objects; or
    can be told to (ioctl, prctl, executable memory).
low
    Works on what the process already has: open descriptors, its memory, threads, signals and time.

Calls that no kernel of the table implements are in the group `obsolete`, at low risk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from shim.syscalls.effects_table import ROWS


class Risk(IntEnum):
    """How far a call reaches; higher is worse."""

    LOW = 0
    MODERATE = 1
    HIGH = 2
    CRITICAL = 3

    @property
    def meaning(self) -> str:
        """What all calls of this risk have in common, as half a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Risk.LOW: "works on what the process already has",
    Risk.MODERATE: "reaches files, network or processes outside",
    Risk.HIGH: "runs new code, changes identity, or opens what others keep shut",
    Risk.CRITICAL: "power over the kernel or other processes",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that reach the same kind of thing."""

    key: str
    title: str


GROUPS: tuple[Group, ...] = (
    Group("kernel", "Administer the kernel and the machine"),
    Group("tracing", "Watch and change other processes and the kernel"),
    Group("namespaces", "Mount file systems and change namespaces"),
    Group("identity", "Change user, groups, capabilities and keys"),
    Group("processes", "Start programs and processes"),
    Group("network", "Network and sockets"),
    Group("changes", "Create, remove and change files"),
    Group("files", "Find, open and inspect files"),
    Group("ipc", "Shared memory, queues and pipes"),
    Group("limits", "Limits and settings of the process"),
    Group("descriptors", "Read and write what is open"),
    Group("memory", "Memory"),
    Group("threads", "Threads and scheduling"),
    Group("signals", "Signals"),
    Group("waiting", "Wait for events"),
    Group("time", "Clocks and timers"),
    Group("facts", "Ask about itself and the machine"),
    Group("obsolete", "Obsolete, answered with ENOSYS"),
)
"""In the order in which a reviewer wants to see them."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one call does: its group's key, its risk, and a few words."""

    group: str
    risk: Risk
    summary: str


def _rows() -> Iterator[tuple[str, Effect]]:
    group = ""
    for line in ROWS.strip().splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line:
            name, risk, summary = line.split(" ", 2)
            yield name, Effect(group, Risk[risk.upper()], summary)


EFFECTS: Mapping[str, Effect] = MappingProxyType(dict(_rows()))
"""The effect of every call of every table, by name; a test holds that none is missing."""
