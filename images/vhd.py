"""A raw disk as a fixed virtual hard disk (VHD): the same bytes, and a footer that says what they are."""

from __future__ import annotations

import struct
from uuid import UUID

from images.boot_errors import DiskError
from images.sparse import SparseImage

SOURCE = 'Microsoft "Virtual Hard Disk Image Format Specification", version 1.0, "Hard Disk Footer Format"'
MEBIBYTE = 1 << 20
_SECTOR = 512
_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_FEATURES, _VERSION = 2, 0x1_0000
_FIXED = 2
_EPOCH = 946_684_800  # 2000-01-01 UTC
_LARGEST = 2040 << 30  # what the format takes; Azure takes more from no fixed disk of the first generation
_MOST_SECTORS = 65535 * 16 * 255


def fixed(disk: SparseImage, identity: UUID, created: int) -> SparseImage:
    """
    Return the disk as a fixed VHD.

    Args:
        disk: Whole mebibytes, as Azure wants it.
        identity: What the file calls itself.
        created: Seconds since 1970; the format counts from 2000, and has nothing before.

    Raises:
        DiskError: a size that is not whole mebibytes or too large.

    Source:
        Microsoft "Virtual Hard Disk Image Format Specification", version 1.0, "Hard Disk Footer Format" and
        "Appendix: CHS Calculation"; Azure, "Prepare a Windows VHD or VHDX to upload to Azure", for the size.
    """
    if disk.size % MEBIBYTE or not 0 < disk.size <= _LARGEST:
        raise DiskError("VHD", f"{disk.size} bytes", f"whole mebibytes, at most {_LARGEST} bytes", SOURCE)
    footer = _footer(disk.size, identity, min(max(created - _EPOCH, 0), 0xFFFF_FFFF))
    return SparseImage(disk.size + len(footer), (*disk.extents, (disk.size, footer)))


def geometry(sectors: int) -> tuple[int, int, int]:
    """Return cylinders, heads and sectors per track for a disk of so many sectors, as the appendix has it."""
    sectors = min(sectors, _MOST_SECTORS)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks = sectors // 17
    heads, per_track = max(-(-tracks // 1024), 4), 17
    if tracks >= heads * 1024 or heads > 16:
        heads, per_track, tracks = 16, 31, sectors // 31
    if tracks >= heads * 1024:
        heads, per_track, tracks = 16, 63, sectors // 63
    return tracks // heads, heads, per_track


def _footer(size: int, identity: UUID, time: int) -> bytes:
    def packed(checksum: int) -> bytes:
        return _FOOTER.pack(
            b"conectix",
            _FEATURES,
            _VERSION,
            (1 << 64) - 1,
            time,
            # Of other programs readers take the size from the geometry, which is smaller than the disk.
            b"win ",
            0x6_0001,
            b"Wi2k",
            size,
            size,
            *geometry(size // _SECTOR),
            _FIXED,
            checksum,
            identity.bytes,
            0,
        )

    return packed(~sum(packed(0)) & 0xFFFF_FFFF)
