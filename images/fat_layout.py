"""Where is what in a FAT file system of a given size, and what do its first sectors say?"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from images.boot_errors import DiskError

SOURCE = 'Microsoft FAT32 File System Specification, version 1.03, "Boot Sector and BPB Structure"'
SECTOR = 512
MEBIBYTE = 1 << 20
FAT32_FROM = 33 * MEBIBYTE  # below, clusters of one sector are too few to be FAT32
LARGEST = 1 << 35
# Below the first size, sectors in a cluster; "FAT Volume Initialization", the table for FAT32.
_CLUSTERS_32 = ((260 * MEBIBYTE, 1), (8 << 30, 8), (16 << 30, 16), (LARGEST + 1, 32))
# How many clusters make it FAT16 and FAT32, 16 away from where others may count differently.
_LEAST = {16: 4085 + 16, 32: 65525 + 16}
_MOST = {16: 65525 - 16, 32: 0x0FFF_FFF5 - 16}
_RESERVED = {16: 1, 32: 32}
_ROOT_ENTRIES = 512
_TABLES = 2
_ENTRY_SIZE = 32
_MEDIA = 0xF8  # a fixed disk
_LABEL = re.compile(r"[A-Z0-9_-]{1,11}")
_BACKUP_SECTOR, _INFORMATION_SECTOR, _ROOT_CLUSTER = 6, 1, 2
_COMMON = struct.Struct("<3s8sHBHBHHBHHHII")
_BEHIND_32 = struct.Struct("<IHHIHH12x")
_IDENTITY = struct.Struct("<BBBI11s8s")
_SIGNATURE = b"\x55\xaa"
_SECTORS_PER_TRACK, _HEADS = 63, 255


@dataclass(frozen=True, slots=True)
class Layout:
    """
    How a file system is divided: reserved sectors, two tables, root of FAT16, clusters.

    Attributes:
        size: Of the whole, in bytes.
        bits: Of an entry in the tables, 16 or 32.
        sectors_per_cluster: A power of two.
        table_sectors: The size of each table.
        clusters: How many there are.
    """

    size: int
    bits: int
    sectors_per_cluster: int
    table_sectors: int
    clusters: int

    @classmethod
    def of(cls, size: int) -> Layout:
        """
        Return the layout of a file system of `size` bytes.

        Raises:
            DiskError: no whole sectors, too small for FAT16 or too large.
        """
        least = _LEAST[16] * SECTOR + MEBIBYTE
        if size % SECTOR or not least <= size <= LARGEST:
            raise DiskError(
                "file system", f"{size} bytes", f"whole sectors, {least} to {LARGEST} bytes", SOURCE
            )
        if size >= FAT32_FROM:
            return cls._divided(size, 32, next(count for below, count in _CLUSTERS_32 if size < below))
        per_cluster = 1
        while size // SECTOR // per_cluster > _MOST[16]:
            per_cluster *= 2
        return cls._divided(size, 16, per_cluster)

    @classmethod
    def _divided(cls, size: int, bits: int, per_cluster: int) -> Layout:
        """Return the layout with the smallest tables that have an entry for each cluster."""
        free = size // SECTOR - _RESERVED[bits] - (0 if bits == 32 else _root_sectors())
        table, clusters = 0, free // per_cluster
        while table * SECTOR < (clusters + 2) * bits // 8:
            table += 1
            clusters = (free - _TABLES * table) // per_cluster
        return cls(size, bits, per_cluster, table, clusters)

    @property
    def fat32(self) -> bool:
        """Whether the root is a directory like others."""
        return self.bits == 32

    @property
    def cluster_size(self) -> int:
        """In bytes."""
        return self.sectors_per_cluster * SECTOR

    @property
    def root_entries(self) -> int:
        """How many entries the root of FAT16 has room for."""
        return 0 if self.fat32 else _ROOT_ENTRIES

    @property
    def table_places(self) -> tuple[int, ...]:
        """Where the tables begin, in bytes."""
        first = _RESERVED[self.bits]
        return tuple((first + number * self.table_sectors) * SECTOR for number in range(_TABLES))

    def place(self, cluster: int) -> int:
        """Return where a cluster begins, in bytes; 0 stands for the root of FAT16."""
        root = _RESERVED[self.bits] + _TABLES * self.table_sectors
        if cluster == 0:
            return root * SECTOR
        first = root + (0 if self.fat32 else _root_sectors())
        return (first + (cluster - 2) * self.sectors_per_cluster) * SECTOR

    def table(self, chains: Iterable[tuple[int, int]]) -> bytes:
        """Return the used part of a table, for chains of clusters that lie in one piece: first and number."""
        end = 0xFFFF if self.bits == 16 else 0x0FFF_FFFF
        entries = [end & ~0xFF | _MEDIA, end]
        for first, count in sorted(chains):
            entries += range(first + 1, first + count)
            entries.append(end)
        return struct.pack(f"<{len(entries)}{'H' if self.bits == 16 else 'I'}", *entries)

    def headers(self, label: str, serial: int, hidden: int, used: int) -> list[tuple[int, bytes]]:
        """
        Return the sectors before the tables that are not zeros, with their places in bytes.

        Raises:
            DiskError: a label that is none.
        """
        if not _LABEL.fullmatch(label):
            raise DiskError("file system.label", repr(label), "1 to 11 of A-Z, 0-9, _ and -", SOURCE)
        boot = self._boot_sector(label, serial, hidden)
        if not self.fat32:
            return [(0, boot)]
        information = self._information(used)
        both = boot + information
        return [(0, both), (_BACKUP_SECTOR * SECTOR, both)]

    def _boot_sector(self, label: str, serial: int, hidden: int) -> bytes:
        sectors = self.size // SECTOR
        small = sectors if sectors < 0x10000 and not self.fat32 else 0
        common = _COMMON.pack(
            b"\xeb\x58\x90" if self.fat32 else b"\xeb\x3c\x90",
            b"MSWIN4.1",  # which the specification recommends, because some drivers look at it
            SECTOR,
            self.sectors_per_cluster,
            _RESERVED[self.bits],
            _TABLES,
            self.root_entries,
            small,
            _MEDIA,
            0 if self.fat32 else self.table_sectors,
            _SECTORS_PER_TRACK,
            _HEADS,
            hidden,
            0 if small else sectors,
        )
        if self.fat32:
            places = (_ROOT_CLUSTER, _INFORMATION_SECTOR, _BACKUP_SECTOR)
            common += _BEHIND_32.pack(self.table_sectors, 0, 0, *places)
        name = b"FAT32   " if self.fat32 else b"FAT16   "
        identity = _IDENTITY.pack(0x80, 0, 0x29, serial, label.encode().ljust(11), name)
        return (common + identity).ljust(SECTOR - 2, b"\0") + _SIGNATURE

    def _information(self, used: int) -> bytes:
        """Return the sector that says how much is free, and from where on."""
        following = 2 + used if used < self.clusters else 0xFFFF_FFFF
        counts = struct.pack("<4sII", b"rrAa", self.clusters - used, following)
        sector = b"RRaA" + bytes(480) + counts
        return sector.ljust(SECTOR - 2, b"\0") + _SIGNATURE


def _root_sectors() -> int:
    return _ROOT_ENTRIES * _ENTRY_SIZE // SECTOR
