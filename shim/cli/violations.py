"""
A refused call, in words: which syscall, from where, and what the profile says of it.

The launcher reports numbers; here they get names while the program still stands still.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from shim.analysis.functions import Functions
from shim.elf.image import parse_elf
from shim.elf.memory import Memory
from shim.elf.relocations import Relocations
from shim.launch.native import ViolationEvent
from shim.profile.pins import SYSCALL_SIZE
from shim.profile.profile import Profile
from shim.syscalls import UnknownSyscallError, table

AUDIT_ARCH_X86_64 = 0xC000_003E


def describe(event: ViolationEvent, profile: Profile, data: bytes, proc: Path, *, pinned: bool) -> str:
    """
    Return one line about a refused call.

    Args:
        event: What the launcher reported.
        profile: The profile that the filter was made of.
        data: The bytes of the program file, for the names of its functions.
        pinned: Whether the filter allows calls only from the places that the profile has for them.
        proc: The proc file system, where the program's mappings are looked up; it must still be stopped.
    """
    call = _call(event)
    arguments = ", ".join(f"{argument:#x}" for argument in event.arguments)
    place = _place(event, profile, data, proc)
    why = _why(event, profile, place.in_file, pinned=pinned)
    return f"violation: {call}({arguments}) from {place.text}, pid {event.pid}: {why}"


@dataclass(frozen=True, slots=True)
class _Place:
    """An address in words, and as the program's own file has it; None outside that."""

    text: str
    in_file: int | None = None


def _why(event: ViolationEvent, profile: Profile, address: int | None, *, pinned: bool) -> str:
    """Return what the profile does not have: the call, or the call from there, or with these arguments."""
    rules = [rule for phase in profile.phases for rule in phase.rules if rule.number == event.syscall]
    if event.arch != AUDIT_ARCH_X86_64 or not rules:
        return "not in the profile"
    known = any(address == site.address + SYSCALL_SIZE for rule in rules for site in rule.sites)
    if pinned and not known:
        return "in the profile, but not from there"
    return "in the profile, but not with these arguments"


def _call(event: ViolationEvent) -> str:
    if event.arch != AUDIT_ARCH_X86_64:
        return f"syscall {event.syscall} of architecture {event.arch:#x}"
    try:
        return f"{table('x86_64').name(event.syscall)} [{event.syscall}]"
    except UnknownSyscallError:
        return f"syscall {event.syscall:#x}"


def _place(event: ViolationEvent, profile: Profile, data: bytes, proc: Path) -> _Place:
    """Return the address as function+offset where the program's own file is mapped there."""
    mapping = _mapping(event, proc)
    if mapping is None:
        return _Place(f"{event.address:#x}")
    start, offset, path = mapping
    image = parse_elf(data, profile.program.path)
    if path != str(Path(profile.program.path).resolve()):
        return _Place(f"{event.address:#x} in {path or 'anonymous memory'}")
    for segment in image.segments:
        file_offset = event.address - start + offset
        if segment.offset <= file_offset < segment.offset + segment.file_size:
            address = file_offset - segment.offset + segment.address
            name = Functions(Memory((image,), Relocations({}, {}))).name(address - 1)
            return _Place(f"{address - image.base:#x} in {name}", address - image.base)
    return _Place(f"{event.address:#x}")


def _mapping(event: ViolationEvent, proc: Path) -> tuple[int, int, str] | None:
    """Return (start, file offset, path) of the mapping with the address, or None if it cannot be read."""
    try:
        lines = (proc / str(event.pid) / "maps").read_text(errors="replace").splitlines()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM}:
            return None
        raise
    for line in lines:
        fields = line.split(maxsplit=5)
        low, high = (int(part, 16) for part in fields[0].split("-"))
        if low <= event.address - 1 < high:
            return low, int(fields[2], 16), "".join(fields[5:])
    return None
