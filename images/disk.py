"""
A disk of which clouds and machines boot: one EFI system partition with one program on it.

Raw, or as a fixed VHD.  Names and serial numbers are made of the program's digest, so the same program gives
the same disk.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from images import fat, gpt, vhd
from images.boot_errors import DiskError
from images.fat import Volume
from images.fat_layout import FAT32_FROM
from images.gpt import ESP, SECTOR, Partition
from images.measure import pe
from images.measure.errors import PeError
from images.sparse import SparseImage

SOURCE = 'UEFI 2.10, section 3.5.1.1, "Removable Media Boot Behavior"'
BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"
LABEL = "ESP"
MEBIBYTE = 1 << 20
_NAME = "EFI System Partition"


def image(program: bytes, created: int, *, esp_size: int | None = None) -> SparseImage:
    """
    Return a raw disk of which firmware starts `program`, whole mebibytes.

    Args:
        program: A unified kernel image, from `images.uki.image`.
        created: Of the file on it, seconds since 1970, SOURCE_DATE_EPOCH.
        esp_size: Of the partition, whole mebibytes; None for what the program needs, at least 33 MiB.
            Smaller ones have FAT16, which firmware has to read as well.

    Raises:
        DiskError: no EFI program, one that does not fit, or a time that FAT does not have.

    Source:
        UEFI 2.10, section 3.5.1.1, "Removable Media Boot Behavior", for the path; section 13.3, "File System
        Format"; section 5.3, "GUID Partition Table (GPT) Disk Layout".
    """
    _check_program(program)
    files = {BOOT_PATH: program}
    size = max(FAT32_FROM, _whole(fat.space_for(files))) if esp_size is None else esp_size
    if size % MEBIBYTE or size < MEBIBYTE:
        raise DiskError("system partition", f"{size} bytes", "whole mebibytes, at least one")
    digest = hashlib.sha256(program).digest()
    first = MEBIBYTE // SECTOR
    serial = int.from_bytes(_derived(digest, "volume")[:4], "big")
    volume = Volume(LABEL, serial, created, hidden=first)
    content = fat.file_system(files, size, volume)

    total = size + 2 * MEBIBYTE
    partition = Partition(ESP, _guid(digest, "partition"), first, first + size // SECTOR - 1, _NAME)
    before, behind = gpt.table((partition,), _guid(digest, "disk"), total // SECTOR)
    return SparseImage(total, (before, *content.shifted(MEBIBYTE), behind))


def vhd_image(program: bytes, created: int, *, esp_size: int | None = None) -> SparseImage:
    """
    Return the same disk as a fixed VHD, as Azure takes it.

    Raises:
        DiskError: as `image`.
    """
    disk = image(program, created, esp_size=esp_size)
    return vhd.fixed(disk, _guid(hashlib.sha256(program).digest(), "VHD"), created)


def _check_program(program: bytes) -> None:
    try:
        pe.parse(program)
    except PeError as error:
        raise DiskError(f"boot program: {error.where}", error.found, error.want, error.source) from error


def _derived(digest: bytes, use: str) -> bytes:
    return hashlib.sha256(b"tee-shim disk: " + use.encode() + b"\0" + digest).digest()


def _guid(digest: bytes, use: str) -> UUID:
    """Return a GUID made of a digest: RFC 9562, section 5.8, "UUID Version 8"."""
    value = int.from_bytes(_derived(digest, use)[:16], "big")
    value = value & ~(0xF << 76) | 8 << 76
    return UUID(int=value & ~(3 << 62) | 2 << 62)


def _whole(size: int) -> int:
    return -(-size // MEBIBYTE) * MEBIBYTE
