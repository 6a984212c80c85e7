"""
Which tables does a firmware image for virtual machines carry at its end?

OVMF ends with a table of entries that are named by GUIDs and read backwards; the VMM finds in it where the
other processors start and what has to be in memory before the firmware runs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from images.measure.errors import FirmwareError

SOURCE = 'QEMU docs/specs/sev-guest-firmware.rst, "Table parsing in QEMU"'
MAXIMUM_SIZE = 1 << 24  # the largest max-fw-size that QEMU takes
PAGE = 4096
FOUR_GIB = 1 << 32
TABLE_FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
RESET_BLOCK = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
HASH_TABLE = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
SEV_METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
TDX_METADATA = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
SVSM_INFO = UUID("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd")
_BEHIND_TABLE = 32  # the reset vector
_ENTRY = struct.Struct("<H16s")  # size with this, GUID; behind the data


@dataclass(frozen=True, slots=True)
class Firmware:
    """
    A firmware image, and what stands in its table.

    Attributes:
        data: The whole image.
        end: The guest physical address behind its last byte.
        table: The data of each entry, by its GUID.
    """

    data: bytes
    end: int
    table: Mapping[UUID, bytes]

    @property
    def gpa(self) -> int:
        """The guest physical address of its first byte."""
        return self.end - len(self.data)

    def number(self, guid: UUID, name: str, size: int = 4, at: int = 0) -> int:
        """
        Return a little-endian number of an entry.

        Raises:
            FirmwareError: there is no such entry, or it is too short.
        """
        entry = self.table.get(guid)
        if entry is None:
            raise FirmwareError(f"firmware.{name}", "no such entry in its table", f"entry {guid}", SOURCE)
        if at + size > len(entry):
            raise FirmwareError(f"firmware.{name}", f"{len(entry)} bytes", f"at least {at + size}", SOURCE)
        return int.from_bytes(entry[at : at + size], "little")


def parse(data: bytes, *, end: int = FOUR_GIB) -> Firmware:
    """
    Return the firmware in `data`, which ends at the guest physical address `end`.

    Raises:
        FirmwareError: no whole pages, too large, without the table, or with a table that does not add up.

    Not checked:
        What the entries mean: `images.measure.sev_metadata` and `images.measure.tdvf` read two of them.

    Source:
        QEMU docs/specs/sev-guest-firmware.rst, "Table parsing in QEMU"; hw/i386/pc_sysfw_ovmf.c, QEMU 10.0.
    """
    if not data or len(data) % PAGE or len(data) > MAXIMUM_SIZE:
        want = f"whole pages of {PAGE} bytes, at most {MAXIMUM_SIZE}"
        raise FirmwareError("firmware", f"{len(data)} bytes", want)
    if end < len(data):
        raise FirmwareError("firmware", f"an end at 0x{end:x}", f"0x{len(data):x} or above")
    size, guid = _entry_before(data, len(data) - _BEHIND_TABLE)
    if guid != TABLE_FOOTER:
        raise FirmwareError("firmware", "no table at its end", f"OVMF's, entry {TABLE_FOOTER}", SOURCE)
    top = len(data) - _BEHIND_TABLE - _ENTRY.size
    bottom = len(data) - _BEHIND_TABLE - size
    if not 0 <= bottom <= top:
        raise _wrong("table", f"{size} bytes", f"{_ENTRY.size} to {len(data) - _BEHIND_TABLE}")
    return Firmware(data, end, _entries(data, bottom, top))


def _entries(data: bytes, bottom: int, top: int) -> dict[UUID, bytes]:
    """Return the entries between two offsets, the last of which is the first to be read."""
    entries: dict[UUID, bytes] = {}
    while top > bottom:
        if top - bottom < _ENTRY.size:
            raise _wrong("table", f"{top - bottom} bytes left", f"an entry of at least {_ENTRY.size}")
        size, guid = _entry_before(data, top)
        if not _ENTRY.size <= size <= top - bottom:
            raise _wrong(f"table.{guid}", f"{size} bytes", f"{_ENTRY.size} to {top - bottom}")
        if guid in entries:
            raise _wrong(f"table.{guid}", "a second entry", "one")
        entries[guid] = data[top - size : top - _ENTRY.size]
        top -= size
    return entries


def _entry_before(data: bytes, end: int) -> tuple[int, UUID]:
    size, guid = _ENTRY.unpack_from(data, end - _ENTRY.size)
    return size, UUID(bytes_le=guid)


def _wrong(field: str, found: str, want: str) -> FirmwareError:
    return FirmwareError(f"firmware.{field}", found, want, SOURCE)
