"""Dynamic sections, symbol, version and hash tables that are not what they seem: only errors of ours, in time."""

from __future__ import annotations

import struct
import time
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from shim.elf.closure import closure
from shim.elf.dynamic import read_dynamic
from shim.elf.dynsym import read_symbols
from shim.elf.files import RootedFiles
from shim.elf.image import ElfImage, parse_elf
from shim.elf.link import exported, link
from shim.errors import BinaryError, MalformedElfError, UnsupportedElfError

LIBRARY = """
__attribute__((symver("f@V1"))) int f1(void) { return 1; }
__attribute__((symver("f@@V2"))) int f2(void) { return 2; }
extern void *__libc_stack_end; __thread int t = 1;
int g(void) { return (__libc_stack_end != 0) + t; } void *table[] = { g, &__libc_stack_end, f2, table };
"""
LOADER = "/lib64/ld-linux-x86-64.so.2"
SCRIPT = "V1 { global: f; g; table; local: *; }; V2 { global: f; } V1;"
MAIN = "int f(void), g(void); extern void *table[]; int main(void) { return f() + g() + (table[0] != 0); }"


class OneLibrary:
    """The machine's files, and `/lib.so`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.real = RootedFiles()

    def read(self, path: str) -> bytes | None:
        return self.data if path == "/lib.so" else self.real.read(path)

    def canonical(self, path: str) -> str:
        return path if path == "/lib.so" else self.real.canonical(path)

    def listing(self, path: str) -> tuple[str, ...]:
        return self.real.listing(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ElfImage]:
    """Return a library with every kind of table, and a program that needs it as /lib.so."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "lib.c").write_text(LIBRARY)
    (folder / "main.c").write_text(MAIN)
    (folder / "script").write_text(SCRIPT)
    shared = [
        "-shared",
        "-fPIC",
        "-Wl,-soname,/lib.so",
        "-Wl,--version-script=script",
        "-Wl,--hash-style=both",
    ]
    program = ["-no-pie", "-fno-pic", "-Wl,-e,main", "-Wl,--allow-shlib-undefined"]
    # Without libc, so that one closure takes milliseconds; the loader defines what the library needs.
    for command in (
        ["lib.c", LOADER, *shared, "-o", "lib.so"],
        ["main.c", "./lib.so", *program, "-o", "main"],
    ):
        if run(["gcc", "-O1", "-nostdlib", *command], cwd=folder, check=False).returncode:
            pytest.skip("gcc cannot build the library")
    return (folder / "lib.so").read_bytes(), parse_elf((folder / "main").read_bytes(), "/main")


def use(data: bytes, program: ElfImage) -> None:
    found = closure(program, OneLibrary(data))
    link(found)
    exported(found.objects[1])


def read(data: bytes) -> None:
    image = parse_elf(data, "lib.so", shared=True)
    read_symbols(image, read_dynamic(image))


def tags(data: bytes) -> dict[Any, int]:
    return dict(parse_elf(data, "lib.so", base=0, shared=True).dynamic)


def entry_of(data: bytes, tag: int) -> int:
    """Return the file offset of one entry of PT_DYNAMIC."""
    [start] = struct.unpack_from("<Q", data, 32)
    [count] = struct.unpack_from("<H", data, 56)
    for index in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, start + index * 56)
        for entry in range(offset, offset + size, 16) if kind == 2 else ():
            if struct.unpack_from("<Q", data, entry) == (tag,):
                return entry
    raise LookupError(hex(tag))


def with_tag(data: bytes, tag: int, value: int, new_tag: int | None = None) -> bytes:
    raw = bytearray(data)
    struct.pack_into("<QQ", raw, entry_of(data, tag), tag if new_tag is None else new_tag, value)
    return bytes(raw)


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    raw = bytearray(data)
    struct.pack_into("<" + layout, raw, offset, value)
    return bytes(raw)


def test_the_undamaged_library_is_used(built: tuple[bytes, ElfImage]) -> None:
    use(*built)


