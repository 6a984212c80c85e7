"""/etc/ld.so.cache as ldconfig writes it, in both formats, and every way in which it can be damaged."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shim.elf.ldcache import CacheEntry, parse_cache
from shim.errors import BinaryError

BASELINE, NAMED = 0, 1 << 62


def cache(
    entries: list[tuple[int, str, str, int]], hwcaps: tuple[str, ...] = (), *, old_entries: int | None = None
) -> bytes:
    """Return a cache of (flags, name, path, hwcap) entries, behind one of the old format if asked."""
    table = 48 + 24 * len(entries)
    strings, records = b"", b""

    def place(text: str) -> int:
        nonlocal strings
        offset = table + len(strings)
        strings += text.encode() + b"\0"
        return offset

    for flags, name, path, hwcap in entries:
        records += struct.pack("<iIIIQ", flags, place(name), place(path), 0, hwcap)
    words = [place(name) for name in hwcaps]
    extension = b""
    at = 0
    if hwcaps:
        strings += bytes(-len(strings) % 4)
        at = table + len(strings)
        extension = struct.pack("<IIIIII", 0xEAA42174, 1, 1, 0, at + 24, 4 * len(words)) + struct.pack(
            f"<{len(words)}I", *words
        )
    header = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(entries), len(strings), 2, at)
    new = header + records + strings + extension
    if old_entries is None:
        return new
    old = b"ld.so-1.7.0\0" + struct.pack("<I", old_entries) + bytes(12 * old_entries)
    return old + bytes(-len(old) % 8) + new


ENTRIES = [
    (0x0303, "libz.so.1", "/usr/lib/glibc-hwcaps/x86-64-v3/libz.so.1", NAMED | 3 << 32 | 1),
    (0x0303, "libz.so.1", "/lib/haswell/libz.so.1", 1 << 2),
    (0x0303, "libz.so.1", "/lib/libz.so.1", BASELINE),
    (0x0003, "libz.so.1", "/lib32/libz.so.1", BASELINE),
    (0x0803, "liba.so.1", "/libx32/liba.so.1", BASELINE),
]
WHOLE = cache(ENTRIES, ("x86-64-v2", "x86-64-v3"))


@pytest.mark.parametrize("old_entries", [None, 0, 1, 2, 3])
def test_both_formats(old_entries: int | None) -> None:
    found = parse_cache(cache(ENTRIES, ("x86-64-v2", "x86-64-v3"), old_entries=old_entries), "cache")
    assert found == {
        "libz.so.1": (
            CacheEntry("/usr/lib/glibc-hwcaps/x86-64-v3/libz.so.1", "x86-64-v3"),
            CacheEntry("/lib/haswell/libz.so.1", "hwcap 0x4"),
            CacheEntry("/lib/libz.so.1", ""),
        )
    }


def test_the_machines_own_cache_is_what_ldconfig_says() -> None:
    ldconfig = shutil.which("ldconfig") or shutil.which("/sbin/ldconfig")
    if ldconfig is None or not Path("/etc/ld.so.cache").exists():
        pytest.skip("ldconfig or /etc/ld.so.cache is absent")
    said = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    want: dict[str, list[str]] = {}
    for line in said.splitlines()[1:]:
        name, _, rest = line.strip().partition(" (")
        if rest.startswith("libc6,x86-64)") or (rest.startswith("libc6,x86-64,") and "=>" in rest):
            want.setdefault(name, []).append(rest.split("=> ")[1])
    found = parse_cache(Path("/etc/ld.so.cache").read_bytes(), "/etc/ld.so.cache")
    assert {name: [entry.path for entry in entries] for name, entries in found.items()} == want


# (damaged bytes, a piece of the text)
DAMAGED = {
    "empty": (b"", "header"),
    "magic": (b"glibc-ld.so.cache1.2" + WHOLE[20:], "magic"),
    "big-endian": (WHOLE[:28] + b"\x03" + WHOLE[29:], "flags"),
    "count": (WHOLE[:20] + b"\xff\xff\xff\xff" + WHOLE[24:], "nlibs"),
    "extension": (WHOLE[:32] + b"\xff\xff\xff\xff" + WHOLE[36:], "extension_offset"),
    "extension magic": (WHOLE[:32] + struct.pack("<I", 48) + WHOLE[36:], "extension magic"),
    "string": (WHOLE[:52] + b"\xff\xff\xff\xff" + WHOLE[56:], "string at"),
    "old count": (b"ld.so-1.7.0\0\xff\xff\xff\xff" + WHOLE, "header"),
    "old header": (b"ld.so-1.7.0\0\xff", "old header"),
    "unended string": (cache([(0x0303, "x" * 5000, "/x", 0)]), "string at"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, text = DAMAGED[name]
    with pytest.raises(BinaryError, match=text) as caught:
        parse_cache(data, "/etc/ld.so.cache")
    assert str(caught.value).startswith("/etc/ld.so.cache: ")


def test_every_prefix_is_refused() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(BinaryError):
            parse_cache(WHOLE[:length], "cache")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_anywhere_raises_nothing_else(places: list[tuple[int, int]]) -> None:
    raw = bytearray(WHOLE)
    for place, value in places:
        raw[place] = value
    try:
        parse_cache(bytes(raw), "cache")
    except BinaryError as error:
        assert "\n" not in str(error)
