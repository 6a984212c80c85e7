"""
What is a program doing right now?  Seen from outside, while it runs; it notices nothing.

For images without a shell: nothing of the tool has to be inside.  What is read may change while it is read,
so that a thread which ends meanwhile is left out.

Source:
    Documentation/filesystems/proc.rst, v6.12, sections 1.1, "Process-Specific Subdirectories", and 3.8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shim.errors import LaunchError
from shim.launch.decode import Read, decoded, quoted

_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_MEMORY: Final = ("Rss", "Pss", "Private_Dirty", "Swap")
_ARGUMENTS: Final = 6
_PAGE: Final = 4096


class NoProcessError(LaunchError):
    """A process that is not there, or may not be looked at."""

    def __init__(self, pid: int, reason: str) -> None:
        super().__init__(f"process {pid}", reason, 1)


@dataclass(frozen=True, slots=True)
class Call:
    """
    The syscall that a thread waits in.

    Attributes:
        number: Of the kernel's table for its architecture.
        arguments: Six words.
        decoded: What arguments mean, by their place; pointers that cannot be read are left out.
        address: Of the instruction behind it, in the process.
    """

    number: int
    arguments: tuple[int, ...]
    decoded: Mapping[int, str]
    address: int


@dataclass(frozen=True, slots=True)
class LiveThread:
    """
    One thread.

    Attributes:
        tid: Its number.
        name: As the program calls it.
        state: As /proc says it: "S (sleeping)", ...
        call: What it waits in; None where it runs, or may not be looked at.
        filters: How many seccomp filters it is under; None before Linux 5.9.
        no_new_privs: Whether it can never gain privileges.
    """

    tid: int
    name: str
    state: str
    call: Call | None
    filters: int | None
    no_new_privs: bool


@dataclass(frozen=True, slots=True)
class Live:
    """
    One process.

    Attributes:
        pid: Its number.
        program: Path of the executing file, "(deleted)" behind it if that is gone.
        arguments: Its argument vector.
        users: Real, effective, saved and file-system user.
        threads: By their number.
        files: What its open files are, by their number.
        memory: Kilobytes, by the names of the kernel.
        separate: The kinds of namespaces that are not those of the looking process.
        cgroup: Its path in the cgroup hierarchy.
        tracer: The process that traces it, 0 for none.
    """

    pid: int
    program: str
    arguments: tuple[str, ...]
    users: tuple[int, ...]
    threads: tuple[LiveThread, ...]
    files: Mapping[int, str]
    memory: Mapping[str, int]
    separate: tuple[str, ...]
    cgroup: str
    tracer: int


def look(proc: Path, pid: int, names: Mapping[int, str]) -> Live:
    """
    Return what process `pid` is doing.

    Args:
        proc: The proc file system.
        pid: Of the process.
        names: The syscalls of its architecture by number, to decode arguments.

    Raises:
        NoProcessError: it is not there, or may not be looked at.

    Not checked:
        That the process is one that this tool launched.
    """
    own = proc / str(pid)
    try:
        status = _fields(own / "status")
        program = str((own / "exe").readlink())
        command = (own / "cmdline").read_bytes()
        return Live(
            pid=pid,
            program=program,
            arguments=tuple(quoted(part)[1:-1] for part in command.split(b"\0")[:-1]),
            users=tuple(int(part) for part in status["Uid"].split()),
            threads=tuple(_threads(own, names)),
            files=dict(_files(own)),
            memory=_memory(own),
            separate=tuple(_separate(proc, own)),
            cgroup=_cgroup(own),
            tracer=int(status.get("TracerPid", "0")),
        )
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoProcessError(pid, "there is none, or it has ended") from error
    except PermissionError as error:
        reason = "it may not be looked at: it is another user's, or one that may not be dumped; ask as root"
        raise NoProcessError(pid, reason) from error


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _threads(own: Path, names: Mapping[int, str]) -> Iterator[LiveThread]:
    for task in sorted((own / "task").iterdir(), key=lambda path: int(path.name)):
        try:
            status = _fields(task / "status")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        filters = status.get("Seccomp_filters")
        yield LiveThread(
            tid=int(task.name),
            name=status.get("Name", ""),
            state=status.get("State", ""),
            call=_call(task, own, names),
            filters=None if filters is None else int(filters),
            no_new_privs=status.get("NoNewPrivs") == "1",
        )


def _call(task: Path, own: Path, names: Mapping[int, str]) -> Call | None:
    """Return what /proc/PID/task/TID/syscall says: number, arguments, stack pointer, program counter."""
    try:
        words = (task / "syscall").read_text().split()
    except OSError:
        return None
    if len(words) != _ARGUMENTS + 3:
        return None  # "running", or -1: in the kernel, but in no call
    number, *rest = (int(word, 0) for word in words)
    arguments = tuple(rest[:_ARGUMENTS])
    return Call(number, arguments, decoded(names.get(number, ""), arguments, _reader(own)), rest[-1])


def _reader(own: Path) -> Read:
    def read(address: int, size: int) -> bytes:
        try:
            memory = os.open(own / "mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            within = min(size, _PAGE - address % _PAGE)
            content = os.pread(memory, within, address)
            if within < size and len(content) == within and b"\0" not in content:
                content += os.pread(memory, min(size - within, _PAGE), address + within)
        except (OSError, OverflowError):
            return b""
        else:
            return content
        finally:
            os.close(memory)

    return read


def _files(own: Path) -> Iterator[tuple[int, str]]:
    for link in sorted((own / "fd").iterdir(), key=lambda path: int(path.name)):
        try:
            yield int(link.name), quoted(os.fsencode(link.readlink()))[1:-1]
        except FileNotFoundError:
            continue  # closed meanwhile


def _memory(own: Path) -> dict[str, int]:
    found = _fields(own / "smaps_rollup")
    return {name: int(found[name].split()[0]) for name in _MEMORY if name in found}


def _separate(proc: Path, own: Path) -> Iterator[str]:
    for name in _NAMESPACES:
        ours, theirs = proc / "self" / "ns" / name, own / "ns" / name
        if ours.exists() and ours.readlink() != theirs.readlink():
            yield name


def _cgroup(own: Path) -> str:
    lines = (own / "cgroup").read_text(errors="replace").splitlines()
    return next((line.split(":", 2)[2] for line in lines if line.startswith("0::")), "")