NEEDED, STRTAB, SYMTAB, RELA, RELASZ, RELAENT, STRSZ, SYMENT, SONAME = 1, 5, 6, 7, 8, 9, 10, 11, 14
PLTREL, JMPREL, PLTRELSZ, RUNPATH, GNU_HASH = 20, 23, 2, 29, 0x6FFFFEF5
VERSYM, VERDEF, VERNEED = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE
FAR = 1 << 62

# (tag, its new value, a piece of the message)
TAGS = [
    (NEEDED, FAR, "DT_NEEDED"),
    (SONAME, 0xFFFFFF, "DT_SONAME"),
    (STRTAB, FAR, "DT_STRTAB"),
    (STRSZ, FAR, "DT_STRTAB"),
    (STRSZ, 1, "DT_NEEDED"),
    (SYMTAB, FAR, "DT_SYMTAB"),
    (SYMENT, 23, "DT_SYMENT"),
    (RELA, FAR, "DT_RELA"),
    (RELASZ, 25, "DT_RELASZ"),
    (RELASZ, FAR - FAR % 24, "DT_RELA"),
    (RELAENT, 16, "DT_RELAENT"),
    (PLTREL, 17, "DT_REL"),
    (JMPREL, FAR, "DT_JMPREL"),
    (PLTRELSZ, 7, "DT_PLTRELSZ"),
    (GNU_HASH, FAR, "DT_GNU_HASH"),
    (VERSYM, FAR, "DT_VERSYM"),
    (VERDEF, FAR, "DT_VERDEF"),
    (VERNEED, FAR, "DT_VERNEED"),
]


@pytest.mark.parametrize(("tag", "value", "text"), TAGS)
def test_tags_that_lead_nowhere(built: tuple[bytes, ElfImage], tag: int, value: int, text: str) -> None:
    with pytest.raises((MalformedElfError, UnsupportedElfError), match=text) as caught:
        read(with_tag(built[0], tag, value))
    assert caught.value.where.startswith("lib.so: ")


def test_symbols_without_a_table(built: tuple[bytes, ElfImage]) -> None:
    with pytest.raises(MalformedElfError, match="no DT_SYMTAB"):
        read(with_tag(built[0], SYMTAB, 0, new_tag=0x6FFFFDF5))


def file_place(data: bytes, address: int) -> int:
    segment = next(
        s for s in parse_elf(data, "", base=0, shared=True).segments if s.address <= address < s.end
    )
    return address - segment.address + segment.offset


# (table, offset in it, layout, value, a piece of the message)
FIELDS = [
    ("DT_GNU_HASH", 0, "I", 0xFFFFFFFF, "DT_GNU_HASH buckets"),
    ("DT_GNU_HASH", 8, "I", 0xFFFFFFFF, "DT_GNU_HASH buckets"),
    ("DT_GNU_HASH", 4, "I", 0xFFFFFFF0, "DT_GNU_HASH bucket"),
    ("DT_GNU_HASH", 24, "I", 0x7FFFFFFF, "DT_GNU_HASH chain"),
    ("DT_SYMTAB", 24, "I", 0xFFFFFFF0, "st_name"),
    ("DT_RELA", 0, "Q", FAR, "relocations"),
    ("DT_RELA", 12, "I", 0xFFFFFFF0, "DT_SYMTAB"),
    ("DT_RELA", 8, "I", 0xEE, "type 238"),
    ("DT_VERDEF", 0, "H", 9, "vd_version"),
    ("DT_VERDEF", 16, "I", 3, "vd_next"),
    ("DT_VERDEF", 16, "I", 0xFFFFFFF0, "DT_VERDEF"),
    ("DT_VERDEF", 12, "I", 0xFFFFFFF0, "DT_VERDEF auxiliary"),
    ("DT_VERDEF", 20, "I", 0xFFFFFFF0, "vda_name"),
    ("DT_VERNEED", 0, "H", 0, "vn_version"),
    ("DT_VERNEED", 4, "I", 0xFFFFFFF0, "vn_file"),
    ("DT_VERNEED", 8, "I", 0xFFFFFFF0, "DT_VERNEED auxiliary"),
    ("DT_VERNEED", 12, "I", 1, "vn_next"),
    ("DT_VERNEED", 24, "I", 0xFFFFFFF0, "vna_name"),
    ("DT_VERNEED", 28, "I", 15, "vna_next"),
]


