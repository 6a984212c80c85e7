"""
Who launched a process, and what was reported of it?

The launcher is an ancestor, which answers for refused calls; what it reports goes to its standard error and,
of `shim run --events`, to a file.  Where that is a regular file, its last lines are read.  A pipe belongs to
who reads it, and is left alone.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from shim.launch.decode import quoted

_LISTENER: Final = "anon_inode:seccomp notify"
_NAMES: Final = frozenset({"/shim/launch", "shim-launch"})
_MOST_ANCESTORS: Final = 64
_TAIL: Final = 256 << 10
_MOST_EVENTS: Final = 10
_KIND: Final = b'"event":"violation"'


@dataclass(frozen=True, slots=True)
class Event:
    """
    One refused call, as it was reported.

    Attributes:
        time: RFC 3339, UTC.
        pid: Of the process, as its launcher sees it; 0 where the record does not say.
        call: Name of the call, its number where no name is known.
        arguments: Six words in hexadecimal.
        address: Of the instruction, in hexadecimal.
    """

    time: str
    pid: int
    call: str
    arguments: tuple[str, ...]
    address: str


@dataclass(frozen=True, slots=True)
class Launched:
    """
    The launcher of a process.

    Attributes:
        pid: Its number.
        arguments: Its own argument vector.
        reports: Where it reports, each a file, pipe or terminal; None where that may not be looked at.
        events: The last that can be read there, the oldest first.
        programs: Its children.
    """

    pid: int
    arguments: tuple[str, ...]
    reports: tuple[str, ...] | None
    events: tuple[Event, ...]
    programs: tuple[int, ...]


def launcher_of(proc: Path, pid: int, names: Mapping[int, str]) -> Launched | None:
    """
    Return the launcher of a process: itself, or its nearest ancestor that is one; None if nothing shows it.

    Args:
        proc: The proc file system.
        pid: Of the process.
        names: The syscalls by number.

    Not checked:
        That the launcher is the one of an image; names of processes are their own choice.
    """
    for _ in range(_MOST_ANCESTORS):
        if pid <= 0:
            return None
        own = proc / str(pid)
        files = _files(own)
        arguments = _arguments(own)
        if _LISTENER in (files or {}).values() or _is_named(arguments):
            reports = None if files is None else _reports(files)
            events = tuple(_events(own, files or {}, names))[-_MOST_EVENTS:]
            return Launched(pid, arguments, reports, events, tuple(_children(own)))
        pid = _parent(own)
    return None


def _is_named(arguments: tuple[str, ...]) -> bool:
    return bool(arguments) and (arguments[0] in _NAMES or arguments[0].endswith("/shim-launch"))


def _parent(own: Path) -> int:
    try:
        lines = (own / "status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("PPid:")), 0)


def _arguments(own: Path) -> tuple[str, ...]:
    try:
        return tuple(quoted(part)[1:-1] for part in (own / "cmdline").read_bytes().split(b"\0")[:-1])
    except OSError:
        return ()


def _children(own: Path) -> Iterator[int]:
    try:
        tasks = list((own / "task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            yield from map(int, (task / "children").read_text().split())
        except OSError:
            continue


def _files(own: Path) -> dict[int, str] | None:
    found = {}
    try:
        for link in (own / "fd").iterdir():
            found[int(link.name)] = quoted(os.fsencode(link.readlink()))[1:-1]
    except OSError:
        return None
    return found


def _reports(files: Mapping[int, str]) -> tuple[str, ...]:
    return (files[2],) if 2 in files else ()


def _events(own: Path, files: Mapping[int, str], names: Mapping[int, str]) -> Iterator[Event]:
    """Yield what regular files that the launcher has open hold of events."""
    seen: set[tuple[int, int]] = set()
    for number in files:
        try:
            status = (own / "fd" / str(number)).stat()
            if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            data = _tail(own / "fd" / str(number), status.st_size)
        except OSError:
            continue
        yield from _read(data, names)


def _tail(path: Path, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    finally:
        os.close(descriptor)


def _read(data: bytes, names: Mapping[int, str]) -> Iterator[Event]:
    for line in data.splitlines():
        if _KIND not in line:
            continue
        try:
            yield _event(json.loads(line), names)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError):
            continue  # a line that was cut, or of somebody else


def _event(value: Any, names: Mapping[int, str]) -> Event:  # noqa: ANN401  # any JSON
    number = value["number"] if "number" in value else value["syscall"]
    arguments = tuple(_plain(one) for one in value["arguments"])
    if not isinstance(number, int):
        raise TypeError(number)
    pid = value.get("pid", 0)
    return Event(
        _plain(value["time"]) if "time" in value else _moment(value["time_ns"]),
        pid if isinstance(pid, int) else 0,
        names.get(number, str(number)),
        arguments,
        _plain(value["address"]),
    )


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).isoformat()


def _plain(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(text)
    return quoted(text.encode())[1:-1]
