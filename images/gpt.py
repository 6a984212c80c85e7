"""A GUID partition table, primary and backup, and the MBR that protects it."""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from images.boot_errors import DiskError

SOURCE = 'UEFI 2.10, section 5.3, "GUID Partition Table (GPT) Disk Layout"'
SECTOR = 512
ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # EFI system partition; table 5.7
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIGNATURE, _REVISION, _HEADER_SIZE = b"EFI PART", 0x1_0000, 92
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRIES = 128
_TABLE_SECTORS = _ENTRIES * _ENTRY.size // SECTOR
FIRST_USABLE = 2 + _TABLE_SECTORS
_LONGEST_NAME = 70  # bytes of UTF-16, before a final zero
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_PROTECTIVE = 0xEE
_MBR_TABLE = 446
_SMALLEST = FIRST_USABLE + _TABLE_SECTORS + 2


@dataclass(frozen=True, slots=True)
class Partition:
    """
    A partition.

    Attributes:
        kind: What it is for.
        guid: Its own.
        first, last: Its sectors, the last one included.
        name: For people.
    """

    kind: UUID
    guid: UUID
    first: int
    last: int
    name: str


def table(partitions: tuple[Partition, ...], disk: UUID, sectors: int) -> tuple[tuple[int, bytes], ...]:
    """
    Return the bytes before and behind the partitions, each with its place on the disk.

    Args:
        partitions: In the order of the table.
        disk: The GUID of the disk.
        sectors: How many it has, of 512 bytes.

    Raises:
        DiskError: a disk without room for the tables, too many partitions, one outside of what may be used or
            on top of another, a GUID twice, or a name that does not fit.

    Source:
        UEFI 2.10, section 5.2.3, "Protective MBR", and 5.3, "GUID Partition Table (GPT) Disk Layout".
    """
    _check(partitions, sectors)
    entries = b"".join(_entry(partition) for partition in partitions).ljust(_TABLE_SECTORS * SECTOR, b"\0")
    last = sectors - 1
    first = _mbr(sectors) + _header(disk, entries, 1, last, 2, sectors) + entries
    behind = last - _TABLE_SECTORS
    backup = entries + _header(disk, entries, last, 1, behind, sectors)
    return (0, first), (behind * SECTOR, backup)


def last_usable(sectors: int) -> int:
    """Return the last sector that a partition may have."""
    return sectors - _TABLE_SECTORS - 2


def _mbr(sectors: int) -> bytes:
    """Return the sector that tells tools without GPT that the disk is full."""
    size = min(sectors - 1, 0xFFFF_FFFF)
    entry = _MBR_ENTRY.pack(0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, size)
    return (bytes(_MBR_TABLE) + entry).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _header(disk: UUID, entries: bytes, here: int, other: int, table_at: int, sectors: int) -> bytes:
    places = (here, other, FIRST_USABLE, last_usable(sectors))
    behind = (disk.bytes_le, table_at, _ENTRIES, _ENTRY.size, zlib.crc32(entries))
    blank = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER_SIZE, 0, 0, *places, *behind)
    checked = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER_SIZE, zlib.crc32(blank), 0, *places, *behind)
    return checked.ljust(SECTOR, b"\0")


def _entry(partition: Partition) -> bytes:
    name = partition.name.encode("utf-16-le")
    return _ENTRY.pack(
        partition.kind.bytes_le, partition.guid.bytes_le, partition.first, partition.last, 0, name
    )


def _check(partitions: tuple[Partition, ...], sectors: int) -> None:
    if sectors < _SMALLEST:
        raise DiskError("disk", f"{sectors} sectors", f"at least {_SMALLEST}", SOURCE)
    if len(partitions) > _ENTRIES:
        raise DiskError("partitions", str(len(partitions)), f"at most {_ENTRIES}", SOURCE)
    for partition in partitions:
        where = f"partition {partition.name}"
        if not FIRST_USABLE <= partition.first <= partition.last <= last_usable(sectors):
            found = f"sectors {partition.first} to {partition.last}"
            raise DiskError(where, found, f"some of {FIRST_USABLE} to {last_usable(sectors)}", SOURCE)
        if not partition.name.isprintable() or len(partition.name.encode("utf-16-le")) > _LONGEST_NAME:
            raise DiskError(where, "another name", f"at most {_LONGEST_NAME // 2} printable letters", SOURCE)
    if len({partition.guid for partition in partitions}) < len(partitions):
        raise DiskError("partitions", "a GUID twice", "each its own", SOURCE)
    ordered = sorted(partitions, key=lambda partition: partition.first)
    for before, after in itertools.pairwise(ordered):
        if before.last >= after.first:
            raise DiskError(f"partition {after.name}", f"sector {after.first} twice", "each once", SOURCE)
