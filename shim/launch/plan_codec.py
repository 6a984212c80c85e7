"""
A launch plan as bytes, and back.

The bytes are what `native/plan.h` describes and `native/plan.c` reads; both readers accept the same files
and say the same of a bad one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from shim.launch.plan import LaunchPlan, PlanFlag
from shim.launch.plan_checks import (
    Values,
    check_argv,
    check_digest,
    check_environment,
    check_filter,
    check_limits,
    check_program,
)
from shim.launch.plan_checks_confine import (
    check_cgroup,
    check_identity,
    check_landlock,
    check_namespaces,
    check_paths,
    check_ports,
    check_timeout,
    match_confined,
)
from shim.launch.plan_checks_machine import (
    check_channel,
    check_hostname,
    check_modules,
    check_network,
    match_machine,
)
from shim.launch.plan_checks_moved import (
    check_entry_point,
    check_object_seals,
    check_objects,
    check_relocations,
    check_sealed,
    check_stage_filters,
    check_stage_relocations,
    check_stages,
    match_moved,
)
from shim.launch.plan_contents import contents, plan_of
from shim.launch.plan_layout import (
    ARCH_X86_64,
    ENTRY,
    HEADER,
    MAGIC,
    MAX_SIZE,
    VERSION,
    Kind,
    fault,
    quoted,
)

_REQUIRED: Final = (Kind.PROGRAM, Kind.DIGEST, Kind.FILTER, Kind.ARGV)
_CHECKS: Final = MappingProxyType[Kind, Callable[[bytes, Values], None]](
    {
        Kind.PROGRAM: check_program,
        Kind.DIGEST: check_digest,
        Kind.FILTER: check_filter,
        Kind.ARGV: check_argv,
        Kind.ENVIRONMENT: check_environment,
        Kind.LIMITS: check_limits,
        Kind.ENTRY_POINT: check_entry_point,
        Kind.RELOCATIONS: check_relocations,
        Kind.SEALED: check_sealed,
        Kind.OBJECTS: check_objects,
        Kind.OBJECT_SEALS: check_object_seals,
        Kind.STAGES: check_stages,
        Kind.STAGE_FILTERS: check_stage_filters,
        Kind.STAGE_RELOCATIONS: check_stage_relocations,
        Kind.LANDLOCK: check_landlock,
        Kind.PATHS: check_paths,
        Kind.PORTS: check_ports,
        Kind.IDENTITY: check_identity,
        Kind.NAMESPACES: check_namespaces,
        Kind.TIMEOUT: check_timeout,
        Kind.CGROUP: check_cgroup,
        Kind.MODULES: check_modules,
        Kind.NETWORK: check_network,
        Kind.HOSTNAME: check_hostname,
        Kind.CHANNEL: check_channel,
    }
)


def encode(plan: LaunchPlan) -> bytes:
    """
    Return the one encoding of a plan.

    Raises:
        PlanFormatError: A value that a plan cannot hold.

    Source:
        native/plan.h.
    """
    sections = [(kind, content) for kind, content in sorted(contents(plan).items()) if content]
    offset = HEADER.size + ENTRY.size * len(sections)
    table = body = b""
    for kind, content in sections:
        table += ENTRY.pack(kind, offset + len(body), len(content), 0)
        body += content + bytes(-len(content) % 8)
    flags = int(plan.flags)
    if not 0 <= flags < 1 << 32:
        raise fault("header.flags", flags, "known flags")
    size = offset + len(body)
    data = HEADER.pack(MAGIC, VERSION, ARCH_X86_64, size, len(sections), flags, 0) + table + body
    if decode(data) != plan:
        raise fault("plan", "values of other types", "bytes, tuples and integers as declared")
    return data


def decode(data: bytes) -> LaunchPlan:
    """
    Return the plan that these bytes encode.

    Raises:
        PlanFormatError: The bytes are not a plan; where, found and want are the words of `native/plan*.c`.

    Not checked:
        That the filters are well-formed and keep the promises of the flags: the launcher proves that. That
        the program exists.

    Source:
        native/plan.h.
    """
    flags, count = _read_header(data)
    values = Values(flags, _read_table(data, count))
    for kind in Kind:
        if kind in values.sections:
            _CHECKS[kind](values.sections[kind], values)
        elif kind in _REQUIRED:
            raise fault("sections", f"no {kind.name.lower()}", "program, digest, filter and argv")
    match_moved(values)
    match_confined(values)
    match_machine(values)
    return plan_of(values)


def _read_header(data: bytes) -> tuple[int, int]:
    """Return the flags and the number of sections, whose table lies inside the file."""
    if len(data) > MAX_SIZE:
        raise fault("plan", "more than 4 MiB", "32 bytes to 4 MiB")
    if len(data) < HEADER.size:
        raise fault("plan", f"{len(data)} bytes", "32 bytes to 4 MiB")
    magic, version, arch, size, count, flags, reserved = HEADER.unpack_from(data)
    table_fits = count <= len(Kind) and HEADER.size + ENTRY.size * count <= len(data)
    there = f" in a file of {len(data)} bytes"
    checks: tuple[tuple[bool, str, object, str], ...] = (
        (magic == MAGIC, "header.magic", quoted(magic), "'SHIMPLAN'"),
        (version == VERSION, "header.version", version, "1"),
        (arch == ARCH_X86_64, "header.arch", arch, "1 (x86-64)"),
        (size == len(data), "header.size", f"{size}{there}", "the file's size"),
        (table_fits, "header.sections", f"{count}{there}", "a table of at most 25 in the file"),
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
            raise fault(where, str(found), want)
    return flags, count


def _answers_once(flags: int) -> bool:
    """Whether there is one answer to refused calls; what is only audited can be execve."""
    answers = flags & (PlanFlag.NO_EVENTS | PlanFlag.ERRNO | PlanFlag.AUDIT)
    return answers & (answers - 1) == 0 and (
        not flags & PlanFlag.AUDIT or bool(flags & PlanFlag.EXEC_ALLOWED)
    )


def _read_table(data: bytes, count: int) -> dict[Kind, bytes]:
    """Return the sections, which tile the file."""
    sections: dict[Kind, bytes] = {}
    end = HEADER.size + ENTRY.size * count
    previous = 0
    for index in range(count):
        kind, offset, size, reserved = ENTRY.unpack_from(data, HEADER.size + ENTRY.size * index)
        if not previous < kind <= len(Kind):
            raise fault("section.kind", f"{kind} after {previous}", "known kinds, increasing")
        if offset != end:
            raise fault("section.offset", f"{offset} after an end at {end}", "the end of the one before")
        if not 0 < size <= len(data) - end:
            left = f"{size} with {len(data) - end} bytes left"
            raise fault("section.size", left, "at least a byte, inside the file")
        if reserved:
            raise fault("section.reserved", reserved, "0")
        sections[Kind(kind)] = bytes(data[end : end + size])
        end = _end_of_padding(data, end + size)
        previous = kind
    if end != len(data):
        raise fault("plan.end", f"{len(data)} after an end at {end}", "the end of the last section")
    return sections


def _end_of_padding(data: bytes, start: int) -> int:
    """Return the next multiple of 8, up to which all is zero."""
    end = start + -start % 8
    for place in range(start, end):
        if place == len(data):
            raise fault("section.padding", "the end of the file", "zeros to a multiple of 8")
        if data[place]:
            raise fault("section.padding", f"{data[place]} at {place}", "zeros to a multiple of 8")
    return end
