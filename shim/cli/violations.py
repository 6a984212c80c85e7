"""
Refused calls in words: which syscall, from where, and what the profile says of it.

The launcher reports numbers; here they get names while the program still stands still.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from shim.analysis.functions import Functions
from shim.canonical import sha256_hex
from shim.elf.image import ElfImage, parse_elf
from shim.elf.memory import Memory
from shim.elf.relocations import Relocations
from shim.launch.decode import Read, decoded
from shim.launch.native import ViolationEvent
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.profile.phases import rules_from
from shim.profile.pins import SYSCALL_SIZE
from shim.profile.profile import Profile
from shim.profile.trace import ANONYMOUS
from shim.profile.violation import Violation, name_of

AUDIT_ARCH_X86_64 = 0xC000_003E
UNKNOWN = "[unknown]"
COPY = "/memfd:program (deleted)"  # native/child.c, copy_program
_REMEMBERED = 4096  # places, so that a program that floods its launcher costs it no time
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.EIO})


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stretch of a program's life under one filter: its phase's name, its calls, and if they are pinned."""

    phase: str
    numbers: frozenset[int]
    pinned: bool


def named_stages(profile: Profile, plan: LaunchPlan) -> tuple[NamedStage, ...]:
    """Return the stages of a plan that was made of a profile, the one from the first instruction first."""
    phases = {phase.boundary: place for place, phase in enumerate(profile.phases)}
    begun = [(0, plan.relocations)]
    for stage in plan.stages:
        begun.append((phases.get(stage.boundary, begun[-1][0]), stage.relocations))
    return tuple(
        NamedStage(
            profile.phases[place].name,
            frozenset(rule.number for rule in rules_from(profile, place)),
            bool(relocations),
        )
        for place, relocations in begun
    )


def answer_in(plan: LaunchPlan) -> str:
    """Return what becomes of a refused call."""
    return "audit" if plan.flags & PlanFlag.AUDIT else "errno" if plan.flags & PlanFlag.ERRNO else "kill"


def in_words(violation: Violation) -> str:
    """Return one line about a refused call."""
    name = f"syscall {violation.number:#x}"
    if violation.syscall:
        name = f"{violation.syscall} [{violation.number}]"
    elif violation.arch != "x86_64":
        name = f"syscall {violation.number} of architecture {violation.arch}"
    meanings = dict(violation.decoded)
    arguments = ", ".join(
        meanings.get(place, f"{argument:#x}") for place, argument in enumerate(violation.arguments)
    )
    place = f"{violation.address:#x}"
    if violation.function:
        place += f" in {violation.function}"
    if violation.object not in (UNKNOWN, ""):
        where = "anonymous memory" if violation.object == ANONYMOUS else violation.object
        place += f" of {where}" if violation.function else f" in {where}"
    return f"violation: {name}({arguments}) from {place}, pid {violation.pid}: {violation.reason}"


@dataclass(frozen=True, slots=True)
class Place:
    """An address as the file has it that is mapped there: object, address, function; see `Violation`."""

    object: str
    address: int
    function: str = ""


class Witness:
    """
    Turns the launcher's events into violations, while the program can still be looked at.

    Args:
        profile: What the filters of `plan` were made of.
        data: The bytes of the program file, for the names of its functions.
        proc: The proc file system.
    """

    def __init__(self, profile: Profile, plan: LaunchPlan, data: bytes, proc: Path) -> None:
        self._profile, self._data, self._proc = profile, data, proc
        self._stages = named_stages(profile, plan)
        self._answer = answer_in(plan)
        self._place = lru_cache(_REMEMBERED)(self._look_up)
        self._image = lru_cache(None)(self._parse)

    def violation(self, event: ViolationEvent) -> Violation:
        """Return the violation that the launcher reported."""
        place = self._place(event.pid, event.address)
        stage = self._stages[event.stage]
        native = event.arch == AUDIT_ARCH_X86_64
        name = name_of(event.syscall) if native else ""
        return Violation(
            time=datetime.fromtimestamp(event.time_ns / 1e9, UTC).isoformat(timespec="microseconds"),
            program=self._profile.program.sha256,
            pid=event.pid,
            arch="x86_64" if native else f"{event.arch:#x}",
            number=event.syscall,
            syscall=name,
            arguments=event.arguments,
            decoded=tuple(sorted(decoded(name, event.arguments, self._reader(event.pid)).items())),
            object=place.object,
            address=place.address,
            function=place.function,
            phase=stage.phase,
            reason=why(event, self._profile, place, stage),
            answer=self._answer,
        )

    def _reader(self, pid: int) -> Read:
        def read(address: int, size: int) -> bytes:
            content = b""
            try:
                memory = os.open(self._proc / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return content
            try:
                while len(content) < size and b"\0" not in content:
                    step = min(size - len(content), 4096 - (address + len(content)) % 4096)
                    part = os.pread(memory, step, address + len(content))
                    if not part:
                        break
                    content += part
            except (OSError, OverflowError):
                pass  # what is not mapped ends it
            finally:
                os.close(memory)
            return content

        return read

    def _look_up(self, pid: int, behind: int) -> Place:
        """Return where the instruction is that ends at the address `behind`."""
        mapping = self._mapping(pid, behind)
        if mapping is None or behind < SYSCALL_SIZE:
            return Place(UNKNOWN, max(behind - SYSCALL_SIZE, 0))
        start, offset, path = mapping
        image = self._image(path)
        if image is None:
            return Place(path or ANONYMOUS, behind - SYSCALL_SIZE)
        in_file = behind - SYSCALL_SIZE - start + offset
        for segment in image.segments:
            if segment.offset <= in_file < segment.offset + segment.file_size:
                address = in_file - segment.offset + segment.address
                name = Functions(Memory((image,), Relocations({}, {}))).name(address)
                return Place(image.path, address - image.base, name)
        return Place(path, behind - SYSCALL_SIZE)

    def _parse(self, path: str) -> ElfImage | None:
        """Return the file of the profile that is mapped from `path`, None if that is another."""
        for one in self._profile.objects:
            if one == self._profile.program and path == COPY:
                return parse_elf(self._data, one.path)
            if path != str(Path(one.path).resolve()):
                continue
            if one == self._profile.program:
                return parse_elf(self._data, one.path)
            content = Path(path).read_bytes()
            return parse_elf(content, one.path, shared=True) if sha256_hex(content) == one.sha256 else None
        return None

    def _mapping(self, pid: int, behind: int) -> tuple[int, int, str] | None:
        """Return (start, file offset, path) of the mapping with the address, or None if it cannot be read."""
        try:
            lines = (self._proc / str(pid) / "maps").read_text(errors="replace").splitlines()
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        for line in lines:
            fields = line.split(maxsplit=5)
            low, high = (int(part, 16) for part in fields[0].split("-"))
            if low <= behind - 1 < high:
                return low, int(fields[2], 16), "".join(fields[5:])
        return None


def why(event: ViolationEvent, profile: Profile, place: Place, stage: NamedStage) -> str:
    """Return what the profile lacks: the call, or that any more, or from there, or with these arguments."""
    rules = [rule for phase in profile.phases for rule in phase.rules if rule.number == event.syscall]
    if event.arch != AUDIT_ARCH_X86_64 or not rules:
        return "not in the profile"
    here = (place.object, place.address)
    known = any(here == (site.object, site.address) for rule in rules for site in rule.sites)
    if event.syscall not in stage.numbers:
        return f"in the profile, but not any more in phase {stage.phase}"
    if stage.pinned and not known:
        return "in the profile, but not from there"
    return "in the profile, but not with these arguments"
