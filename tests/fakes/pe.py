"""Small PE images: a header, sections, and what may be wrong with them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

ALIGNMENT = 512
MAGIC = b"#### LoaderInfo: systemd-stub 257.13-1 ####\0"
# What is in a stub before anything is added.
ORIGINAL = ((".text", b"stub" * 200), (".sdmagic", MAGIC), (".sbat", b"sbat,1,SBAT Version,sbat,1\n"))
_PE, _OPTIONAL = 64, 64 + 24


def image(
    sections: Sequence[tuple[str, bytes]],
    *,
    behind: bytes = b"",
    magic: int = 0x20B,
    directories: int = 16,
    fields: Mapping[str, int] | None = None,
    virtual: Mapping[str, int] | None = None,
) -> bytes:
    """Return an image with these sections, and `behind` them what belongs to none."""
    fixed = 112 if magic == 0x20B else 96
    optional_size = fixed + 8 * directories
    headers = -(-(64 + 24 + optional_size + 40 * len(sections)) // ALIGNMENT) * ALIGNMENT
    given = {"headers": headers, "count": len(sections), "directories": directories, **(fields or {})}
    optional = bytearray(optional_size)
    struct.pack_into("<H", optional, 0, magic)
    struct.pack_into("<II", optional, 60, given["headers"], 0xDEADBEEF)
    struct.pack_into("<I", optional, fixed - 4, given["directories"])
    table, data, offset, address = b"", b"", headers, 0x1000
    for name, contents in sections:
        size = -(-len(contents) // ALIGNMENT) * ALIGNMENT
        row = (name.encode(), (virtual or {}).get(name, len(contents)), address, size, offset if size else 0)
        table += struct.pack("<8sIIII16x", *row)
        data += contents.ljust(size, b"\0")
        offset, address = offset + size, address + 0x100000
    coff = struct.pack("<HHIIIHH", 0x8664, given["count"], 0, 0, 0, optional_size, 0x22)
    start = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + coff
    return (start + optional + table).ljust(headers, b"\0") + data + behind


def uki(overrides: Mapping[str, bytes | None] | None = None, **others: bytes) -> bytes:
    """Return a unified kernel image; an override of None leaves a section out."""
    sections: dict[str, bytes | None] = {
        ".text": b"stub" * 200,
        ".sdmagic": MAGIC,
        ".sbat": b"sbat,1,SBAT Version,sbat,1\n",
        ".osrel": b"ID=shim\n",
        ".cmdline": b"console=ttyS0 quiet",
        ".initrd": b"070701" * 101,
        ".linux": image([(".text", b"kernel" * 300)]),
        ".uname": b"6.12.0",
    }
    chosen = sections | dict(overrides or {}) | others
    return image([(name, data) for name, data in chosen.items() if data is not None])


def stub(
    sections: Sequence[tuple[str, bytes]] = ORIGINAL,
    *,
    room: int = 1024,
    machine: int = 0x8664,
    magic: int = 0x20B,
    subsystem: int = 10,
    alignments: tuple[int, int] = (4096, 512),
    behind: bytes = b"",
) -> bytes:
    """Return an EFI program whose headers take `room` bytes."""
    made = image(sections, magic=magic)
    first = struct.unpack_from("<I", made, _OPTIONAL + 60)[0]
    data = bytearray(made[:first].ljust(room, b"\0") + made[first:] + behind)
    struct.pack_into("<I", data, _OPTIONAL + 60, room)
    struct.pack_into("<H", data, _PE + 4, machine)
    struct.pack_into("<II", data, _OPTIONAL + 32, *alignments)
    struct.pack_into("<H", data, _OPTIONAL + 68, subsystem)
    for number in range(len(sections)):
        at = _OPTIONAL + struct.unpack_from("<H", data, _PE + 20)[0] + 40 * number + 20
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + room - first)
    return bytes(data)
