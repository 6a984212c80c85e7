"""
What did a program ask of the kernel while somebody watched?

A trace is a value, and a lower bound: what it lacks may still be called.  Nothing here runs a program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import Final, Literal

from shim.errors import ProfileError
from shim.profile.profile import AnalysedObject, Arch, Site, SyscallRule

TRACE_SCHEMA_VERSION: Final = 1

Arguments = tuple[int | None, ...]
"""The six arguments of a call, unsigned; None where one was not kept, as pointers and sizes are not."""

Abi = Literal["i386", "x32", "unknown"]
ANONYMOUS: Final = "[anonymous]"
VDSO: Final = "[vdso]"
NOT_RECORDED: Final = frozenset({"rt_sigreturn"})
"""Calls that no trace has: shim.launch.record says why."""

RELEVANT: Final = MappingProxyType(
    {
        "socket": (0, 1, 2),
        "socketpair": (0, 1, 2),
        "ioctl": (1,),
        "fcntl": (1,),
        "prctl": (0,),
        "arch_prctl": (0,),
        "clone": (0,),
        "mmap": (2, 3),
        "mprotect": (2,),
        "pkey_mprotect": (2,),
        "mremap": (3,),
        "madvise": (2,),
        "seccomp": (0, 1),
        "futex": (1,),
        "openat": (2,),
        "open": (1,),
        "execveat": (4,),
        "unshare": (0,),
        "setsockopt": (1, 2),
        "getsockopt": (1, 2),
        "prlimit64": (1,),
        "kill": (1,),
        "tgkill": (2,),
        "personality": (0,),
        "bpf": (0,),
        "ptrace": (0,),
        "keyctl": (0,),
        "epoll_ctl": (1,),
    }
)
"""The arguments that choose what a call does, where they have few values."""


@dataclass(frozen=True, slots=True)
class TracedCall:
    """
    One syscall as it was made.

    Attributes:
        number: Of the profile's architecture.
        name: As in its table.
        count: How often.
        arguments: Every different tuple of those arguments that were kept, in order.
        arguments_dropped: True if there were more different ones than the recorder keeps.
        sites: Where it was made, in order; `object` is a path, VDSO or ANONYMOUS.
    """

    number: int
    name: str
    count: int
    arguments: tuple[Arguments, ...]
    arguments_dropped: bool
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class ForeignCall:
    """A call that no table of the profile's architecture has: another ABI's, or a number without a name."""

    abi: Abi
    number: int
    count: int
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class OtherImage:
    """What descendants called while they executed another file than the program; "" if it is not known."""

    path: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """
    The calls of one program in one or more runs.

    Attributes:
        arch: Of the calls.
        objects: The program first, then what else made a call; `sha256` is "" for a file that was gone.
        calls: By number; those of descendants only while they executed the same file.
        foreign: By ABI and number.
        others: By path.
        runs: How many were united.
        unseen: Calls that a signal took back before they could be received, or whose thread died.
        lost: Calls that did not fit into the recorder's tables.
        tool_version: What recorded them.
    """

    arch: Arch
    objects: tuple[AnalysedObject, ...]
    calls: tuple[TracedCall, ...]
    foreign: tuple[ForeignCall, ...]
    others: tuple[OtherImage, ...]
    runs: int
    unseen: int
    lost: int
    tool_version: str

    @property
    def program(self) -> AnalysedObject:
        """The file that was executed."""
        return self.objects[0]


def unite(traces: Sequence[Trace]) -> Trace:
    """
    Return the union of several traces of one file.

    Raises:
        ProfileError: they are of different files, or there is none.
    """
    if not traces:
        raise ProfileError("traces", "none", "at least one")
    first = traces[0]
    for trace in traces:
        require_same_file("trace", trace.program, first.program)
    calls = sorted((call for trace in traces for call in trace.calls), key=lambda call: call.number)
    foreign = sorted((call for trace in traces for call in trace.foreign), key=_foreign_key)
    others = sorted((other for trace in traces for other in trace.others), key=lambda other: other.path)
    united = {entry: None for trace in traces for entry in trace.objects}
    return replace(
        first,
        objects=(
            first.program,
            *sorted((entry for entry in united if entry != first.program), key=lambda e: (e.path, e.sha256)),
        ),
        calls=tuple(_unite_calls(list(group)) for _, group in groupby(calls, lambda call: call.number)),
        foreign=tuple(_unite_foreign(list(group)) for _, group in groupby(foreign, _foreign_key)),
        others=tuple(_unite_others(list(group)) for _, group in groupby(others, lambda other: other.path)),
        runs=sum(trace.runs for trace in traces),
        unseen=sum(trace.unseen for trace in traces),
        lost=sum(trace.lost for trace in traces),
    )


def kept_arguments(numbers: Mapping[str, int], rules: Iterable[SyscallRule]) -> dict[int, tuple[int, ...]]:
    """Return for each number which arguments a recording must keep to be compared with `rules`."""
    kept = {numbers[name]: set(indices) for name, indices in RELEVANT.items() if name in numbers}
    for rule in rules:
        for conjunction in rule.conditions:
            kept.setdefault(rule.number, set()).update(condition.index for condition in conjunction)
    return {number: tuple(sorted(indices)) for number, indices in kept.items()}


def require_same_file(where: str, found: AnalysedObject, want: AnalysedObject) -> None:
    """
    Return if both are the same file, whatever their paths.

    Raises:
        ProfileError: their digests differ.
    """
    if found.sha256 != want.sha256:
        raise ProfileError(
            f"{where}: program", f"{found.path} sha256 {found.sha256}", f"{want.path} sha256 {want.sha256}"
        )


def _unite_calls(calls: list[TracedCall]) -> TracedCall:
    return replace(
        calls[0],
        count=sum(call.count for call in calls),
        arguments=tuple(sorted({tuples for call in calls for tuples in call.arguments}, key=_arguments_key)),
        arguments_dropped=any(call.arguments_dropped for call in calls),
        sites=_unite_sites(calls),
    )


def _unite_foreign(calls: list[ForeignCall]) -> ForeignCall:
    return replace(calls[0], count=sum(call.count for call in calls), sites=_unite_sites(calls))


def _unite_others(others: list[OtherImage]) -> OtherImage:
    names = {name for other in others for name in other.names}
    return replace(others[0], count=sum(other.count for other in others), names=tuple(sorted(names)))


def _unite_sites(calls: Sequence[TracedCall | ForeignCall]) -> tuple[Site, ...]:
    return tuple(sorted({site for call in calls for site in call.sites}))


def _foreign_key(call: ForeignCall) -> tuple[str, int]:
    return call.abi, call.number


def _arguments_key(arguments: Arguments) -> tuple[int, ...]:
    return tuple(-1 if value is None else value for value in arguments)
