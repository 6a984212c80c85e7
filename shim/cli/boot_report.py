"""What a user reads of a boot: the program's own words on their streams, all else as lines of ours."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

from attestation.channel.messages import Event, Exit, Output, Record
from attestation.errors import AppraisalError
from attestation.reference_values import Entry
from attestation.result import AttestationResult
from shim.cli.violations import AUDIT_ARCH_X86_64
from shim.errors import ShimError, one_line

_STREAMS = {1: 1, 2: 2}
# What differs where the simulated TEE says another measurement, by the names in `Entry.environment`.
PARTS = ("kernel", "initramfs", "command_line", "program")


def write(descriptor: int, data: bytes) -> None:
    """Write all of it; where nobody reads any more there is nobody to tell."""
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]


class Story:
    """
    What a guest tells once it was affirmed.

    Args:
        say: Writes one line of ours.
        events: Gets each event as it came, or None.

    Attributes:
        exit: The guest's last word.
        violations: How many refused calls were told.
    """

    def __init__(self, say: Callable[[str], None], events: BinaryIO | None) -> None:
        self.exit: Exit | None = None
        self.violations = 0
        self._say, self._events = say, events

    def deliver(self, record: Record) -> None:
        """Take one record."""
        match record:
            case Output(stream, data):
                write(_STREAMS[stream], data)
            case Event(text):
                if self._events is not None:
                    self._events.write(text.rstrip("\n").encode() + b"\n")
                    self._events.flush()
                self._event(text)
            case Exit():
                self.exit = record

    def _event(self, text: str) -> None:
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("event") == "violation":
            self.violations += 1
            self._say(in_words(said))
        else:
            self._say(f"event: {one_line(text.strip())[:300]}")


def in_words(said: Mapping[str, object]) -> str:
    """Return one line about a refused call, as the launcher reported it; what is missing stays unsaid."""
    from shim.profile.violation import name_of

    number = said.get("syscall")
    name = name_of(number) if isinstance(number, int) and said.get("arch") == AUDIT_ARCH_X86_64 else ""
    call = f"{name} [{number}]" if name else f"syscall {number}"
    given = said.get("arguments")
    arguments = ", ".join(str(one) for one in given[:6]) if isinstance(given, list) else ""
    return one_line(f"violation: {call}({arguments}) from {said.get('address')}, pid {said.get('pid')}")[:300]


def refusal(error: ShimError) -> tuple[str, ...]:
    """Return every reason why nothing was released, one line each."""
    if isinstance(error, AppraisalError):
        label = error.result.label
        kind = "evidence" if label == error.result.tee else f"{label} evidence"
        lines = [f"{kind}: {mismatch}" for mismatch in error.mismatches]
        return (*lines, f"nothing was released: the appraisal ended as {error.result.verdict.value}")
    return (f"relying party: {error}",)


def affirmed(result: AttestationResult, size: int) -> str:
    """Return the line that says what the evidence was good for."""
    kind = f"evidence of {result.tee}" if result.label == result.tee else f"{result.label} evidence"
    return f"{kind} affirmed: fresh nonce, this plan, this measurement; a secret of {size} bytes is released"


def expectation(entry: Entry) -> str:
    """Return the line that says what is expected."""
    kind = "SIMULATED " if entry.tee == "simulated" else ""
    return f"expected {kind}{entry.register} {entry.algorithm}:{entry.digest.hex()}"


def differences(wanted: tuple[Entry, ...], booted: tuple[Entry, ...]) -> tuple[str, ...]:
    """Return a line for each part of a boot that is not the one that is expected, where that is known."""
    lines = []
    for want, found in zip(wanted, booted, strict=False):
        for part in PARTS:
            ours, theirs = found.environment.get(part), want.environment.get(part)
            if ours != theirs and theirs is not None:
                lines.append(f"{part.replace('_', ' ')}: found {ours or 'none'}, want {theirs}")
    return tuple(lines)
