"""Firmware images that look like OVMF at their end, with one override per case."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from uuid import UUID

FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
HASHES = "7255371f-3a3b-4b04-927b-1da6efa8d454"
SEV = "dc886566-984a-4798-a75e-5585a7bf67cc"
TDX = "e47a6535-984a-4798-865e-4685a7bf8ec2"
SVSM = "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd"

# Address, size, kind: what edk2's OvmfPkg/AmdSev built in 2023, with the hashes at 0x810c00.
AMD_SEV = (
    (0x800000, 0x9000, 1),
    (0x80A000, 0x3000, 1),
    (0x80D000, 0x1000, 2),
    (0x80E000, 0x1000, 3),
    (0x80F000, 0x1000, 4),
    (0x810000, 0x1000, 0x10),
    (0x811000, 0xF000, 1),
)
HASH_AREA = (0x810C00, 0x400)
AP_ADDRESS = 0x80B004
# Offset and size in the image, address and size in memory, kind, attributes; for an image of 64 KiB.
TDVF = (
    (0x4000, 0xC000, 0xFFFF4000, 0xC000, 0, 1),
    (0, 0x4000, 0xFFFF0000, 0x4000, 1, 0),
    (0, 0, 0x810000, 0x2000, 3, 0),
    (0, 0, 0x809000, 0x2000, 2, 0),
)


def entry(guid: str, data: bytes) -> bytes:
    return data + struct.pack("<H16s", len(data) + 18, UUID(guid).bytes_le)


def sev_metadata(sections: Sequence[tuple[int, int, int]], **header: int | bytes) -> bytes:
    fields = {"signature": b"ASEV", "size": 16 + 12 * len(sections), "version": 1, "count": len(sections)}
    packed = struct.pack("<4sIII", *(fields | header).values())
    return packed + b"".join(struct.pack("<III", *row) for row in sections)


def tdx_metadata(sections: Sequence[tuple[int, ...]], **header: int | bytes) -> bytes:
    fields = {"signature": b"TDVF", "size": 16 + 32 * len(sections), "version": 1, "count": len(sections)}
    packed = struct.pack("<4sIII", *(fields | header).values())
    return packed + b"".join(struct.pack("<IIQQII", *row) for row in sections)


def firmware(
    sev: bytes | None = None,
    tdx: bytes | None = None,
    *,
    size: int = 0x10000,
    entries: Mapping[str, bytes | None] | None = None,
    table_size: int | None = None,
    seed: bytes = b"firmware",
) -> bytes:
    """Return an image of pseudorandom bytes, with both kinds of metadata and the table at its end."""
    parts = {SEV: sev_metadata(AMD_SEV) if sev is None else sev}
    parts[TDX] = tdx_metadata(TDVF) if tdx is None else tdx
    tail, data = b"", {RESET: struct.pack("<I", AP_ADDRESS), HASHES: struct.pack("<II", *HASH_AREA)}
    behind = 0x400  # the table and what is behind it
    for guid, metadata in parts.items():
        tail = metadata + tail
        data[guid] = struct.pack("<I", behind + len(tail))
    table = b"".join(
        entry(guid, value) for guid, value in (data | dict(entries or {})).items() if value is not None
    )
    total = len(table) + 18 if table_size is None else table_size
    table += struct.pack("<H16s", total & 0xFFFF, UUID(FOOTER).bytes_le)
    end = table.rjust(behind - 32, b"\0") + bytes(32)
    body = b"".join(
        hashlib.shake_128(seed + page.to_bytes(4, "little")).digest(4096) for page in range(size // 4096)
    )
    return body[: size - len(tail) - len(end)] + tail + end
