"""
Where do functions begin and end, and where does unwinding land, according to `.eh_frame`?

Survives `strip`.  Hand-written assembly may have no entry, or one that ends before its last instruction
(clone, clone3 of glibc): an extent is a hint for the analysis, never a fence.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.elf.image import ElfImage
from shim.elf.memory import Memory

LSB = "Linux Standard Base Core 5.0, section 10.6, Exception Frames"
DW_EH_PE_OMIT = 0xFF
MAX_CALL_SITES = 65536


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """One FDE: code `start`..`end`, the personality routine (0: none) and the LSDA (0: none)."""

    start: int
    end: int
    personality: int
    lsda: int


@dataclass(frozen=True, slots=True)
class _CommonEntry:
    augmentation: bytes
    pointer_encoding: int
    lsda_encoding: int
    personality: int


class _DamagedError(Exception):
    """A record that does not fit its length; what was read before stands, the rest is not used."""


def frame_entries(image: ElfImage, memory: Memory) -> tuple[FrameEntry, ...]:
    """
    Return the FDEs of `image` sorted by start; empty where the file has none or from a damaged record on.

    Source:
        Linux Standard Base Core 5.0, section 10.6.1, "The .eh_frame section".
    """
    section = image.section(".eh_frame")
    if section is not None and section.address:
        start, data = section.address, image.section_data(section)
    else:
        return ()
    entries: list[FrameEntry] = []
    common: dict[int, _CommonEntry | None] = {}
    position = 0
    try:
        while position + 8 <= len(data):
            length = int.from_bytes(data[position : position + 4], "little")
            body = position + 4
            if length == 0:
                position = body
                continue
            if length == 0xFFFFFFFF or body + length > len(data):
                break
            pointer = int.from_bytes(data[body : body + 4], "little")
            if pointer != 0:
                cie = body - pointer
                if cie not in common:
                    common[cie] = _common_entry(data, cie, start, memory)
                entry = common[cie]
                if entry is not None:
                    entries.append(_frame_entry(data, body + 4, start, entry, memory))
            position = body + length
    except _DamagedError:
        pass  # functions are found by calls as well; extents only help
    return tuple(sorted(entries, key=lambda entry: entry.start))


def landing_pads(entry: FrameEntry, memory: Memory) -> tuple[int, ...]:
    """
    Return the addresses where unwinding through `entry` may resume.

    Source:
        Itanium C++ ABI, Exception Handling, "The Language Specific Data Area"; gcc unwind-pe.h.
    """
    if entry.lsda == 0:
        return ()
    data = memory.read(entry.lsda, 1 << 20)
    try:
        base, position = entry.start, 1
        if data[:1] != bytes([DW_EH_PE_OMIT]):
            base, position = _pointer(data, 1, entry.lsda, data[0], memory)
        types_encoding = data[position]
        position += 1
        if types_encoding != DW_EH_PE_OMIT:
            _, position = _uleb(data, position)
        encoding = data[position]
        size, position = _uleb(data, position + 1)
        end = min(position + size, len(data))
        pads: set[int] = set()
        while position < end and len(pads) < MAX_CALL_SITES:
            _, position = _pointer(data, position, 0, encoding & 0x0F, memory)
            _, position = _pointer(data, position, 0, encoding & 0x0F, memory)
            pad, position = _pointer(data, position, 0, encoding & 0x0F, memory)
            _, position = _uleb(data, position)
            if pad:
                pads.add(base + pad)
        return tuple(sorted(pads))
    except (_DamagedError, IndexError):
        return ()


def _common_entry(data: bytes, length_at: int, start: int, memory: Memory) -> _CommonEntry | None:
    """Return the CIE whose length field is at `length_at`; None for an unknown augmentation."""
    if not 0 <= length_at <= len(data) - 9:
        return None
    position = length_at + 9
    end = data.find(b"\0", position)
    if end < 0:
        return None
    augmentation = data[position:end]
    if not augmentation.startswith(b"z"):
        return _CommonEntry(augmentation, 0, DW_EH_PE_OMIT, 0) if not augmentation else None
    _, position = _uleb(data, end + 1)
    _, position = _uleb(data, position)
    _, position = _uleb(data, position)
    _, position = _uleb(data, position)
    pointer_encoding, lsda_encoding, personality = 0, DW_EH_PE_OMIT, 0
    for letter in augmentation[1:].decode("latin-1"):
        if letter == "R":
            pointer_encoding, position = data[position], position + 1
        elif letter == "L":
            lsda_encoding, position = data[position], position + 1
        elif letter == "P":
            personality, position = _pointer(data, position + 1, start, data[position], memory)
        elif letter not in "SB":
            return None
    return _CommonEntry(augmentation, pointer_encoding, lsda_encoding, personality)


def _frame_entry(data: bytes, position: int, start: int, common: _CommonEntry, memory: Memory) -> FrameEntry:
    begin, position = _pointer(data, position, start, common.pointer_encoding, memory)
    size, position = _pointer(data, position, start, common.pointer_encoding & 0x0F, memory)
    lsda = 0
    if common.augmentation.startswith(b"z"):
        _, position = _uleb(data, position)
        if common.lsda_encoding != DW_EH_PE_OMIT:
            lsda, position = _pointer(data, position, start, common.lsda_encoding, memory)
    return FrameEntry(begin, begin + size, common.personality, lsda)


_FORMATS = {
    form: struct.Struct(layout)
    for form, layout in {0: "<Q", 2: "<H", 3: "<I", 4: "<Q", 10: "<h", 11: "<i", 12: "<q"}.items()
}


def _pointer(data: bytes, position: int, start: int, encoding: int, memory: Memory) -> tuple[int, int]:
    """Return a DW_EH_PE encoded pointer and the position behind it; `start` is the address of `data`."""
    form = encoding & 0x0F
    if form == 0x01:
        value, after = _uleb(data, position)
    elif form in _FORMATS:
        layout = _FORMATS[form]
        after = position + layout.size
        if after > len(data):
            raise _DamagedError
        value = layout.unpack_from(data, position)[0]
    else:
        raise _DamagedError
    if value == 0:
        return 0, after
    if encoding & 0x70 == 0x10:
        value += start + position
    elif encoding & 0x70 not in (0, 0x40):
        raise _DamagedError
    if encoding & 0x80:
        value = memory.word(value & 0xFFFF_FFFF_FFFF_FFFF, 8) or 0
    return value & 0xFFFF_FFFF_FFFF_FFFF, after


def _uleb(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise _DamagedError
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if byte < 0x80:
            return value, position
