"""
A refused call, in words: which syscall, from where, and what the profile says of it.

The launcher reports numbers; here they get names while the program still stands still.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from shim.analysis.functions import Functions
from shim.canonical import sha256_hex
from shim.elf.image import ElfImage, parse_elf
from shim.elf.memory import Memory
from shim.elf.relocations import Relocations
from shim.launch.native import ViolationEvent
from shim.launch.plan import LaunchPlan
from shim.profile.phases import rules_from
from shim.profile.pins import SYSCALL_SIZE
from shim.profile.profile import Profile
from shim.syscalls import UnknownSyscallError, table

AUDIT_ARCH_X86_64 = 0xC000_003E


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stretch of a program's life under one filter: its phase's name, and if calls are pinned in it."""

    phase: str
    pinned: bool


def named_stages(profile: Profile, plan: LaunchPlan) -> tuple[NamedStage, ...]:
    """Return the stages of a plan that was made of a profile, the one from the first instruction first."""
    names = {phase.boundary: phase.name for phase in profile.phases}
    stages = [NamedStage(profile.phases[0].name, bool(plan.relocations))]
    for stage in plan.stages:
        phase = names.get(stage.boundary, stages[-1].phase)
        stages.append(NamedStage(phase, bool(stage.relocations)))
    return tuple(stages)


def describe(event: ViolationEvent, profile: Profile, data: bytes, proc: Path, stage: NamedStage) -> str:
    """
    Return one line about a refused call.

    Args:
        event: What the launcher reported.
        profile: The profile that the filter was made of.
        data: The bytes of the program file, for the names of its functions.
        proc: The proc file system, where the program's mappings are looked up; it must still be stopped.
        stage: When it was.
    """
    call = _call(event)
    arguments = ", ".join(f"{argument:#x}" for argument in event.arguments)
    place = _place(event, profile, data, proc)
    why = _why(event, profile, place.in_file, stage)
    return f"violation: {call}({arguments}) from {place.text}, pid {event.pid}: {why}"


@dataclass(frozen=True, slots=True)
class _Place:
    """An address in words, and the file of the profile that has it, with its address there; else None."""

    text: str
    in_file: tuple[str, int] | None = None


def _why(event: ViolationEvent, profile: Profile, place: tuple[str, int] | None, stage: NamedStage) -> str:
    """Return what the profile lacks: the call, or that any more, or from there, or with these arguments."""
    rules = [rule for phase in profile.phases for rule in phase.rules if rule.number == event.syscall]
    if event.arch != AUDIT_ARCH_X86_64 or not rules:
        return "not in the profile"
    known = any(place == (site.object, site.address + SYSCALL_SIZE) for rule in rules for site in rule.sites)
    number = next(place for place, phase in enumerate(profile.phases) if phase.name == stage.phase)
    if event.syscall not in {rule.number for rule in rules_from(profile, number)}:
        return f"in the profile, but not any more in phase {stage.phase}"
    if stage.pinned and not known:
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
    """Return the address as function+offset where a file of the profile is mapped there."""
    mapping = _mapping(event, proc)
    if mapping is None:
        return _Place(f"{event.address:#x}")
    start, offset, path = mapping
    image = _image(path, profile, data)
    if image is None:
        return _Place(f"{event.address:#x} in {path or 'anonymous memory'}")
    for segment in image.segments:
        file_offset = event.address - start + offset
        if segment.offset <= file_offset < segment.offset + segment.file_size:
            address = file_offset - segment.offset + segment.address
            name = Functions(Memory((image,), Relocations({}, {}))).name(address - 1)
            where = "" if image.path == profile.program.path else f" of {image.path}"
            return _Place(f"{address - image.base:#x} in {name}{where}", (image.path, address - image.base))
    return _Place(f"{event.address:#x}")


def _image(path: str, profile: Profile, data: bytes) -> ElfImage | None:
    """Return the file of the profile that is mapped from `path`, None if that is another."""
    for one in profile.objects:
        if path != str(Path(one.path).resolve()):
            continue
        if one == profile.program:
            return parse_elf(data, one.path)
        content = Path(path).read_bytes()
        return parse_elf(content, one.path, shared=True) if sha256_hex(content) == one.sha256 else None
    return None


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
