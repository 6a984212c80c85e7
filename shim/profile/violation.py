"""
A refused call as a value and as one line of JSON, and what many of them are as a trace.

Written by whoever launches, read to widen a profile by what it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shim.canonical import JsonValue, canonical_bytes
from shim.errors import ProfileError
from shim.profile.problems import Problems
from shim.profile.profile import AnalysedObject, Profile, Site
from shim.profile.trace import ANONYMOUS, ForeignCall, Trace, TracedCall, unite
from shim.syscalls import UnknownSyscallError, table

MAX_BYTES: Final = 64 * 1024 * 1024
_KIND: Final = "violation"
_ARGUMENTS: Final = 6


@dataclass(frozen=True, slots=True)
class Violation:
    """
    One call that a profile does not have.

    Attributes:
        time: RFC 3339, UTC.
        program: SHA-256 of the program's file.
        pid: The thread that made it.
        arch: "x86_64", or AUDIT_ARCH_* in hexadecimal for another.
        number: Of the syscall.
        syscall: Its name, "" if it has none.
        arguments: Six, unsigned.
        decoded: What some of them mean, by their place.
        object: Path of the file whose code made it, "[anonymous]" or "[unknown]".
        address: Of the instruction in that file; in the process where it is no file.
        function: Around it, "" if nothing names one.
        phase: That the program was in.
        reason: What the profile lacks.
        answer: What became of the call: "kill", "errno" or "audit".
    """

    time: str
    program: str
    pid: int
    arch: str
    number: int
    syscall: str
    arguments: tuple[int, ...]
    decoded: tuple[tuple[int, str], ...]
    object: str
    address: int
    function: str
    phase: str
    reason: str
    answer: str


def dumps(violation: Violation) -> bytes:
    """Return one line of JSON, with its newline."""
    arguments: list[JsonValue] = [f"{argument:#x}" for argument in violation.arguments]
    value: dict[str, JsonValue] = {
        "event": _KIND,
        "time": violation.time,
        "program": violation.program,
        "pid": violation.pid,
        "arch": violation.arch,
        "number": violation.number,
        "syscall": violation.syscall,
        "arguments": arguments,
        "decoded": {str(place): text for place, text in violation.decoded},
        "object": violation.object,
        "address": f"{violation.address:#x}",
        "function": violation.function,
        "phase": violation.phase,
        "reason": violation.reason,
        "answer": violation.answer,
    }
    return canonical_bytes(value) + b"\n"


def loads(data: bytes, where: str) -> tuple[Violation, ...]:
    """
    Return the events of a file of lines; `where` is what errors call it.

    Raises:
        ProfileFormatError: with every line that is no such event.
    """
    problems = Problems(where)
    found: list[Violation] = []
    if len(data) > MAX_BYTES:
        problems.note("", f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
        problems.raise_if_any()
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_violation(json.loads(line.decode("utf-8"))))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problems.note(
                f"line {number}", str(error) or type(error).__name__, "an event as shim run writes it"
            )
    problems.raise_if_any()
    return tuple(found)


def _violation(value: Any) -> Violation:  # noqa: ANN401  # any JSON value
    if value["event"] != _KIND or len(value["arguments"]) != _ARGUMENTS:
        raise ValueError("another kind of event, or not six arguments")
    texts = ("time", "program", "arch", "syscall", "object", "function", "phase", "reason", "answer")
    if not all(isinstance(value[name], str) for name in texts):
        raise TypeError("a field that is no text")
    number = value["number"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError("a number that is none")
    if value["arch"] == "x86_64" and value["syscall"]:
        want = table("x86_64").number(value["syscall"], "syscall")
        if want != number:
            raise ValueError(f"number {number} for {value['syscall']}, which is {want}")
    return Violation(
        arguments=tuple(_word(text) for text in value["arguments"]),
        decoded=tuple(sorted((int(place), str(text)) for place, text in value["decoded"].items())),
        address=_word(value["address"]),
        pid=int(value["pid"]),
        number=number,
        **{name: value[name] for name in texts},
    )


def _word(text: str) -> int:
    word = int(text, 16)
    if not 0 <= word < 1 << 64:
        raise ValueError(f"{text}, which is no 64-bit word")
    return word


def as_trace(violations: Sequence[Violation], profile: Profile) -> Trace:
    """
    Return the calls of `violations` as a trace of the program of `profile`.

    Raises:
        ProfileError: there are none, or they are of another program.
    """
    for violation in violations:
        if violation.program != profile.program.sha256:
            raise ProfileError(
                "events: program",
                f"sha256 {violation.program}",
                f"{profile.program.path} sha256 {profile.program.sha256}",
            )
    return unite([_trace(violation, profile) for violation in violations])


def _trace(violation: Violation, profile: Profile) -> Trace:
    site = Site(violation.object or ANONYMOUS, violation.address, violation.function)
    native = violation.arch == profile.arch and bool(violation.syscall)
    foreign = () if native else (ForeignCall("unknown", violation.number, 1, (site,)),)
    call = TracedCall(violation.number, violation.syscall, 1, (violation.arguments,), False, (site,))
    return Trace(
        arch=profile.arch,
        objects=(profile.program, *_others(profile.objects[1:], violation.object)),
        calls=(call,) if native else (),
        foreign=foreign,
        others=(),
        runs=1,
        unseen=0,
        lost=0,
        tool_version=profile.tool_version,
    )


def _others(objects: Iterable[AnalysedObject], path: str) -> Iterable[AnalysedObject]:
    return (one for one in objects if one.path == path)


def name_of(number: int) -> str:
    """Return the name of a syscall of x86-64, "" if it has none."""
    try:
        return table("x86_64").name(number)
    except UnknownSyscallError:
        return ""
