"""
Which version does an object give to each of its dynamic symbols, or ask for?

DT_VERSYM names an index per symbol; DT_VERDEF and DT_VERNEED say what the indices mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from shim.elf.dynamic import Dynamic, text
from shim.elf.image import ElfImage
from shim.elf.relocations import file_offset
from shim.errors import MalformedElfError

LSB = "Linux Standard Base Core 5.0, section 10.7, Symbol Versioning"
VER_FLG_BASE, VER_FLG_WEAK = 1, 2
HIDDEN, INDEX = 0x8000, 0x7FFF
# Indices have 15 bits: more records cannot mean anything.
MAX_RECORDS = 1 << 15
VERDEF = struct.Struct("<HHHHIII")
VERDAUX = struct.Struct("<II")
VERNEED = struct.Struct("<HHIII")
VERNAUX = struct.Struct("<IHHII")


class Version(NamedTuple):
    """
    What one version index means; a tuple, because lookups hash it thousands of times.

    `file` is the library that must define it, "" for one that the object itself defines; `hidden` whether
    only exactly this version satisfies the reference.
    """

    name: str
    file: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class Requirement:
    """One version that `file` must define; `weak` where the loader only warns."""

    file: str
    name: str
    weak: bool


@dataclass(frozen=True, slots=True)
class Versions:
    """
    The version tables of one object.

    `indices` has one entry per symbol, bit 15 set for a version that is not the default; None where the
    object has no DT_VERSYM. `meanings` maps an index to its version; indices 0 and 1 and the base version
    have none. `defined` are the names that the object defines, None where it has no DT_VERDEF.
    """

    indices: tuple[int, ...] | None
    meanings: dict[int, Version]
    required: tuple[Requirement, ...]
    defined: frozenset[str] | None

    def of(self, symbol: int) -> Version | None:
        """Return the version of a symbol, or None where it has none."""
        return None if self.indices is None else self.meanings.get(self.indices[symbol] & INDEX)


def read_versions(image: ElfImage, dynamic: Dynamic, count: int) -> Versions:
    """
    Return the versions of the first `count` dynamic symbols.

    Raises:
        MalformedElfError: a table that is not in the file, or a chain of records that goes back or on for
            ever.

    Source:
        Linux Standard Base Core 5.0, sections 10.7.2 to 10.7.6; glibc 2.36, elf/dl-version.c.
    """
    meanings: dict[int, Version] = {}
    required = _required(image, dynamic, meanings)
    defined = _defined(image, dynamic, meanings)
    indices: tuple[int, ...] | None = None
    if "DT_VERSYM" in dynamic.tags:
        offset = file_offset(image, dynamic.tags["DT_VERSYM"], 2 * count, "DT_VERSYM")
        indices = struct.unpack_from(f"<{count}H", image.data, offset)
    return Versions(indices, meanings, tuple(required), defined)


def _required(image: ElfImage, dynamic: Dynamic, meanings: dict[int, Version]) -> list[Requirement]:
    required: list[Requirement] = []
    address = dynamic.tags.get("DT_VERNEED")
    while address is not None:
        revision, _count, file_offset_, first, step = _record(image, address, VERNEED, "DT_VERNEED")
        _check_revision(image, "vn_version", revision)
        file = text(image, dynamic.strings, file_offset_, "vn_file")
        item: int | None = address + first
        while item is not None:
            hash_, flags, index, name_offset, item_step = _record(
                image, item, VERNAUX, "DT_VERNEED auxiliary"
            )
            name = text(image, dynamic.strings, name_offset, "vna_name")
            required.append(Requirement(file, name, bool(flags & VER_FLG_WEAK)))
            if hash_:
                meanings[index & INDEX] = Version(name, file, bool(index & HIDDEN))
            if len(required) > MAX_RECORDS:
                raise MalformedElfError(
                    f"{image.path}: DT_VERNEED", "more records", f"at most {MAX_RECORDS}", LSB
                )
            item = _next(image, item, item_step, VERNAUX.size, "vna_next")
        address = _next(image, address, step, VERNEED.size, "vn_next")
    return required


def _defined(image: ElfImage, dynamic: Dynamic, meanings: dict[int, Version]) -> frozenset[str] | None:
    address = dynamic.tags.get("DT_VERDEF")
    if address is None:
        return None
    names: list[str] = []
    following: int | None = address
    while following is not None:
        revision, flags, index, _count, hash_, first, step = _record(image, following, VERDEF, "DT_VERDEF")
        _check_revision(image, "vd_version", revision)
        name_offset, _ = _record(image, following + first, VERDAUX, "DT_VERDEF auxiliary")
        name = text(image, dynamic.strings, name_offset, "vda_name")
        names.append(name)
        if not flags & VER_FLG_BASE and hash_:
            meanings[index & INDEX] = Version(name, "", hidden=False)
        if len(names) > MAX_RECORDS:
            raise MalformedElfError(f"{image.path}: DT_VERDEF", "more records", f"at most {MAX_RECORDS}", LSB)
        following = _next(image, following, step, VERDEF.size, "vd_next")
    return frozenset(names)


def _record(image: ElfImage, address: int, layout: struct.Struct, what: str) -> tuple[int, ...]:
    return layout.unpack_from(image.data, file_offset(image, address, layout.size, what))


def _next(image: ElfImage, address: int, step: int, size: int, what: str) -> int | None:
    """Return the address of the next record, None at the end of the chain."""
    if step == 0:
        return None
    if step < size:
        raise MalformedElfError(f"{image.path}: {what}", f"{step} bytes", f"0 or at least {size}", LSB)
    return address + step


def _check_revision(image: ElfImage, what: str, revision: int) -> None:
    if revision != 1:
        raise MalformedElfError(f"{image.path}: {what}", str(revision), "1", LSB)
