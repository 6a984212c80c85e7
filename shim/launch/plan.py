"""
What is to be run, exactly: the launch plan as a value and as bytes.

The bytes are what `native/plan.h` describes and `native/plan.c` reads; both readers accept the same files
and say the same of a bad one.  Never interprets the filter, never looks at the file system.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final

from shim.errors import PlanFormatError
from shim.filter.program import Moved, Part, Relocation

MAGIC: Final = b"SHIMPLAN"
VERSION: Final = 1
ARCH_X86_64: Final = 1
MAX_SIZE: Final = 4 << 20
MAX_PATH: Final = 4096
MAX_FILTER: Final = 4096
MAX_STRINGS: Final = 65536
DIGEST_SIZE: Final = 32
INSTRUCTION_SIZE: Final = 8

_SOURCE: Final = "native/plan.h"
_HEADER: Final = struct.Struct("<8sHHIIIQ")
_ENTRY: Final = struct.Struct("<IIII")
_LIMIT: Final = struct.Struct("<IIQQ")
_ENTRY_POINT: Final = struct.Struct("<Q")
_RELOCATION: Final = struct.Struct("<IHH")
_SEALED: Final = struct.Struct("<QQ")
PAGE: Final = 4096
_RESOURCES: Final = 16  # RLIM_NLIMITS, include/uapi/asm-generic/resource.h, v6.18
_RLIMIT_CORE: Final = 4
_QUOTED: Final = 48  # bytes of a foreign string that a message shows
_LOADER_NAMES: Final = (b"LD_", b"GLIBC_TUNABLES=", b"GCONV_PATH=")


class PlanFlag(IntFlag):
    """What a plan says in its header."""

    EXEC_ALLOWED = 1
    """The filter may allow execve and execveat; without it the launcher refuses such a filter."""
    NO_EVENTS = 2
    """Refused calls are the kernel's to punish: no listener, no event."""
    NEW_SESSION = 4
    """The program leaves the terminal: setsid."""
    LOADER_ENVIRONMENT = 8
    """Names that steer the C library (LD_*, GLIBC_TUNABLES, GCONV_PATH) may be passed."""
    NO_EXEC_GAIN = 16
    """PR_SET_MDWE before the first instruction; a kernel without it cannot launch the plan."""
    REQUIRE_SEALS = 32
    """A kernel without mseal cannot launch the plan; else it is only reported."""
    ERRNO = 64
    """A refused call fails with EPERM, and is reported."""
    AUDIT = 128
    """A refused call is made, and is reported; with EXEC_ALLOWED only, for it may be execve."""


class _Kind(IntEnum):
    PROGRAM = 1
    DIGEST = 2
    FILTER = 3
    ARGV = 4
    ENVIRONMENT = 5
    LIMITS = 6
    ENTRY_POINT = 7
    RELOCATIONS = 8
    SEALED = 9


_NO_FLAGS: Final = PlanFlag(0)
_REQUIRED: Final = (_Kind.PROGRAM, _Kind.DIGEST, _Kind.FILTER, _Kind.ARGV)


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """
    One resource limit of the program.

    Attributes:
        resource: RLIMIT_* number, below 16 and not RLIMIT_CORE: core dumps are always off.
        soft: Soft limit in the resource's own unit, at most `hard`.
        hard: Hard limit; 2**64 - 1 is no limit.
    """

    resource: int
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """
    One launch, complete.

    Attributes:
        program: Absolute path of the file to execute.
        digest: SHA-256 of that file, 32 bytes.
        filter: `struct sock_filter[]`, 1 to 4096 instructions of 8 bytes, little-endian.
        argv: Argument vector, at least one.
        environment: `NAME=VALUE` each; nothing else is passed on.
        limits: By increasing resource.
        entry_point: Address of the program's first instruction in its file; None if nothing below needs it.
        relocations: What the launcher adds to the filter's operands, by increasing instruction.
        sealed: Address ranges of the file, whole pages with gaps between, that nobody shall change or unmap.
        flags: See `PlanFlag`.
    """

    program: bytes
    digest: bytes
    filter: bytes
    argv: tuple[bytes, ...]
    environment: tuple[bytes, ...] = ()
    limits: tuple[ResourceLimit, ...] = ()
    entry_point: int | None = None
    relocations: tuple[Relocation, ...] = ()
    sealed: tuple[range, ...] = ()
    flags: PlanFlag = _NO_FLAGS