@pytest.mark.parametrize(("table", "offset", "layout", "value", "text"), FIELDS)
def test_fields_that_lead_nowhere(built: tuple[bytes, ElfImage], table: str, offset: int, layout: str, value: int, text: str) -> None:  # fmt: skip
    data, program = built
    broken = patched(data, file_place(data, tags(data)[table]) + offset, layout, value)
    with pytest.raises((MalformedElfError, UnsupportedElfError), match=text):
        use(broken, program)


def test_a_hash_chain_without_an_end(built: tuple[bytes, ElfImage]) -> None:
    """Every word behind the chains is made even: the chain would run on to the end of its segment."""
    data = built[0]
    start = file_place(data, tags(data)["DT_GNU_HASH"])
    buckets, _, words, _ = struct.unpack_from("<IIII", data, start)
    chain = start + 16 + 8 * words + 4 * buckets
    end = next(
        s.offset + s.file_size for s in parse_elf(data, "", base=0, shared=True).segments if s.offset <= start
    )
    raw = bytearray(data)
    for place in range(chain, end, 4):
        raw[place] &= 0xFE
    with pytest.raises(MalformedElfError):
        read(bytes(raw))


def test_a_name_longer_than_any(built: tuple[bytes, ElfImage]) -> None:
    data = built[0]
    image = parse_elf(data, "lib.so", base=0, shared=True)
    raw = bytearray(data) + b"x" * (1 << 17)
    [start] = struct.unpack_from("<Q", raw, 32)
    for index in range(struct.unpack_from("<H", raw, 56)[0]):
        if struct.unpack_from("<IIQ", raw, start + 56 * index)[:3:2] == (1, 0):
            size = len(raw) // 4096 * 4096
            struct.pack_into("<QQ", raw, start + 56 * index + 32, size, size)
    del raw[len(raw) // 4096 * 4096 :]
    assert image.segments
    with pytest.raises(BinaryError):
        read(bytes(raw))


def test_many_tails_of_one_string_take_no_time(built: tuple[bytes, ElfImage]) -> None:
    """Each of many symbols has a long tail of the same string as its name."""
    data, _ = built
    strings, symbols, count = 60_000, 1 << 20, 40_000
    raw = bytearray(data) + bytes(-len(data) % 4096)
    start = len(raw)
    raw += b"x" * strings + bytes(symbols - strings)
    raw += b"".join(struct.pack("<IBBHQQ", index % 1000, 0x12, 0, 1, 1, 0) for index in range(count))
    raw += struct.pack("<II", 1, count) + bytes(4 * count + 4)
    address = 1 << 32
    [headers] = struct.unpack_from("<Q", raw, 32)
    kinds = [
        struct.unpack_from("<I", raw, headers + 56 * i)[0]
        for i in range(struct.unpack_from("<H", raw, 56)[0])
    ]
    place = headers + 56 * kinds.index(4)  # a PT_NOTE becomes a PT_LOAD
    size = len(raw) - start
    struct.pack_into("<IIQQQQQQ", raw, place, 1, 4, start, address, address, size, size, 4096)
    broken = with_tag(bytes(raw), STRTAB, address)
    broken = with_tag(broken, STRSZ, strings + 1)
    broken = with_tag(broken, SYMTAB, address + symbols)
    broken = with_tag(broken, GNU_HASH, address + symbols + 24 * count, new_tag=4)
    broken = with_tag(broken, VERDEF, 0, new_tag=0x6FFFFDF5)
    broken = with_tag(broken, VERNEED, 0, new_tag=0x6FFFFDF5)
    broken = with_tag(broken, NEEDED, 0)
    broken = with_tag(broken, SONAME, 0)
    before = time.process_time()
    with pytest.raises(MalformedElfError, match="bytes of names"):
        read(broken)
    assert time.process_time() - before < 5


def test_version_records_that_share_their_ends_take_no_time(built: tuple[bytes, ElfImage]) -> None:
    """A thousand DT_VERNEED records whose auxiliary chains are one long chain."""
    data, _ = built
    raw = bytearray(data) + bytes(-len(data) % 4096)
    start, address, count, length = len(raw), 1 << 32, 1000, 30_000
    for index in range(count):
        raw += struct.pack("<HHIII", 1, 1, 1, 16 * (count - index), 16 if index < count - 1 else 0)
    for index in range(length):
        raw += struct.pack("<IHHII", 7, 0, 2, 1, 16 if index < length - 1 else 0)
    [headers] = struct.unpack_from("<Q", raw, 32)
    kinds = [
        struct.unpack_from("<I", raw, headers + 56 * i)[0]
        for i in range(struct.unpack_from("<H", raw, 56)[0])
    ]
    size = len(raw) - start
    struct.pack_into(
        "<IIQQQQQQ", raw, headers + 56 * kinds.index(4), 1, 4, start, address, address, size, size, 4096
    )
    before = time.process_time()
    with pytest.raises(MalformedElfError, match="more records"):
        read(with_tag(bytes(raw), VERNEED, address))
    assert time.process_time() - before < 5


def test_every_prefix_is_refused(built: tuple[bytes, ElfImage]) -> None:
    data, program = built
    for length in range(0, len(data), 61):
        with pytest.raises(BinaryError):
            use(data[:length], program)


def test_prefixes_of_a_real_library_are_refused() -> None:
    path = next(iter(sorted(Path("/usr/lib/x86_64-linux-gnu").glob("libz.so.1*"))), None)
    if path is None:
        pytest.skip("libz is not installed")
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 300):
        with pytest.raises(BinaryError):
            read(data[:length])


