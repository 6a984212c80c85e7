"""
A FAT file system of a few files, in bytes that depend on nothing but them.

Firmware reads its boot programs from FAT.  Names are short ones in capitals, as the paths are that firmware
looks for; files lie in one piece, directories before them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from images.boot_errors import DiskError
from images.fat_layout import Layout
from images.sparse import SparseImage

SOURCE = 'Microsoft "FAT: General Overview of On-Disk Format", FAT32 File System Specification, version 1.03'
_NAME = re.compile(r"[A-Z0-9_-]{1,8}(\.[A-Z0-9_-]{1,3})?")
_ENTRY = struct.Struct("<11sBBBHHHHHHHI")
_DIRECTORY, _ARCHIVE, _LABEL = 0x10, 0x20, 0x08
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
)
_FIRST_CLUSTER = 2
_LONGEST_FILE = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Volume:
    """
    What a file system says of itself.

    Attributes:
        label: At most 11 letters.
        serial: 32 bits.
        created: Of every entry, seconds since 1970; FAT holds even ones from 1980 to 2107.
        hidden: How many sectors are before it on the disk.
    """

    label: str
    serial: int
    created: int
    hidden: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A file or directory, its first cluster and how many it has; the root of FAT16 has none."""

    path: tuple[str, ...]
    data: bytes | None
    first: int
    clusters: int


def file_system(files: Mapping[str, bytes], size: int, volume: Volume) -> SparseImage:
    """
    Return a file system of `size` bytes: FAT32 from 33 MiB on, else FAT16.

    Args:
        files: By their paths: "EFI/BOOT/BOOTX64.EFI".
        size: Whole sectors of 512 bytes.
        volume: Its label and serial number, and the time of its files.

    Raises:
        DiskError: a name that is not short and in capitals, a file in the place of a directory, a time that
            FAT does not have, files that do not fit, or a size that is too small or too large.

    Source:
        FAT32 File System Specification, version 1.03, "FAT Directory Structure"; UEFI 2.10, section 13.3,
        "File System Format".
    """
    layout = Layout.of(size)
    nodes = _placed(files, layout)
    stamp = _dos_time(volume.created)
    used = sum(node.clusters for node in nodes)
    if used > layout.clusters:
        needed = f"{used} clusters of {layout.cluster_size} bytes"
        raise DiskError("file system", f"files of {needed}", f"at most {layout.clusters}")
    table = layout.table([(node.first, node.clusters) for node in nodes if node.clusters])
    extents = [
        *layout.headers(volume.label, volume.serial, volume.hidden, used),
        *((place, table) for place in layout.table_places),
    ]
    for node in nodes:
        data = node.data if node.data is not None else _listing(node, nodes, stamp, volume.label)
        if data:
            extents.append((layout.place(node.first), data))
    return SparseImage(size, tuple(extents))


def space_for(files: Mapping[str, bytes]) -> int:
    """Return a size, in bytes, into which files of few directories fit for certain."""
    return sum(len(data) + (1 << 15) for data in files.values()) * 65 // 64 + (1 << 20)


def _placed(files: Mapping[str, bytes], layout: Layout) -> list[_Node]:
    """Return root, directories and files in their order on the disk."""
    paths = {name: _path(name) for name in sorted(files)}
    directories = {path[:depth] for path in paths.values() for depth in range(len(path))} | {()}
    for name, path in paths.items():
        if path in directories:
            raise DiskError(f"file {name}", "other files below it", "a file or a directory")
        if len(files[name]) > _LONGEST_FILE:
            raise DiskError(f"file {name}", f"{len(files[name])} bytes", f"at most {_LONGEST_FILE}")
    below = {*paths.values(), *directories} - {()}
    nodes, place = [], _FIRST_CLUSTER
    for directory in sorted(directories):
        # Itself and the one above, or the label, stand in it, too.
        rows = 2 + sum(path[:-1] == directory for path in below)
        if not directory and not layout.fat32:
            if rows > layout.root_entries:
                raise DiskError(
                    "file system", f"{rows} entries in its root", f"at most {layout.root_entries}"
                )
            nodes.append(_Node(directory, None, 0, 0))
            continue
        clusters = -(-rows * _ENTRY.size // layout.cluster_size)
        nodes.append(_Node(directory, None, place, clusters))
        place += clusters
    for name, path in paths.items():
        clusters = -(-len(files[name]) // layout.cluster_size)
        nodes.append(_Node(path, files[name], place if clusters else 0, clusters))
        place += clusters
    return nodes


def _path(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    for part in parts:
        if not _NAME.fullmatch(part) or part.split(".")[0] in _DEVICES:
            want = "1 to 8 of A-Z, 0-9, _ and -, and up to 3 behind a dot"
            raise DiskError(f"file {name}", f"the name {part!r}", want, SOURCE)
    return parts


def _listing(node: _Node, nodes: list[_Node], stamp: tuple[int, int], label: str) -> bytes:
    """Return the entries of a directory."""
    rows = []
    if node.path:
        above = next(other for other in nodes if other.path == node.path[:-1])
        # The root counts as 0 here, wherever it is.
        rows.append(_row(b".".ljust(11), _DIRECTORY, stamp, node.first, 0))
        rows.append(_row(b"..".ljust(11), _DIRECTORY, stamp, above.first if above.path else 0, 0))
    else:
        rows.append(_row(label.encode().ljust(11), _LABEL, stamp, 0, 0))
    for other in nodes:
        if other.path and other.path[:-1] == node.path:
            name, _, extension = other.path[-1].partition(".")
            short = f"{name:8}{extension:3}".encode()
            kind = _DIRECTORY if other.data is None else _ARCHIVE
            rows.append(_row(short, kind, stamp, other.first, len(other.data or b"")))
    return b"".join(rows)


def _row(name: bytes, kind: int, stamp: tuple[int, int], cluster: int, size: int) -> bytes:
    date, time = stamp
    high, low = cluster >> 16, cluster & 0xFFFF
    return _ENTRY.pack(name, kind, 0, 0, time, date, date, high, time, date, low, size)


def _dos_time(created: int) -> tuple[int, int]:
    """Return date and time of day as FAT has them, UTC."""
    try:
        moment = datetime.fromtimestamp(created, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise DiskError("time", f"{created} seconds since 1970", "a time", SOURCE) from error
    if not 1980 <= moment.year <= 2107:
        raise DiskError("time", f"the year {moment.year}", "1980 to 2107", SOURCE)
    date = moment.year - 1980 << 9 | moment.month << 5 | moment.day
    return date, moment.hour << 11 | moment.minute << 5 | moment.second // 2
