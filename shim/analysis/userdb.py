"""
What does systemd's name service only do where a service for users answers?

It asks sockets below /run/systemd/userdb and waits in an event loop for what comes (systemd 252,
src/shared/userdb.c, userdb_connect and userdb_process).  Where no socket is there, it has no event loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program

_SOCKETS = b"/run/systemd/userdb/io.systemd.Multiplexer\0"
# Every function of the event loop names its source file where it checks its arguments.
_EVENT_LOOP = b"src/libsystemd/sd-event/sd-event.c\0"
# What makes a shared object this name service is that it offers this.
_ENTRY = b"_nss_systemd_getpwnam_r\0"


def event_loops(program: Program, _: Iterable[KernelEntry]) -> set[int]:
    """Return the functions of the event loops that only name services have that ask such sockets."""
    asking = _paths(program, _SOCKETS) & _paths(program, _ENTRY)
    naming = program.questions.naming(program.memory.places(_EVENT_LOOP)) if asking else set()
    return {entry for entry in naming if program.path(entry) in asking}


def _paths(program: Program, text: bytes) -> set[str]:
    """Return the paths of the objects that hold a text."""
    return {program.path(place) for place in program.memory.places(text)}
