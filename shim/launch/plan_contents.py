"""What the sections of a launch plan hold for a plan, and the plan that checked sections are."""

from __future__ import annotations

import struct

from shim.filter.program import Relocation
from shim.launch.plan import (
    Cgroup,
    Identity,
    Landlock,
    LaunchPlan,
    ObjectSeal,
    PathRule,
    PlanFlag,
    PlannedObject,
    PortRule,
    ResourceLimit,
    Stage,
)
from shim.launch.plan_checks import Values
from shim.launch.plan_contents_machine import channel_of, machine_contents, modules_of, network_of
from shim.launch.plan_layout import (
    CGROUP,
    INSTRUCTION_SIZE,
    LANDLOCK,
    LIMIT,
    NUMBER,
    OBJECT,
    OBJECT_SEAL,
    PAIR,
    PORT,
    RELOCATION,
    SEALED,
    STAGE,
    Kind,
    fault,
    path_entries,
    strings,
)


def contents(plan: LaunchPlan) -> dict[Kind, bytes]:
    """
    Return what each section would hold; empty where there is nothing to say.

    Raises:
        PlanFormatError: a value does not fit its field.
    """
    for where, texts in (("argv", plan.argv), ("environment", plan.environment)):
        if any(0 in text for text in texts):
            raise fault(where, "a NUL inside a string", "1 to 65536 NUL-terminated strings")
    return {**_what(plan), **_moved(plan), **_confined(plan), **machine_contents(plan)}


