"""The launch plan: one encoding, two readers that agree on every byte and say the same of a bad one."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from shim.errors import PlanFormatError
from shim.filter import Moved, Part, Relocation
from shim.launch._native import ffi, lib
from shim.launch.machine import Channel, ChannelKind, EvidenceKind, Module, Network, NetworkMode
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
from shim.launch.plan_codec import decode, encode
from shim.launch.plan_layout import PAGE

SMALL = LaunchPlan(
    program=b"/bin/a",
    digest=bytes(range(32)),
    filter=b"\x06\0\0\0\0\0\0\x80",
    argv=(b"a", b""),
    environment=(b"A=1", b"B="),
    limits=(ResourceLimit(0, 1, 2), ResourceLimit(7, 3, 2**64 - 1)),
    flags=PlanFlag.EXEC_ALLOWED | PlanFlag.NEW_SESSION,
)

STRINGS = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"."))
ENTRIES = st.tuples(STRINGS.filter(lambda name: name != b"" and b"=" not in name), STRINGS).map(b"=".join)


@st.composite
def relocations(draw: st.DrawFn, most: int) -> tuple[Relocation, ...]:
    indexes = draw(st.sets(st.integers(0, most - 1)))
    kinds = st.tuples(st.sampled_from(Moved), st.sampled_from(Part))
    return tuple(Relocation(index, *draw(kinds)) for index in sorted(indexes))


@st.composite
def relocated(draw: st.DrawFn, plan: LaunchPlan) -> LaunchPlan:
    found = draw(relocations(len(plan.filter) // 8))
    borders = sorted(draw(st.sets(st.integers(0, 2**52 - 2), max_size=6)))
    sealed = tuple(
        range(low * PAGE, high * PAGE) for low, high in zip(borders[::2], borders[1::2], strict=False)
    )
    staged = {} if plan.flags & (PlanFlag.EXEC_ALLOWED | PlanFlag.NO_EVENTS) else draw(staged_fields())
    entry_point = draw(st.integers(0, 2**64 - 1)) if found or sealed or staged.get("stages") else None
    if staged.get("objects"):
        first, *others = staged["stages"]
        staged["stages"] = (dataclasses.replace(first, boundary=entry_point), *others)
    return dataclasses.replace(plan, relocations=found, sealed=sealed, entry_point=entry_point, **staged)


@st.composite
def staged_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Stages, and objects with seals where there is a stage for them."""
    objects = draw(st.lists(st.builds(PlannedObject, st.binary(min_size=32, max_size=32), PAGES), max_size=3))
    stages = []
    for _ in range(draw(st.integers(1 if objects else 0, 4))):
        rules = bytes(8) * draw(st.integers(1, 9))
        indexes = sorted(draw(st.sets(st.integers(0, len(rules) // 8 - 1))))
        kinds = st.tuples(st.integers(0, 1 + len(objects)), st.integers(0, len(Part) - 1))
        entries = tuple(Relocation(index, *draw(kinds)) for index in indexes)
        stages.append(Stage(draw(st.integers(0, 2**64 - 1)), rules, entries))
    seals = [ObjectSeal(place, range(PAGE, PAGE * 3)) for place in range(len(objects)) if draw(st.booleans())]
    return {"objects": tuple(objects), "object_seals": tuple(seals), "stages": tuple(stages)}


@st.composite
def landlocks(draw: st.DrawFn) -> Landlock:
    files, network = draw(st.integers(0, 0xFFFF)), draw(st.integers(0, 3))
    scopes = draw(st.integers(0 if files or network else 1, 3))
    rights = st.integers(1, 0xFFFF).map(lambda some: some & files or files)
    paths = st.builds(PathRule, rights, STRINGS.map(lambda path: b"/" + path))
    numbers = sorted(draw(st.sets(st.integers(0, 65535), max_size=3)))
    return Landlock(
        files,
        network,
        scopes,
        tuple(draw(st.lists(paths, max_size=3))) if files else (),
        tuple(PortRule(network, port) for port in numbers) if network else (),
    )


PAGES = st.integers(0, 2**52 - 1).map(lambda page: page * PAGE)


@st.composite
def limits(draw: st.DrawFn) -> tuple[ResourceLimit, ...]:
    resources = draw(st.sets(st.sampled_from([number for number in range(16) if number != 4])))
    pairs = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(sorted)
    return tuple(ResourceLimit(resource, *draw(pairs)) for resource in sorted(resources))


CGROUPS = st.builds(
    lambda path, limits, cpu: Cgroup(b"/" + path, *limits, *cpu),
    STRINGS.filter(len),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 4194304)),
    st.just((0, 0)) | st.tuples(st.integers(1000, 2**44 - 1), st.integers(1000, 1_000_000)),
)
ADDRESSES = st.integers(1, 2**32 - 1).map(IPv4Address)
SERVERS = st.lists(ADDRESSES, max_size=3).map(tuple)
NETWORKS = st.builds(Network, st.just(NetworkMode.DHCP), dns=SERVERS) | st.builds(
    Network, st.just(NetworkMode.STATIC), ADDRESSES, st.integers(1, 32), st.none() | ADDRESSES, SERVERS
)
SAID = {
    "evidence": st.sampled_from(EvidenceKind),
    "relying_party": st.binary(min_size=32, max_size=32).filter(any),
    "secret": st.sampled_from([b"", b"/run/secret", b"/a/b/c", b"/a/" + b"b" * 252]),
    "plain_output": st.booleans(),
}
CHANNELS = (
    st.builds(
        Channel, st.just(ChannelKind.VIRTIO), name=st.sampled_from([b"a", b"shim.channel", b"b" * 63]), **SAID
    )
    | st.builds(
        Channel,
        st.just(ChannelKind.VSOCK),
        cid=st.integers(1, 2**32 - 2),
        port=st.integers(1, 2**32 - 2),
        **SAID,
    )
    | st.builds(Channel, st.just(ChannelKind.TCP), port=st.integers(1, 65535), address=ADDRESSES, **SAID)
)


def connected(plan: LaunchPlan, network: Network | None, channel: Channel | None) -> LaunchPlan:
    """What connects over a network has one."""
    if channel is not None and channel.kind is ChannelKind.TCP and network is None:
        network = Network(NetworkMode.DHCP)
    return dataclasses.replace(plan, network=network, channel=channel)


PLANS = (
    st.builds(
        LaunchPlan,
        program=STRINGS.filter(len).map(lambda path: b"/" + path),
        digest=st.binary(min_size=32, max_size=32),
        filter=st.binary(min_size=8, max_size=8).flatmap(
            lambda one: st.integers(1, 20).map(lambda count: one * count)
        ),
        argv=st.lists(STRINGS, min_size=1, max_size=5).map(tuple),
        environment=st.lists(ENTRIES, max_size=5).map(tuple),
        limits=limits(),
        landlock=st.none() | landlocks(),
        identity=st.none() | st.builds(Identity, st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2)),
        namespaces=st.sampled_from([0, 1 << 17, 0x7E02_0000, 1 << 29]),
        timeout=st.integers(0, 2**63 - 1),
        cgroup=st.none() | CGROUPS,
        modules=st.lists(
            st.builds(Module, STRINGS.map(lambda path: b"/" + path), st.binary(min_size=32, max_size=32)),
            max_size=3,
        ).map(tuple),
        hostname=st.sampled_from([b"", b"a", b"A-1.example", b"9" * 64]),
        flags=st.sampled_from([0, 256, 512, *range(64)]).map(
            lambda flags: PlanFlag(flags) | PlanFlag.LOADER_ENVIRONMENT
        )
        | st.sampled_from([PlanFlag.ERRNO, PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED]).map(
            lambda flags: flags | PlanFlag.LOADER_ENVIRONMENT
        ),
    )
    .flatmap(
        lambda plan: st.tuples(st.none() | NETWORKS, st.none() | CHANNELS).map(
            lambda two: connected(plan, *two)
        )
    )
    .flatmap(relocated)
)


Refusal = tuple[str, str, str]


def refusal_in_c(data: bytes) -> Refusal | None:
    """Where, found and want of the C reader, or None where it accepts what Python reads the same."""
    plan = ffi.new("struct plan *")
    fault = ffi.new("struct plan_fault *")
    if lib.plan_read(data, len(data), plan, fault) != 0:
        where, found, want = (
            ffi.string(words).decode("ascii") for words in (fault.where, fault.found, fault.want)
        )
        return where, found, want
    assert ffi.string(plan.program) == decode(data).program
    assert bytes(ffi.buffer(plan.digest, 32)) == decode(data).digest
    assert bytes(ffi.buffer(plan.filter, plan.filter_count * 8)) == decode(data).filter
    assert (plan.argc, plan.environment_count) == (len(decode(data).argv), len(decode(data).environment))
    assert plan.argv_size == sum(len(argument) + 1 for argument in decode(data).argv)
    assert plan.limit_count == len(decode(data).limits)
    assert plan.flags == decode(data).flags
    assert plan.relocation_count == len(decode(data).relocations)
    assert plan.sealed_count == len(decode(data).sealed)
    assert plan.entry_point == (decode(data).entry_point or 0)
    assert plan.object_count == len(decode(data).objects)
    assert plan.object_seal_count == len(decode(data).object_seals)
    assert plan.stage_count == len(decode(data).stages)
    assert plan.stage_filter_count == sum(len(one.filter) // 8 for one in decode(data).stages)
    landlock = decode(data).landlock
    assert (plan.landlock != ffi.NULL) == (landlock is not None)
    assert plan.port_count == (0 if landlock is None else len(landlock.ports))
    assert (plan.identity != ffi.NULL) == (decode(data).identity is not None)
    assert (plan.namespaces, plan.timeout) == (decode(data).namespaces, decode(data).timeout)
    channel = decode(data).channel
    assert (plan.network != ffi.NULL) == (decode(data).network is not None)
    assert (b"" if plan.hostname == ffi.NULL else ffi.string(plan.hostname)) == decode(data).hostname
    assert (plan.channel != ffi.NULL) == (channel is not None)
    if channel is not None:
        assert (ffi.string(plan.channel_name), ffi.string(plan.secret_path)) == (channel.name, channel.secret)
    return None


def refusal_in_python(data: bytes) -> Refusal | None:
    try:
        decode(data)
    except PlanFormatError as error:
        return error.where, error.found, error.want
    return None


@given(PLANS)
def test_a_plan_comes_back(plan: LaunchPlan) -> None:
    data = encode(plan)
    assert decode(data) == plan
    assert encode(decode(data)) == data
    assert refusal_in_c(data) is None


@given(PLANS, st.data())
def test_prefixes_are_refused_alike(plan: LaunchPlan, data: st.DataObject) -> None:
    whole = encode(plan)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert refusal_in_python(part) == refusal_in_c(part) is not None


@settings(max_examples=500)
@given(PLANS, st.data())
def test_damage_is_seen_alike(plan: LaunchPlan, data: st.DataObject) -> None:
    damaged = bytearray(encode(plan))
    table = 32 + 16 * damaged[16]
    places = st.integers(0, len(damaged) - 1) | st.integers(0, table - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(places)] = data.draw(st.integers(0, 255) | st.sampled_from([0, 1, 4, 8, 255]))
    bad = bytes(damaged)
    assert refusal_in_python(bad) == refusal_in_c(bad)
    if refusal_in_python(bad) is None:
        assert encode(decode(bad)) == bad


@given(st.binary(max_size=200), st.booleans())
def test_noise_is_refused_alike(noise: bytes, headed: bool) -> None:  # noqa: FBT001  # hypothesis draws it
    data = b"SHIMPLAN\1\0\1\0" + struct.pack("<I", len(noise) + 16) + noise if headed else noise
    assert refusal_in_python(data) == refusal_in_c(data) is not None


def put(data: bytes, offset: int, form: str, value: int) -> bytes:
    room = bytearray(data)
    struct.pack_into(form, room, offset, value)
    return bytes(room)


GOOD = encode(SMALL)
END = len(GOOD)
WITHOUT_SECTIONS = put(put(GOOD[:32], 12, "<I", 32), 16, "<I", 0)
BROKEN = {
    "nothing": (b"", "plan", "0 bytes"),
    "31 bytes": (GOOD[:31], "plan", "31 bytes"),
    "more than 4 MiB": (GOOD + bytes(4 << 20), "plan", "more than 4 MiB"),
    "magic": (put(GOOD, 0, "<B", 0x73), "header.magic", "'sHIMPLAN'"),
    "magic of a terminal": (b"\x1b]0;'\\\xff." + GOOD[8:], "header.magic", "'\\x1b]0;\\x27\\x5c\\xff.'"),
    "version 0": (put(GOOD, 8, "<H", 0), "header.version", "0"),
    "version 2": (put(GOOD, 8, "<H", 2), "header.version", "2"),
    "arch": (put(GOOD, 10, "<H", 2), "header.arch", "2"),
    "size too small": (put(GOOD, 12, "<I", END - 8), "header.size", f"{END - 8} in a file of {END} bytes"),
    "trailing bytes": (GOOD + bytes(8), "header.size", f"{END} in a file of {END + 8} bytes"),
    "trailing bytes that are counted": (
        put(GOOD + bytes(8), 12, "<I", END + 8),
        "plan.end",
        f"{END + 8} after an end at {END}",
    ),
    "26 sections": (put(GOOD, 16, "<I", 26), "header.sections", f"26 in a file of {END} bytes"),
    "2**28 sections": (put(GOOD, 16, "<I", 2**28), "header.sections", f"{2**28} in a file of {END} bytes"),
    "table beyond the end": (
        put(put(GOOD[:48], 12, "<I", 48), 16, "<I", 6),
        "header.sections",
        "6 in a file of 48 bytes",
    ),
    "unknown flag": (put(GOOD, 20, "<I", 2048), "header.flags", "0x800"),
    "two answers": (put(GOOD, 20, "<I", 64 + 2), "header.flags", "0x42"),
    "all answers": (put(GOOD, 20, "<I", 128 + 64 + 2 + 1), "header.flags", "0xc3"),
    "audit without exec": (put(GOOD, 20, "<I", 128), "header.flags", "0x80"),
    "highest flag": (put(GOOD, 20, "<I", 2**31), "header.flags", "0x80000000"),
    "reserved": (put(GOOD, 31, "<B", 1), "header.reserved", str(2**56)),
    "kind 0": (put(GOOD, 32, "<I", 0), "section.kind", "0 after 0"),
    "kind 26": (put(GOOD, 32 + 5 * 16, "<I", 26), "section.kind", "26 after 5"),
    "same kind twice": (put(GOOD, 48, "<I", 1), "section.kind", "1 after 1"),
    "offset": (put(GOOD, 36, "<I", 136), "section.offset", "136 after an end at 128"),
    "no size": (put(GOOD, 40, "<I", 0), "section.size", f"0 with {END - 128} bytes left"),
    "size beyond the end": (put(GOOD, 40, "<I", END), "section.size", f"{END} with {END - 128} bytes left"),
    "size that wraps": (
        put(GOOD, 40, "<I", 2**32 - 1),
        "section.size",
        f"{2**32 - 1} with {END - 128} bytes left",
    ),
    "reserved of a section": (put(GOOD, 44, "<I", 1), "section.reserved", "1"),
    "padding": (put(GOOD, 135, "<B", 9), "section.padding", "9 at 135"),
    "padding beyond the end": (
        struct.pack("<8sHHIIIQIIII", b"SHIMPLAN", 1, 1, 51, 1, 0, 0, 1, 48, 3, 0) + b"/a\0",
        "section.padding",
        "the end of the file",
    ),
    "a section is missing": (WITHOUT_SECTIONS, "sections", "no program"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_both_readers_say_where_and_what(name: str) -> None:
    data, where, found = BROKEN[name]
    refusal = refusal_in_python(data)
    assert refusal is not None
    assert refusal[:2] == (where, found)
    assert refusal[2]
    assert refusal_in_c(data) == refusal


def assembled(contents: dict[int, bytes], flags: int = 0) -> bytes:
    """A file that is a plan in everything but the contents of its sections."""
    offset = 32 + 16 * len(contents)
    table = body = b""
    for kind, content in sorted(contents.items()):
        table += struct.pack("<IIII", kind, offset + len(body), len(content), 0)
        body += content + bytes(-len(content) % 8)
    head = struct.pack("<8sHHIIIQ", b"SHIMPLAN", 1, 1, offset + len(body), len(contents), flags, 0)
    return head + table + body


CONTENTS = {1: b"/bin/a\0", 2: bytes(32), 3: b"\x06\0\0\0\0\0\0\x80", 4: b"a\0"}
PROGRAM, DIGEST, RULES, ARGV, ENVIRONMENT, LIMITS, ENTRY_POINT, RELOCATIONS, SEALED = range(1, 10)
OBJECTS, OBJECT_SEALS, STAGES, STAGE_FILTERS, STAGE_RELOCATIONS = range(10, 15)
LANDLOCK, PATHS, PORTS, IDENTITY, NAMESPACES, TIMEOUT, CGROUP = range(15, 22)


def limit(resource: int, reserved: int, soft: int, hard: int) -> bytes:
    return struct.pack("<IIQQ", resource, reserved, soft, hard)


def seal(address: int, size: int) -> bytes:
    return struct.pack("<QQ", address, size)


def relocation(index: int, moved: int, part: int) -> bytes:
    return struct.pack("<IHH", index, moved, part)


def number(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def stage(boundary: int, instructions: int, count: int) -> bytes:
    return struct.pack("<QII", boundary, instructions, count)


def object_seal(index: int, reserved: int, address: int, size: int) -> bytes:
    return struct.pack("<IIQQ", index, reserved, address, size)


BAD_CONTENTS = {
    "relative path": (PROGRAM, b"bin/a\0", "program", "'bin/a\\x00'"),
    "path without its NUL": (PROGRAM, b"/bin/a", "program", "'/bin/a'"),
    "path with a NUL inside": (PROGRAM, b"/b\0n/a\0", "program", "'/b\\x00n/a\\x00'"),
    "long path": (PROGRAM, b"/" + b"a" * 4095 + b"\0", "program", f"'/{'a' * 47}'..."),
    "long path of escapes": (PROGRAM, b"\xff" * 4097, "program", "'" + "\\xff" * 48 + "'..."),
    "digest": (DIGEST, bytes(31), "digest", "31 bytes"),
    "half an instruction": (RULES, bytes(12), "filter", "12 bytes"),
    "4097 instructions": (RULES, bytes(8 * 4097), "filter", "32776 bytes"),
    "argv without a NUL": (ARGV, b"a\0b", "argv", "1 NULs in 3 bytes, and none at the end"),
    "65537 arguments": (ARGV, bytes(65537), "argv", "65537 NULs in 65537 bytes"),
    "environment without a NUL": (
        ENVIRONMENT,
        b"A=1",
        "environment",
        "0 NULs in 3 bytes, and none at the end",
    ),
    "no name": (ENVIRONMENT, b"A=1\0=1\0", "environment.entry", "'=1'"),
    "no equals sign": (ENVIRONMENT, b"\x1b[2J\0", "environment.entry", "'\\x1b[2J'"),
    "an empty entry": (ENVIRONMENT, b"\0", "environment.entry", "''"),
    "loader": (ENVIRONMENT, b"LD_PRELOAD=/x\0", "environment.loader", "'LD_PRELOAD=/x'"),
    "half a limit": (LIMITS, bytes(23), "limits", "23 bytes"),
    "core": (LIMITS, limit(4, 0, 0, 0), "limits.resource", "4"),
    "limits out of order": (LIMITS, limit(7, 0, 0, 0) + limit(1, 0, 0, 0), "limits.resource", "1"),
    "unknown resource": (LIMITS, limit(2**32 - 1, 0, 0, 0), "limits.resource", str(2**32 - 1)),
    "reserved of a limit": (LIMITS, limit(1, 3, 0, 0), "limits.reserved", "3"),
    "soft above hard": (LIMITS, limit(1, 0, 2**64 - 1, 5), "limits.soft", f"{2**64 - 1} above 5"),
    "half an entry point": (ENTRY_POINT, bytes(4), "entry-point", "4 bytes"),
    "an entry point alone": (ENTRY_POINT, bytes(8), "entry-point", "one"),
    "half a relocation": (RELOCATIONS, bytes(12), "relocations", "12 bytes"),
    "relocations alone": (RELOCATIONS, bytes(8), "entry-point", "none"),
    "half a seal": (SEALED, bytes(8), "sealed", "8 bytes"),
    "seals alone": (SEALED, seal(0, PAGE), "entry-point", "none"),
    "a seal inside a page": (SEALED, seal(8, PAGE), "sealed.address", "8 after 0"),
    "seals that touch": (SEALED, seal(0, PAGE) + seal(PAGE, PAGE), "sealed.address", f"{PAGE} after {PAGE}"),
    "seals out of order": (
        SEALED,
        seal(PAGE * 4, PAGE) + seal(0, PAGE),
        "sealed.address",
        f"0 after {PAGE * 5}",
    ),
    "a seal of nothing": (SEALED, seal(0, 0), "sealed.size", "0"),
    "a seal of half a page": (SEALED, seal(0, 8), "sealed.size", "8"),
    "a seal that wraps": (SEALED, seal(PAGE, 2**64 - PAGE), "sealed.size", str(2**64 - PAGE)),
    "half an object": (OBJECTS, bytes(39), "objects", "39 bytes"),
    "513 objects": (OBJECTS, bytes(40 * 513), "objects", f"{40 * 513} bytes"),
    "an object inside a page": (OBJECTS, bytes(32) + number(8), "objects.address", "8"),
    "objects without a stage": (OBJECTS, bytes(40), "objects", "none"),
    "half a seal of an object": (OBJECT_SEALS, bytes(23), "object-seals", "23 bytes"),
    "a seal of no object": (OBJECT_SEALS, bytes(8) + seal(0, PAGE), "object-seals.object", "0 and 0"),
    "half a stage": (STAGES, bytes(15), "stages", "15 bytes"),
    "5 stages": (STAGES, bytes(80), "stages", "80 bytes"),
    "stages alone": (STAGES, bytes(16), "entry-point", "none"),
    "half an instruction of a stage": (STAGE_FILTERS, bytes(9), "stage-filters", "9 bytes"),
    "filters of no stage": (STAGE_FILTERS, bytes(8), "stage-filters", "1 where stages have 0"),
    "half a relocation of a stage": (STAGE_RELOCATIONS, bytes(4), "stage-relocations", "4 bytes"),
    "relocations of no stage": (STAGE_RELOCATIONS, bytes(8), "stage-relocations", "1 where stages have 0"),
    "half a landlock": (LANDLOCK, bytes(16), "landlock", "16 bytes"),
    "landlock of nothing": (LANDLOCK, bytes(24), "landlock.handled", "0"),
    "a right to files that nobody knows": (LANDLOCK, number(1 << 16, 0, 0), "landlock.handled", "65536"),
    "a right to ports that nobody knows": (LANDLOCK, number(0, 4, 0), "landlock.handled", "4"),
    "a scope that nobody knows": (LANDLOCK, number(0, 0, 4), "landlock.handled", "4"),
    "rights without a path": (PATHS, number(1), "paths.path", "8 bytes"),
    "a relative path among rights": (PATHS, number(1) + b"usr\0" + bytes(4), "paths.path", "16 bytes"),
    "a path without its NUL, padded": (PATHS, number(1) + b"/usr/lib", "paths.path", "16 bytes"),
    "a path of 4096 bytes": (PATHS, number(1) + b"/" * 4096 + bytes(8), "paths.path", "4112 bytes"),
    "a path that is cut": (PATHS, number(1) + b"/usr\0", "paths.padding", "13 bytes"),
    "a path with something behind": (PATHS, number(1) + b"/usr\0..\0", "paths.padding", "16 bytes"),
    "no right to a path": (PATHS, number(0) + b"/usr\0" + bytes(3), "paths.rights", "0"),
    "a path that landlock does not handle": (PATHS, number(1) + b"/usr\0" + bytes(3), "paths.rights", "1"),
    "half a port": (PORTS, bytes(8), "ports", "8 bytes"),
    "no right to a port": (PORTS, number(0, 80), "ports.rights", "0"),
    "port 65536": (PORTS, number(1, 65536), "ports.port", "65536"),
    "ports out of order": (PORTS, number(1, 80, 1, 79), "ports.port", "79"),
    "a port that landlock does not handle": (PORTS, number(1, 80), "ports.rights", "1"),
    "half an identity": (IDENTITY, bytes(4), "identity", "4 bytes"),
    "nobody at all": (IDENTITY, b"\xff" * 8, "identity.id", str(2**32 - 1)),
    "half a namespace": (NAMESPACES, bytes(4), "namespaces", "4 bytes"),
    "no namespace": (NAMESPACES, bytes(8), "namespaces.kinds", "0 and 0"),
    "a namespace that nobody knows": (NAMESPACES, number(1), "namespaces.kinds", "1 and 0"),
    "half a timeout": (TIMEOUT, bytes(4), "timeout", "4 bytes"),
    "no time": (TIMEOUT, bytes(8), "timeout", "0"),
    "a time before 1970": (TIMEOUT, b"\xff" * 8, "timeout", str(2**64 - 1)),
    "a cgroup without a path": (CGROUP, bytes(32) + b"\0", "cgroup", "33 bytes"),
    "a cgroup with a path too long": (CGROUP, bytes(32) + b"/" * 4096 + b"\0", "cgroup", "4129 bytes"),
    "a cgroup somewhere": (CGROUP, bytes(32) + b"a\0", "cgroup.path", "'a\\x00'"),
    "a cgroup without an end": (CGROUP, bytes(32) + b"/a", "cgroup.path", "'/a'"),
    "a cgroup with two ends": (CGROUP, bytes(32) + b"/\0\0", "cgroup.path", "'/\\x00\\x00'"),
    "memory below 0": (CGROUP, number(1 << 63, 0, 0, 0) + b"/\0", "cgroup.limits", f"{1 << 63} and 0"),
    "more processes than can be": (
        CGROUP,
        number(0, 4194305, 0, 0) + b"/\0",
        "cgroup.limits",
        "0 and 4194305",
    ),
    "a quota of nothing": (CGROUP, number(0, 0, 1000, 0) + b"/\0", "cgroup.cpu", "1000 of 0"),
    "no quota of a period": (CGROUP, number(0, 0, 0, 1000) + b"/\0", "cgroup.cpu", "0 of 1000"),
    "too small a quota": (CGROUP, number(0, 0, 999, 1000) + b"/\0", "cgroup.cpu", "999 of 1000"),
    "too large a quota": (CGROUP, number(0, 0, 1 << 44, 1000) + b"/\0", "cgroup.cpu", f"{1 << 44} of 1000"),
    "too short a period": (CGROUP, number(0, 0, 1000, 999) + b"/\0", "cgroup.cpu", "1000 of 999"),
    "too long a period": (CGROUP, number(0, 0, 1000, 1000001) + b"/\0", "cgroup.cpu", "1000 of 1000001"),
}

# The same where a plan has an entry point, so that what is moved is looked at.
BAD_MOVED = {
    "the same instruction twice": ({RELOCATIONS: bytes(16)}, "relocations.index", "0 after 0"),
    "what is not moved": ({RELOCATIONS: relocation(0, 2, 0)}, "relocations.part", "0 of 2"),
    "what has no such part": ({RELOCATIONS: relocation(0, 1, 3)}, "relocations.part", "3 of 1"),
    "objects that nobody stops for": (
        {OBJECTS: bytes(40), STAGES: stage(4, 1, 0), STAGE_FILTERS: bytes(8)},
        "objects",
        "none",
    ),
    "a stage without instructions": ({STAGES: stage(0, 0, 0)}, "stages.instructions", "0 of 0"),
    "a stage with too few": (
        {STAGES: stage(0, 2, 0), STAGE_FILTERS: bytes(8)},
        "stages.instructions",
        "2 of 1",
    ),
    "a stage with too many": (
        {STAGES: stage(0, 4097, 0), STAGE_FILTERS: bytes(4097 * 8)},
        "stages.instructions",
        "4097 of 4097",
    ),
    "a second stage without": (
        {STAGES: stage(0, 1, 0) + stage(0, 1, 0), STAGE_FILTERS: bytes(8)},
        "stages.instructions",
        "1 of 0",
    ),
    "instructions of nobody": (
        {STAGES: stage(0, 1, 0), STAGE_FILTERS: bytes(16)},
        "stage-filters",
        "2 where stages have 1",
    ),
    "a stage with too few relocations": (
        {STAGES: stage(0, 1, 1), STAGE_FILTERS: bytes(8)},
        "stages.relocations",
        "1 of 0",
    ),
    "relocations of nobody": (
        {STAGES: stage(0, 1, 0), STAGE_FILTERS: bytes(8), STAGE_RELOCATIONS: bytes(8)},
        "stage-relocations",
        "1 where stages have 0",
    ),
    "a relocation behind a stage": (
        {STAGES: stage(0, 1, 1), STAGE_FILTERS: bytes(8), STAGE_RELOCATIONS: relocation(1, 0, 0)},
        "relocations.index",
        "1 in a filter of 1",
    ),
    "an object that is not there": (
        {STAGES: stage(0, 1, 1), STAGE_FILTERS: bytes(8), STAGE_RELOCATIONS: relocation(0, 2, 0)},
        "relocations.part",
        "0 of 2",
    ),
    "seals of objects out of order": (
        {
            OBJECTS: bytes(80),
            OBJECT_SEALS: object_seal(1, 0, PAGE, PAGE) + object_seal(0, 0, 0, PAGE),
            STAGES: stage(0, 1, 0),
            STAGE_FILTERS: bytes(8),
        },
        "object-seals.object",
        "0 and 0",
    ),
    "seals of an object that touch": (
        {
            OBJECTS: bytes(40),
            OBJECT_SEALS: object_seal(0, 0, 0, PAGE) + object_seal(0, 0, PAGE, PAGE),
            STAGES: stage(0, 1, 0),
            STAGE_FILTERS: bytes(8),
        },
        "sealed.address",
        f"{PAGE} after {PAGE}",
    ),
    "reserved of a seal": (
        {
            OBJECTS: bytes(40),
            OBJECT_SEALS: object_seal(0, 7, 0, PAGE),
            STAGES: stage(0, 1, 0),
            STAGE_FILTERS: bytes(8),
        },
        "object-seals.object",
        "0 and 7",
    ),
}


@pytest.mark.parametrize("name", BAD_CONTENTS)
def test_both_readers_say_what_a_section_holds(name: str) -> None:
    kind, content, where, found = BAD_CONTENTS[name]
    refusal = refusal_in_python(assembled({**CONTENTS, kind: content}))
    assert refusal is not None
    assert refusal[:2] == (where, found)
    assert refusal_in_c(assembled({**CONTENTS, kind: content})) == refusal


@pytest.mark.parametrize("name", BAD_MOVED)
def test_both_readers_say_what_does_not_fit(name: str) -> None:
    sections, where, found = BAD_MOVED[name]
    data = assembled({**CONTENTS, ENTRY_POINT: bytes(8), **sections})
    refusal = refusal_in_python(data)
    assert refusal is not None
    assert refusal[:2] == (where, found)
    assert refusal_in_c(data) == refusal


@pytest.mark.parametrize("flag", [PlanFlag.EXEC_ALLOWED, PlanFlag.NO_EVENTS])
def test_stages_need_somebody_who_traces(flag: PlanFlag) -> None:
    contents = {**CONTENTS, ENTRY_POINT: bytes(8), STAGES: stage(8, 1, 0), STAGE_FILTERS: bytes(8)}
    assert refusal_in_python(assembled(contents)) is refusal_in_c(assembled(contents)) is None
    refusal = ("stages", hex(flag), "events, and with exec allowed one stage at the entry point")
    assert refusal_in_python(assembled(contents, flag)) == refusal_in_c(assembled(contents, flag)) == refusal


def test_whoever_executes_others_has_the_boundary_of_its_loader() -> None:
    flag = PlanFlag.EXEC_ALLOWED
    lone = {**CONTENTS, ENTRY_POINT: number(8), STAGES: stage(8, 1, 0), STAGE_FILTERS: bytes(8)}
    assert refusal_in_python(assembled(lone, flag)) is refusal_in_c(assembled(lone, flag)) is None
    two = {**lone, STAGES: stage(8, 1, 0) + stage(9, 1, 0), STAGE_FILTERS: bytes(16)}
    refusal = ("stages", "0x1", "events, and with exec allowed one stage at the entry point")
    assert refusal_in_python(assembled(two, flag)) == refusal_in_c(assembled(two, flag)) == refusal


@pytest.mark.parametrize("index", [1, 2**32 - 1])
def test_a_relocation_behind_the_filter(index: int) -> None:
    contents = {**CONTENTS, ENTRY_POINT: bytes(8), RELOCATIONS: relocation(index, 0, 0)}
    refusal = ("relocations.index", f"{index} in a filter of 1", "instructions of the filter")
    assert refusal_in_python(assembled(contents)) == refusal_in_c(assembled(contents)) == refusal


@pytest.mark.parametrize(("kind", "name"), [(1, "program"), (2, "digest"), (3, "filter"), (4, "argv")])
def test_both_readers_say_which_section_is_missing(kind: int, name: str) -> None:
    data = assembled({k: content for k, content in CONTENTS.items() if k != kind})
    refusal = ("sections", f"no {name}", "program, digest, filter and argv")
    assert refusal_in_python(data) == refusal_in_c(data) == refusal


def test_the_assembled_plan_is_good_without_damage() -> None:
    assert refusal_in_python(assembled(CONTENTS)) is refusal_in_c(assembled(CONTENTS)) is None


UNHOLDABLE: dict[str, tuple[dict[str, Any], str]] = {
    "relative path": ({"program": b"bin/a"}, "program"),
    "root": ({"program": b"/"}, "program"),
    "NUL in the path": ({"program": b"/a\0b"}, "program"),
    "long path": ({"program": b"/" + b"a" * 4095}, "program"),
    "short digest": ({"digest": bytes(31)}, "digest"),
    "no filter": ({"filter": b""}, "sections"),
    "filter of 7 bytes": ({"filter": bytes(7)}, "filter"),
    "filter of 4097": ({"filter": bytes(8 * 4097)}, "filter"),
    "no argument": ({"argv": ()}, "sections"),
    "NUL in an argument": ({"argv": (b"a\0",)}, "argv"),
    "65537 arguments": ({"argv": (b"",) * 65537}, "argv"),
    "no equals sign": ({"environment": (b"A",)}, "environment.entry"),
    "no name": ({"environment": (b"=1",)}, "environment.entry"),
    "NUL in the environment": ({"environment": (b"A=\0",)}, "environment"),
    "LD_PRELOAD": ({"environment": (b"LD_PRELOAD=/x",)}, "environment.loader"),
    "LD_ of the future": ({"environment": (b"LD_ANYTHING=",)}, "environment.loader"),
    "GLIBC_TUNABLES": ({"environment": (b"GLIBC_TUNABLES=a=b",)}, "environment.loader"),
    "GCONV_PATH": ({"environment": (b"GCONV_PATH=/x",)}, "environment.loader"),
    "core limit": ({"limits": (ResourceLimit(4, 0, 0),)}, "limits.resource"),
    "unknown limit": ({"limits": (ResourceLimit(16, 0, 0),)}, "limits.resource"),
    "negative limit": ({"limits": (ResourceLimit(0, -1, 0),)}, "limits"),
    "limits out of order": ({"limits": (ResourceLimit(7, 0, 0), ResourceLimit(1, 0, 0))}, "limits.resource"),
    "soft above hard": ({"limits": (ResourceLimit(1, 2, 1),)}, "limits.soft"),
    "unknown flag": ({"flags": PlanFlag(0).__class__(2048)}, "header.flags"),
    "negative entry point": ({"entry_point": -1}, "entry-point"),
    "entry point alone": ({"entry_point": 1}, "entry-point"),
    "relocations alone": ({"relocations": (Relocation(0, Moved.VDSO, Part.LOW),)}, "entry-point"),
    "seals alone": ({"sealed": (range(PAGE, 2 * PAGE),)}, "entry-point"),
    "a seal below 0": ({"sealed": (range(-PAGE, PAGE),)}, "sealed.address"),
    "negative relocation": ({"relocations": (Relocation(-1, Moved.VDSO, Part.LOW),)}, "relocations.index"),
}


@pytest.mark.parametrize("name", UNHOLDABLE)
def test_plans_that_cannot_be(name: str) -> None:
    changes, where = UNHOLDABLE[name]
    with pytest.raises(PlanFormatError) as caught:
        encode(dataclasses.replace(SMALL, **changes))
    assert caught.value.where == where


def test_flag_lets_the_loader_be_steered() -> None:
    plan = dataclasses.replace(SMALL, environment=(b"LD_X=1",), flags=PlanFlag.LOADER_ENVIRONMENT)
    assert refusal_in_c(encode(plan)) is None


def test_names_that_only_look_like_the_loaders() -> None:
    names = (b"LD=1", b"XLD_A=1", b"GLIBC_TUNABLESX=1", b"GCONV_PATHS=1", b"ld_x=1")
    assert refusal_in_c(encode(dataclasses.replace(SMALL, environment=names))) is None


def test_text_of_an_error() -> None:
    with pytest.raises(PlanFormatError) as caught:
        decode(put(GOOD, 8, "<H", 2))
    assert str(caught.value) == "header.version: found 2, want 1 (native/plan.h)"


def test_the_file_is_what_its_documentation_says() -> None:
    magic, version, arch, size, sections, flags, reserved = struct.unpack_from("<8sHHIIIQ", GOOD)
    assert (magic, version, arch, size, sections, flags, reserved) == (b"SHIMPLAN", 1, 1, len(GOOD), 6, 5, 0)
    assert struct.unpack_from("<IIII", GOOD, 32) == (1, 128, 7, 0)
    assert GOOD[128:136] == b"/bin/a\0\0"