def encode(plan: LaunchPlan) -> bytes:
    """
    Return the one encoding of a plan.

    Raises:
        PlanFormatError: A value that a plan cannot hold.

    Source:
        native/plan.h.
    """
    sections = _sections(plan)
    offset = _HEADER.size + _ENTRY.size * len(sections)
    table = body = b""
    for kind, content in sections:
        table += _ENTRY.pack(kind, offset + len(body), len(content), 0)
        body += content + bytes(-len(content) % 8)
    flags = int(plan.flags)
    if not 0 <= flags < 1 << 32:
        raise _fault("header.flags", str(flags), "known flags")
    size = offset + len(body)
    data = _HEADER.pack(MAGIC, VERSION, ARCH_X86_64, size, len(sections), flags, 0) + table + body
    if decode(data) != plan:
        raise _fault("plan", "values of other types", "bytes, tuples and integers as declared")
    return data


def decode(data: bytes) -> LaunchPlan:
    """
    Return the plan that these bytes encode.

    Raises:
        PlanFormatError: The bytes are not a plan; where, found and want are the words of `native/plan.c`.

    Not checked:
        That the filter is well-formed and keeps the promises of the flags: the launcher proves that. That the
        program exists.

    Source:
        native/plan.h.
    """
    flags, count = _read_header(data)
    sections = _read_table(data, count)
    values: dict[_Kind, bytes] = {}
    for kind in _Kind:
        if kind in sections:
            values[kind] = sections[kind]
            _READERS[kind](sections[kind], flags)
        elif kind in _REQUIRED:
            raise _fault("sections", f"no {kind.name.lower()}", "program, digest, filter and argv")
    return LaunchPlan(
        program=values[_Kind.PROGRAM][:-1],
        digest=values[_Kind.DIGEST],
        filter=values[_Kind.FILTER],
        argv=_strings(values[_Kind.ARGV]),
        environment=_strings(values.get(_Kind.ENVIRONMENT, b"")),
        limits=_limits(values.get(_Kind.LIMITS, b"")),
        entry_point=_ENTRY_POINT.unpack(values[_Kind.ENTRY_POINT])[0]
        if _Kind.ENTRY_POINT in values
        else None,
        relocations=_relocations(values),
        sealed=tuple(
            range(address, address + size)
            for address, size in _SEALED.iter_unpack(values.get(_Kind.SEALED, b""))
        ),
        flags=PlanFlag(flags),
    )


def _fault(where: str, found: str, want: str) -> PlanFormatError:
    return PlanFormatError(where, found, want, _SOURCE)


def _quoted(content: bytes) -> str:
    """Return the start of foreign bytes so that they cannot steer a terminal."""
    plain = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in content[:_QUOTED]
    )
    return f"'{plain}'" + ("..." if len(content) > _QUOTED else "")


def _sections(plan: LaunchPlan) -> list[tuple[_Kind, bytes]]:
    """Return the contents in the order of the file; what is empty and optional has no section."""
    for where, strings in (("argv", plan.argv), ("environment", plan.environment)):
        if any(0 in string for string in strings):
            raise _fault(where, "a NUL inside a string", "1 to 65536 NUL-terminated strings")
    limits = b""
    for limit in plan.limits:
        if not (0 <= limit.resource < 1 << 32 and 0 <= limit.soft < 1 << 64 and 0 <= limit.hard < 1 << 64):
            raise _fault("limits", str(limit), "unsigned numbers of 32 and 64 bits")
        limits += _LIMIT.pack(limit.resource, 0, limit.soft, limit.hard)
    if plan.entry_point is not None and not 0 <= plan.entry_point < 1 << 64:
        raise _fault("entry-point", str(plan.entry_point), "8 bytes")
    entry_point = b"" if plan.entry_point is None else _ENTRY_POINT.pack(plan.entry_point)
    relocations = b""
    for relocation in plan.relocations:
        if not 0 <= relocation.index < 1 << 32:
            raise _fault("relocations.index", str(relocation.index), "instructions, increasing")
        relocations += _RELOCATION.pack(relocation.index, relocation.moved, relocation.part)
    sealed = b""
    for extent in plan.sealed:
        if not 0 <= extent.start <= extent.stop < 1 << 64:
            raise _fault("sealed.address", str(extent), "pages, increasing, with gaps")
        sealed += _SEALED.pack(extent.start, extent.stop - extent.start)
    contents = (
        (_Kind.PROGRAM, plan.program + b"\0"),
        (_Kind.DIGEST, plan.digest),
        (_Kind.FILTER, plan.filter),
        (_Kind.ARGV, b"".join(argument + b"\0" for argument in plan.argv)),
        (_Kind.ENVIRONMENT, b"".join(entry + b"\0" for entry in plan.environment)),
        (_Kind.LIMITS, limits),
        (_Kind.ENTRY_POINT, entry_point),
        (_Kind.RELOCATIONS, relocations),
        (_Kind.SEALED, sealed),
    )
    return [(kind, content) for kind, content in contents if content]


