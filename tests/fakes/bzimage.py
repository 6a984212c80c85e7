"""Small kernels: an EFI program with the setup header of a bzImage, and what may be wrong with it."""

from __future__ import annotations

import struct

from tests.fakes import pe

RELEASE = "6.12.0-fake"
LIMIT = 2047
MACHINE_AT = 68


def kernel(  # one number of the header each
    *,
    release: str = RELEASE,
    limit: int = LIMIT,
    magic: bytes = b"HdrS",
    protocol: int = 0x20F,
    load_flags: int = 1,
    extended_flags: int = 0x3F,
    version_at: int = 0x300,
    setup_sectors: int = 2,
    machine: int = 0x8664,
    text: bytes = b"kernel" * 300,
) -> bytes:
    """Return a kernel that is large enough to have a version, and does nothing."""
    data = bytearray(pe.image([(".setup", bytes(1024)), (".text", text)]))
    data[0x1F1] = setup_sectors
    struct.pack_into("<4sH", data, 0x202, magic, protocol)
    struct.pack_into("<H", data, 0x20E, version_at)
    data[0x211] = load_flags
    struct.pack_into("<HI", data, 0x236, extended_flags, limit)
    words = f"{release} (someone) #1 SMP\0".encode()
    data[0x500 : 0x500 + len(words)] = words
    struct.pack_into("<H", data, MACHINE_AT, machine)
    return bytes(data)