@cache
def interesting(data: bytes) -> list[int]:
    """Return the file offsets of every byte that dynamic linking reads, but for code and data."""
    known = tags(data)
    places: list[int] = list(range(64, 64 + 56 * struct.unpack_from("<H", data, 56)[0]))
    first = entry_of(data, NEEDED)
    places += range(first, first + 16 * len(known) + 16)
    for tag, size in (("DT_SYMTAB", 24 * 16), ("DT_STRTAB", 200), ("DT_GNU_HASH", 80), ("DT_HASH", 80),
                      ("DT_VERSYM", 32), ("DT_VERDEF", 100), ("DT_VERNEED", 64), ("DT_RELA", 240), ("DT_JMPREL", 24)):  # fmt: skip
        if tag in known:
            start = file_place(data, known[tag])
            places += range(start, min(start + size, len(data)))
    return places


BYTES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damage=st.lists(st.tuples(st.integers(0, 1 << 16), BYTES), min_size=1, max_size=6))
def test_damage_in_any_table_raises_nothing_else(
    built: tuple[bytes, ElfImage], damage: list[tuple[int, int]]
) -> None:
    data, program = built
    places = interesting(data)
    raw = bytearray(data)
    for place, value in damage:
        raw[places[place % len(places)]] = value
    try:
        use(bytes(raw), program)
    except BinaryError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damage=st.lists(st.tuples(st.integers(0, 40), st.integers(0, (1 << 64) - 1)), min_size=1, max_size=3))
def test_any_value_in_any_tag_raises_nothing_else(
    built: tuple[bytes, ElfImage], damage: list[tuple[int, int]]
) -> None:
    data, program = built
    first, count = entry_of(data, NEEDED), len(tags(data))
    raw = bytearray(data)
    for index, value in damage:
        struct.pack_into("<Q", raw, first + 16 * (index % count) + 8, value)
    try:
        use(bytes(raw), program)
    except BinaryError as error:
        assert "\n" not in str(error)