def _read_header(data: bytes) -> tuple[int, int]:
    """Return the flags and the number of sections, whose table lies inside the file."""
    if len(data) > MAX_SIZE:
        raise _fault("plan", "more than 4 MiB", "32 bytes to 4 MiB")
    if len(data) < _HEADER.size:
        raise _fault("plan", f"{len(data)} bytes", "32 bytes to 4 MiB")
    magic, version, arch, size, count, flags, reserved = _HEADER.unpack_from(data)
    table_fits = count <= len(_Kind) and _HEADER.size + _ENTRY.size * count <= len(data)
    there = f" in a file of {len(data)} bytes"
    checks: tuple[tuple[bool, str, object, str], ...] = (
        (magic == MAGIC, "header.magic", _quoted(magic), "'SHIMPLAN'"),
        (version == VERSION, "header.version", version, "1"),
        (arch == ARCH_X86_64, "header.arch", arch, "1 (x86-64)"),
        (size == len(data), "header.size", f"{size}{there}", "the file's size"),
        (table_fits, "header.sections", f"{count}{there}", "a table of at most 9 in the file"),
        (flags & ~sum(PlanFlag) == 0, "header.flags", hex(flags), "known flags"),
        (
            _answers_once(flags),
            "header.flags",
            hex(flags),
            "one answer to refused calls, and exec allowed with audit",
        ),
        (reserved == 0, "header.reserved", reserved, "0"),
    )
    for holds, where, found, want in checks:
        if not holds:
            raise _fault(where, str(found), want)
    return flags, count


def _answers_once(flags: int) -> bool:
    """Whether there is one answer to refused calls; what is only audited can be execve."""
    answers = flags & (PlanFlag.NO_EVENTS | PlanFlag.ERRNO | PlanFlag.AUDIT)
    return answers & (answers - 1) == 0 and (
        not flags & PlanFlag.AUDIT or bool(flags & PlanFlag.EXEC_ALLOWED)
    )


def _read_table(data: bytes, count: int) -> dict[_Kind, bytes]:
    """Return the sections, which tile the file."""
    sections: dict[_Kind, bytes] = {}
    end = _HEADER.size + _ENTRY.size * count
    previous = 0
    for index in range(count):
        kind, offset, size, reserved = _ENTRY.unpack_from(data, _HEADER.size + _ENTRY.size * index)
        if not previous < kind <= len(_Kind):
            raise _fault("section.kind", f"{kind} after {previous}", "known kinds, increasing")
        if offset != end:
            raise _fault("section.offset", f"{offset} after an end at {end}", "the end of the one before")
        if not 0 < size <= len(data) - end:
            left = f"{size} with {len(data) - end} bytes left"
            raise _fault("section.size", left, "at least a byte, inside the file")
        if reserved:
            raise _fault("section.reserved", str(reserved), "0")
        sections[_Kind(kind)] = bytes(data[end : end + size])
        end = _end_of_padding(data, end + size)
        previous = kind
    if end != len(data):
        raise _fault("plan.end", f"{len(data)} after an end at {end}", "the end of the last section")
    return sections


def _end_of_padding(data: bytes, start: int) -> int:
    """Return the next multiple of 8, up to which all is zero."""
    end = start + -start % 8
    for place in range(start, end):
        if place == len(data):
            raise _fault("section.padding", "the end of the file", "zeros to a multiple of 8")
        if data[place]:
            raise _fault("section.padding", f"{data[place]} at {place}", "zeros to a multiple of 8")
    return end


def _read_program(content: bytes, _flags: int) -> None:
    path = content[:-1]
    if not 3 <= len(content) <= MAX_PATH or path[:1] != b"/" or 0 in path or content[-1] != 0:
        raise _fault("program", _quoted(content), "an absolute path of at most 4095 bytes and one NUL")


def _read_digest(content: bytes, _flags: int) -> None:
    if len(content) != DIGEST_SIZE:
        raise _fault("digest", f"{len(content)} bytes", "32 bytes")


def _read_filter(content: bytes, _flags: int) -> None:
    if len(content) % INSTRUCTION_SIZE or len(content) > MAX_FILTER * INSTRUCTION_SIZE:
        raise _fault("filter", f"{len(content)} bytes", "1 to 4096 instructions of 8 bytes")


def _check_strings(where: str, content: bytes) -> None:
    count = content.count(0)
    if content[-1] != 0 or count > MAX_STRINGS:
        last = ", and none at the end" if content[-1] != 0 else ""
        found = f"{count} NULs in {len(content)} bytes{last}"
        raise _fault(where, found, "1 to 65536 NUL-terminated strings")


