"""
Which program does a disk of `shim build` start?

A disk follows from its program and its time alone.  So whatever is found on it is made into a disk again: one
on which anything else stands is refused, and what is measured is what boots.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from images import disk
from images.boot.errors import BootImageFormError
from images.boot_errors import DiskError
from images.fat_layout import Layout
from images.sparse import SparseImage

_VHD, _GPT, _SECTOR = b"conectix", b"EFI PART", 512
_ROW = struct.Struct("<11s11xHHHI")  # name, time, date, low half of the first cluster, size; see images.fat
_FILE_ROW = 2  # of the directory: itself and the one above come first
_DIRECTORY_CLUSTER, _FILE_CLUSTER = 4, 5  # behind the root and EFI; each has one cluster
_WANT = "a disk of shim build, unchanged"


def boot_program(data: bytes, where: str) -> bytes | None:
    """
    Return the unified kernel image on a disk, raw or VHD; None for something else than a disk.

    Raises:
        BootImageFormError: a disk that `shim build` did not write, or that was changed.

    Source:
        `images.disk` and `images.fat`.
    """
    raw = data[:-_SECTOR] if data[-_SECTOR:].startswith(_VHD) else data
    if raw[_SECTOR : _SECTOR + len(_GPT)] != _GPT:
        return None
    size = len(raw) - 2 * disk.MEBIBYTE
    try:
        layout = Layout.of(size)
        at = disk.MEBIBYTE + layout.place(_DIRECTORY_CLUSTER if layout.fat32 else _DIRECTORY_CLUSTER - 1)
        _, time, date, _, length = _ROW.unpack_from(raw, at + _FILE_ROW * 32)
        start = disk.MEBIBYTE + layout.place(_FILE_CLUSTER if layout.fat32 else _FILE_CLUSTER - 1)
        program = raw[start : start + length]
        same = disk.image(program, _seconds(date, time), esp_size=size)
    except (DiskError, ValueError, struct.error) as error:
        raise BootImageFormError(where, f"another disk ({error})", _WANT) from error
    if not _holds(raw, same):
        raise BootImageFormError(where, "a disk with something else on it", _WANT)
    return program


def _seconds(date: int, time: int) -> int:
    """Return what a date and a time of FAT are since 1970."""
    moment = datetime(
        1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, 2 * (time & 31), tzinfo=UTC
    )
    return int(moment.timestamp())


def _holds(raw: bytes, image: SparseImage) -> bool:
    """Whether the bytes, as many as the image has, are those of the image, holes included."""
    end = 0
    for offset, data in (*image.extents, (image.size, b"")):
        if raw[end:offset].strip(b"\0") or raw[offset : offset + len(data)] != data:
            return False
        end = offset + len(data)
    return True