def _fields(where: str, layout: struct.Struct, *values: object) -> bytes:
    """Return one entry of a section."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise fault(where, " ".join(map(str, values)), f"values that fit {layout.format}") from error


def _what(plan: LaunchPlan) -> dict[Kind, bytes]:
    return {
        Kind.PROGRAM: plan.program + b"\0",
        Kind.DIGEST: plan.digest,
        Kind.FILTER: plan.filter,
        Kind.ARGV: b"".join(argument + b"\0" for argument in plan.argv),
        Kind.ENVIRONMENT: b"".join(entry + b"\0" for entry in plan.environment),
        Kind.LIMITS: b"".join(
            _fields("limits", LIMIT, one.resource, 0, one.soft, one.hard) for one in plan.limits
        ),
    }


def _moved(plan: LaunchPlan) -> dict[Kind, bytes]:
    return {
        Kind.ENTRY_POINT: b""
        if plan.entry_point is None
        else _fields("entry-point", NUMBER, plan.entry_point),
        Kind.RELOCATIONS: _packed(plan.relocations),
        Kind.SEALED: b"".join(
            _fields("sealed.address", SEALED, pages.start, pages.stop - pages.start) for pages in plan.sealed
        ),
        Kind.OBJECTS: b"".join(_fields("objects", OBJECT, one.digest, one.address) for one in plan.objects),
        Kind.OBJECT_SEALS: b"".join(
            _fields(
                "object-seals", OBJECT_SEAL, one.object, 0, one.pages.start, one.pages.stop - one.pages.start
            )
            for one in plan.object_seals
        ),
        Kind.STAGES: b"".join(
            _fields("stages", STAGE, one.boundary, len(one.filter) // INSTRUCTION_SIZE, len(one.relocations))
            for one in plan.stages
        ),
        Kind.STAGE_FILTERS: b"".join(one.filter for one in plan.stages),
        Kind.STAGE_RELOCATIONS: b"".join(_packed(one.relocations) for one in plan.stages),
    }


def _packed(relocations: tuple[Relocation, ...]) -> bytes:
    return b"".join(
        _fields("relocations.index", RELOCATION, one.index, one.moved, one.part) for one in relocations
    )


def _confined(plan: LaunchPlan) -> dict[Kind, bytes]:
    landlock = plan.landlock
    found = {
        Kind.IDENTITY: b""
        if plan.identity is None
        else _fields("identity", PAIR, plan.identity.uid, plan.identity.gid),
        Kind.NAMESPACES: _fields("namespaces", PAIR, plan.namespaces, 0) if plan.namespaces else b"",
        Kind.TIMEOUT: _fields("timeout", NUMBER, plan.timeout) if plan.timeout else b"",
        Kind.CGROUP: _own_cgroup(plan.cgroup),
    }
    if landlock is not None:
        found[Kind.LANDLOCK] = _fields(
            "landlock", LANDLOCK, landlock.files, landlock.network, landlock.scopes
        )
        found[Kind.PATHS] = b"".join(_path(rule) for rule in landlock.paths)
        found[Kind.PORTS] = b"".join(
            _fields("ports", PORT, rule.rights, rule.port) for rule in landlock.ports
        )
    return found


def _own_cgroup(cgroup: Cgroup | None) -> bytes:
    if cgroup is None:
        return b""
    limits = (cgroup.memory, cgroup.processes, cgroup.cpu_quota, cgroup.cpu_period)
    return _fields("cgroup.limits", CGROUP, *limits) + cgroup.parent + b"\0"


def _path(rule: PathRule) -> bytes:
    if 0 in rule.path:
        want = "rights, an absolute path of at most 4095 bytes and one NUL"
        raise fault("paths.path", "a NUL inside a path", want)
    entry = _fields("paths.rights", NUMBER, rule.rights) + rule.path + b"\0"
    return entry + bytes(-len(entry) % NUMBER.size)


def plan_of(values: Values) -> LaunchPlan:
    """Return the plan that sections hold, which have been checked."""
    content = values.content
    identity, namespaces = content(Kind.IDENTITY), content(Kind.NAMESPACES)
    return LaunchPlan(
        program=content(Kind.PROGRAM)[:-1],
        digest=content(Kind.DIGEST),
        filter=content(Kind.FILTER),
        argv=strings(content(Kind.ARGV)),
        environment=strings(content(Kind.ENVIRONMENT)),
        limits=tuple(
            ResourceLimit(resource, soft, hard)
            for resource, _, soft, hard in LIMIT.iter_unpack(content(Kind.LIMITS))
        ),
        entry_point=_number(content(Kind.ENTRY_POINT)),
        relocations=_relocations(content(Kind.RELOCATIONS)),
        sealed=tuple(
            range(address, address + size) for address, size in SEALED.iter_unpack(content(Kind.SEALED))
        ),
        objects=tuple(PlannedObject(*fields) for fields in OBJECT.iter_unpack(content(Kind.OBJECTS))),
        object_seals=tuple(
            ObjectSeal(index, range(address, address + size))
            for index, _, address, size in OBJECT_SEAL.iter_unpack(content(Kind.OBJECT_SEALS))
        ),
        stages=_stages(values),
        landlock=_landlock(values),
        identity=Identity(*PAIR.unpack(identity)) if identity else None,
        namespaces=PAIR.unpack(namespaces)[0] if namespaces else 0,
        timeout=_number(content(Kind.TIMEOUT)) or 0,
        cgroup=_cgroup(content(Kind.CGROUP)),
        modules=modules_of(content(Kind.MODULES)),
        network=network_of(content(Kind.NETWORK)),
        hostname=content(Kind.HOSTNAME)[:-1],
        channel=channel_of(content(Kind.CHANNEL)),
        flags=PlanFlag(values.flags),
    )


def _number(content: bytes) -> int | None:
    return int(NUMBER.unpack(content)[0]) if content else None


def _relocations(content: bytes) -> tuple[Relocation, ...]:
    return tuple(Relocation(*fields) for fields in RELOCATION.iter_unpack(content))


def _stages(values: Values) -> tuple[Stage, ...]:
    filters, entries = values.content(Kind.STAGE_FILTERS), values.content(Kind.STAGE_RELOCATIONS)
    found = []
    for boundary, instructions, count in STAGE.iter_unpack(values.content(Kind.STAGES)):
        size, room = instructions * INSTRUCTION_SIZE, count * RELOCATION.size
        found.append(Stage(boundary, filters[:size], _relocations(entries[:room])))
        filters, entries = filters[size:], entries[room:]
    return tuple(found)


def _cgroup(content: bytes) -> Cgroup | None:
    return Cgroup(content[CGROUP.size : -1], *CGROUP.unpack_from(content)) if content else None


def _landlock(values: Values) -> Landlock | None:
    handled = values.content(Kind.LANDLOCK)
    if not handled:
        return None
    paths = path_entries(values.content(Kind.PATHS))
    files, network, scopes = LANDLOCK.unpack(handled)
    return Landlock(
        files,
        network,
        scopes,
        paths=tuple(PathRule(rights, path) for _, rights, path in paths),
        ports=tuple(PortRule(*fields) for fields in PORT.iter_unpack(values.content(Kind.PORTS))),
    )
