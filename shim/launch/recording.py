"""
What did one run of a program ask of the kernel, as values?

Numbers and places only: names, and what a profile says of them, are the business of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shim.launch._native import lib
from shim.launch.mappings import Image, Place

EndedBy = Literal["itself", "timeout", "signal"]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """
    Calls of one number, from one place, with the same kept arguments.

    Attributes:
        number: As the kernel got it; x32 numbers have bit 30 set.
        arch: AUDIT_ARCH_* of the call.
        place: Where in the program, or in the object it has mapped, the call stands.
        count: How many there were.
        arguments: Six; None where an argument was not kept.
        dropped: True if there were too many different arguments to keep these.
        first: All six arguments of the first of them.
        thread: The thread that made the first of them.
    """

    number: int
    arch: int
    place: Place
    count: int
    arguments: tuple[int | None, ...]
    dropped: bool
    first: tuple[int, ...]
    thread: int


@dataclass(frozen=True, slots=True)
class OtherCall:
    """How often processes of the tree made a call while they executed another file than the program."""

    path: str
    number: int
    arch: int
    count: int


@dataclass(frozen=True, slots=True)
class Recording:
    """
    One run.

    Attributes:
        program: Path of the file that was executed; of a script, its interpreter.
        sha256: Digest of that file, 64 hexadecimal digits; "" if the program made no call.
        exit_code: The program's status as a shell sees it.
        signal: The signal that ended it, or 0.
        calls: The calls of the program and of its descendants while they executed the same file.
        others: The calls of descendants that executed another file.
        unseen: Calls that a signal took back, or whose thread died, before they could be received.
        lost: Calls that were received and did not fit into the tables.
        unprivileged: True if the program ran with no_new_privs, so that setuid files gave it nothing.
        ended_by: What ended the tree.
    """

    program: str
    sha256: str
    exit_code: int
    signal: int
    calls: tuple[RecordedCall, ...]
    others: tuple[OtherCall, ...]
    unseen: int
    lost: int
    unprivileged: bool
    ended_by: EndedBy


def counted(
    tally: Any,  # noqa: ANN401  # cffi's pointers
    places: Sequence[Place | Image],
) -> tuple[tuple[RecordedCall, ...], tuple[OtherCall, ...]]:
    """Return what a tally of native/tally.h counted; its sites are the numbers of `places`, from 1."""
    calls: list[RecordedCall] = []
    others: list[OtherCall] = []
    for entry in tally.entries:
        if not entry.count:
            continue
        place = places[entry.site - 1]
        if isinstance(place, Image):
            others.append(OtherCall(place.path, entry.number, entry.arch, entry.count))
        else:
            calls.append(_call(entry, place))
    calls.sort(key=lambda call: (call.arch, call.number, call.place, call.first))
    others.sort(key=lambda call: (call.path, call.arch, call.number))
    return tuple(calls), tuple(others)


def _call(entry: Any, place: Place) -> RecordedCall:  # noqa: ANN401  # cffi's pointers
    return RecordedCall(
        number=entry.number,
        arch=entry.arch,
        place=place,
        count=entry.count,
        arguments=tuple(
            value if entry.kept >> index & 1 else None for index, value in enumerate(entry.arguments)
        ),
        dropped=bool(entry.kept & lib.TALLY_DROPPED),
        first=tuple(entry.first),
        thread=entry.thread,
    )
