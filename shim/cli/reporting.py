"""What `shim run` says of refused calls: a line for each kind, a record of all, and what to do about them."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from shim.cli.violations import Witness, in_words
from shim.errors import ShimError
from shim.launch.native import LaunchResult, Unconfined, ViolationEvent
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.profile.profile import Profile
from shim.profile.violation import dumps

MAX_LINES = 100


class EventsError(ShimError):
    """The file for events cannot be written."""


class Report:
    """
    Takes the events of one launch.

    What is said is bounded: one line for each syscall and place, and at most `MAX_LINES`.  What is recorded
    is not, but nothing waits for it: a record that the file does not take at once is dropped, and counted.
    """

    def __init__(self, witness: Witness, plan: LaunchPlan, events: int | None, where: str | None) -> None:
        self._witness, self._plan, self._events, self._where = witness, plan, events, where
        self._said: set[tuple[int, str, int, str]] = set()
        self._unsaid = 0
        self._dropped = 0

    def __call__(self, event: ViolationEvent) -> None:
        """Record one event, and say it if nothing like it was said before."""
        violation = self._witness.violation(event)
        if self._events is not None:
            self._record(dumps(violation))
        kind = (violation.number, violation.object, violation.address, violation.reason)
        if kind in self._said:
            return
        if len(self._said) == MAX_LINES:
            self._unsaid += 1
            return
        self._said.add(kind)
        click.echo(f"shim: {in_words(violation)}", err=True)

    def _record(self, line: bytes) -> None:
        try:
            written = os.write(self._events or 0, line)
        except BlockingIOError:
            written = 0
        if written < len(line):
            self._dropped += 1

    def conclusions(self, result: LaunchResult) -> Iterator[str]:
        """Yield what is to be said when the program has ended."""
        name = os.fsdecode(self._plan.argv[0])
        yield from lacking(result)
        if result.timed_out:
            yield f"{name}: its time was up"
        if result.out_of_memory:
            yield f"{name}: it needed more memory than --memory gives it"
        if self._unsaid:
            yield f"{self._unsaid} more kinds of refused calls are not shown"
        if self._dropped:
            yield f"{self._where}: {self._dropped} events were dropped, because nobody read them in time"
        if result.reported and not result.violation:
            became = "let through" if self._plan.flags & PlanFlag.AUDIT else "failed with EPERM"
            yield f"{name}: calls that its profile does not have: {result.reported}, {became}"
        if result.violation:
            yield f"{name} was killed for a call that its profile does not have"
        if result.reported:
            yield from self._advice(name)

    def _advice(self, name: str) -> Iterator[str]:
        """Yield the commands that would allow the calls."""
        program = shlex.quote(name)
        where = shlex.quote(self._where or "events.json")
        if self._where is None:
            yield f"to collect all that it lacks: shim run --audit --events {where} -- {program} ..."
        yield f"to allow it: shim profile {program} --merge {where} --format json -o profile.json"
        yield f"             shim run --profile profile.json -- {program} ..."


_LANDLOCK = {
    Unconfined.FILES: "does not handle all rights on files; --require landlock refuses it",
    Unconfined.NETWORK: "does not handle ports (Linux 6.7); --require landlock refuses it",
    Unconfined.SCOPES: "does not keep signals to the program's own processes (Linux 6.12)",
}
_MISSED = {
    errno.ENODEV: "this machine stops at no hardware breakpoint; the program kept its first filter",
    errno.ENOEXEC: "it executed another program, and kept the filter it had",
}
_THREADS = "some thread could not be brought under the next filter; all kept the one they had"


def lacking(result: LaunchResult) -> Iterator[str]:
    """Yield what of a plan was not done, because this machine cannot do it."""
    if result.unsealed:
        yield "mseal: this kernel has none: code can be replaced; --require mseal refuses it"
    if result.gains_exec:
        yield "mdwe: this kernel has none: only the filter keeps pages from becoming code"
    for lacked, words in _LANDLOCK.items():
        if result.unconfined & lacked:
            yield f"landlock: this kernel {words}"
    if result.missed:
        yield f"stage: {_MISSED.get(result.missed, _THREADS)}"


@contextmanager
def reporter(profile: Profile, plan: LaunchPlan, data: bytes, events: str | None) -> Iterator[Report]:
    """
    Provide the report of one launch; `events` is the file that records are appended to.

    Raises:
        EventsError: that cannot be opened.
    """
    fd = None
    if events is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(events, flags, 0o600)
        except OSError as error:
            raise EventsError(f"{events}: found {error.strerror}, want a file to append to") from error
    try:
        yield Report(Witness(profile, plan, data, Path("/proc")), plan, fd, events)
    finally:
        if fd is not None:
            os.close(fd)
