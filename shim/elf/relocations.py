"""
What does the loader write into the image before it runs, and which resolvers does it call?

For static programs: RELATIVE (also packed as RELR) and IRELATIVE relocations.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shim.elf.identify import Machine
from shim.elf.image import SHF_ALLOC, ElfImage
from shim.errors import MalformedElfError

R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE, R_X86_64_IRELATIVE = 1, 6, 7, 8, 37
R_AARCH64_RELATIVE, R_AARCH64_IRELATIVE = 1027, 1032
_RELATIVE: dict[Machine, int] = {"x86_64": R_X86_64_RELATIVE, "aarch64": R_AARCH64_RELATIVE}
_IRELATIVE: dict[Machine, int] = {"x86_64": R_X86_64_IRELATIVE, "aarch64": R_AARCH64_IRELATIVE}
RELA = struct.Struct("<QQq")
U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Relocations:
    """
    What relocation makes of the image at its base.

    `pointers` maps the address of an 8-byte slot to the address that is written there; `resolvers` maps a
    slot to the resolver whose result is written there; `bound` are the slots that only the loader writes,
    because they hold where an imported function is.
    """

    pointers: dict[int, int]
    resolvers: dict[int, int]
    bound: frozenset[int] = frozenset()
    copies: tuple[tuple[int, int, int], ...] = ()


def relocations(image: ElfImage) -> Relocations:
    """
    Return the relocations that the startup code of a static program applies.

    Raises:
        MalformedElfError: a relocation table that is not in the file.

    Not checked:
        Symbolic relocations: in a static program they name undefined weak symbols, whose value is 0.

    Source:
        x86-64 psABI 1.0, section 4.4.1, "Relocation Types"; ELF for the Arm 64-bit Architecture 2023Q3,
        section 5.7.12, "Dynamic relocations"; System V ABI, "Relative Relocation Table" (RELR).
    """
    pointers: dict[int, int] = {}
    resolvers: dict[int, int] = {}
    relative, irelative = _RELATIVE[image.machine], _IRELATIVE[image.machine]
    for offset, size in _tables(image):
        for slot, info, addend in RELA.iter_unpack(image.data[offset : offset + size - size % RELA.size]):
            kind = info & 0xFFFFFFFF
            if kind == relative:
                pointers[slot + image.base] = addend + image.base
            elif kind == irelative:
                resolvers[slot + image.base] = addend + image.base
    pointers.update(relative_table(image))
    return Relocations(pointers, resolvers)


def file_offset(image: ElfImage, address: int, size: int, what: str) -> int:
    """
    Return the file offset of `size` mapped bytes at `address`.

    Raises:
        MalformedElfError: no segment has all of them in the file.
    """
    for segment in image.segments:
        if segment.address <= address and address + size <= segment.address + segment.file_size:
            return address - segment.address + segment.offset
    raise MalformedElfError(
        f"{image.path}: {what}", f"{size} bytes at {address:#x}", "bytes inside one segment"
    )


def relative_table(image: ElfImage) -> dict[int, int]:
    """
    Return the pointers of DT_RELR: slot -> value.

    Raises:
        MalformedElfError: a table or slot that is not in the file.

    Source:
        System V ABI, "Relative Relocation Table".
    """
    tags = dict(image.dynamic)
    address, size = tags.get("DT_RELR"), tags.get("DT_RELRSZ", 0)
    if address is None:
        return {}
    pointers: dict[int, int] = {}
    start = file_offset(image, address, size, "DT_RELR")
    where = 0
    for (word,) in U64.iter_unpack(image.data[start : start + size - size % 8]):
        if word & 1 == 0:
            slots = [word]
            where = word + 8
        else:
            slots = [where + 8 * bit for bit in range(63) if word >> (bit + 1) & 1]
            where += 63 * 8
        for slot in slots:
            offset = file_offset(image, slot + image.base, 8, "DT_RELR slot")
            pointers[slot + image.base] = (
                int.from_bytes(image.data[offset : offset + 8], "little") + image.base
            )
    return pointers


def _tables(image: ElfImage) -> list[tuple[int, int]]:
    """Return (file offset, size) of every RELA table that is applied at run time."""
    tags = dict(image.dynamic)
    tables = []
    for name, size_name in (("DT_RELA", "DT_RELASZ"), ("DT_JMPREL", "DT_PLTRELSZ")):
        if name in tags:
            size = tags.get(size_name, 0)
            tables.append((file_offset(image, tags[name], size, name), size))
    if not tables:
        tables = [
            (section.offset, section.size)
            for section in image.sections
            if section.type == "SHT_RELA" and section.flags & SHF_ALLOC
        ]
    return tables
