"""Small PE images: a header, sections, and what may be wrong with them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

ALIGNMENT = 512
MAGIC = b"#### LoaderInfo: systemd-stub 257.13-1 ####\0"


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