def _read_argv(content: bytes, _flags: int) -> None:
    _check_strings("argv", content)


def _read_environment(content: bytes, flags: int) -> None:
    _check_strings("environment", content)
    for entry in _strings(content):
        if entry.find(b"=") < 1:
            raise _fault("environment.entry", _quoted(entry), "NAME=VALUE")
        if entry.startswith(_LOADER_NAMES) and not flags & PlanFlag.LOADER_ENVIRONMENT:
            raise _fault("environment.loader", _quoted(entry), "no LD_*, GLIBC_TUNABLES, GCONV_PATH")


def _read_limits(content: bytes, _flags: int) -> None:
    if len(content) % _LIMIT.size:
        raise _fault("limits", f"{len(content)} bytes", "entries of 24 bytes")
    least = 0
    for resource, reserved, soft, hard in _LIMIT.iter_unpack(content):
        if not least <= resource < _RESOURCES or resource == _RLIMIT_CORE:
            raise _fault("limits.resource", str(resource), "known ones but CORE (4), increasing")
        if reserved:
            raise _fault("limits.reserved", str(reserved), "0")
        if soft > hard:
            raise _fault("limits.soft", f"{soft} above {hard}", "at most the hard limit")
        least = resource + 1


def _read_entry_point(content: bytes, _flags: int) -> None:
    if len(content) != _ENTRY_POINT.size:
        raise _fault("entry-point", f"{len(content)} bytes", "8 bytes")


def _read_relocations(content: bytes, _flags: int) -> None:
    if len(content) % _RELOCATION.size:
        raise _fault("relocations", f"{len(content)} bytes", "entries of 8 bytes")
    least = 0
    for index, moved, part in _RELOCATION.iter_unpack(content):
        if index < least:
            raise _fault("relocations.index", f"{index} after {least - 1}", "instructions, increasing")
        if moved >= len(Moved) or part >= len(Part):
            found = f"{part} of {moved}"
            raise _fault(
                "relocations.part", found, "low (0), high (1) or size (2) of program (0) or vdso (1)"
            )
        least = index + 1


def _read_sealed(content: bytes, _flags: int) -> None:
    if len(content) % _SEALED.size:
        raise _fault("sealed", f"{len(content)} bytes", "entries of 16 bytes")
    least = 0
    for place, (address, size) in enumerate(_SEALED.iter_unpack(content)):
        if address % PAGE or (place and address <= least):
            raise _fault("sealed.address", f"{address} after {least}", "pages, increasing, with gaps")
        if size % PAGE or not 0 < size <= (1 << 64) - 1 - address:
            raise _fault("sealed.size", str(size), "whole pages")
        least = address + size


_READERS: Final = MappingProxyType[_Kind, Callable[[bytes, int], None]](
    {
        _Kind.PROGRAM: _read_program,
        _Kind.DIGEST: _read_digest,
        _Kind.FILTER: _read_filter,
        _Kind.ARGV: _read_argv,
        _Kind.ENVIRONMENT: _read_environment,
        _Kind.LIMITS: _read_limits,
        _Kind.ENTRY_POINT: _read_entry_point,
        _Kind.RELOCATIONS: _read_relocations,
        _Kind.SEALED: _read_sealed,
    }
)


def _strings(content: bytes) -> tuple[bytes, ...]:
    return tuple(content.split(b"\0")[:-1])


def _limits(content: bytes) -> tuple[ResourceLimit, ...]:
    return tuple(
        ResourceLimit(resource, soft, hard) for resource, _, soft, hard in _LIMIT.iter_unpack(content)
    )


def _relocations(values: Mapping[_Kind, bytes]) -> tuple[Relocation, ...]:
    """
    Return the relocations, which concern instructions of the filter.

    They and what is sealed need the entry point, and nothing else does.
    """
    content = values.get(_Kind.RELOCATIONS, b"")
    moved = _Kind.RELOCATIONS in values or _Kind.SEALED in values
    if moved != (_Kind.ENTRY_POINT in values):
        raise _fault("entry-point", "none" if moved else "one", "one with relocations or seals, none without")
    found_all = tuple(
        Relocation(index, Moved(moved), Part(part)) for index, moved, part in _RELOCATION.iter_unpack(content)
    )
    count = len(values[_Kind.FILTER]) // INSTRUCTION_SIZE
    if found_all and found_all[-1].index >= count:
        found = f"{found_all[-1].index} in a filter of {count}"
        raise _fault("relocations.index", found, "instructions of the filter")
    return found_all
