"""
What does the kernel map when it executes this file, and is it a file that is analysed at all?

`parse_elf` checks every header and every range that a header names before anything reads through it, so
the rest of the package indexes without fear.  The structure layouts come from pyelftools; the checks are
here.  It never opens files and never runs anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise

from elftools.common.utils import struct_parse
from elftools.construct import Construct
from elftools.elf.structs import ELFStructs

from shim.elf.identify import (
    GABI,
    PHDR_SIZE,
    SHDR_SIZE,
    Header,
    Machine,
    check_header,
    check_unpacked,
    identify,
)
from shim.errors import MalformedElfError, TruncatedElfError, UnsupportedElfError

_MACHINES: dict[int, Machine] = {62: "x86_64", 183: "aarch64"}  # EM_X86_64, EM_AARCH64
X86_64: tuple[Machine, ...] = ("x86_64",)
MAX_HEADERS = 4096
PF_X, PF_W, PF_R = 1, 2, 4
DF_TEXTREL = 4  # gABI, chapter 5, "Dynamic Section"
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
USER_ADDRESS_LIMIT = 1 << 47
# Where position-independent files are taken to be loaded: as the kernel does, far from the null page, so that
# no address of the file is a small number.
LOAD_BASE = 1 << 40
_ADDRESS_TAGS = frozenset(
    {
        "DT_INIT", "DT_FINI", "DT_INIT_ARRAY", "DT_FINI_ARRAY", "DT_PREINIT_ARRAY",
        "DT_RELA", "DT_JMPREL", "DT_RELR", "DT_SYMTAB", "DT_STRTAB", "DT_HASH", "DT_GNU_HASH",
        "DT_VERSYM", "DT_VERNEED", "DT_VERDEF",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD: `file_size` bytes at `offset` appear at `address`, then zeros up to `memory_size`."""

    address: int
    offset: int
    file_size: int
    memory_size: int
    flags: int

    @property
    def end(self) -> int:
        """First address after the segment."""
        return self.address + self.memory_size

    @property
    def executable(self) -> bool:
        """Whether the kernel maps it PROT_EXEC."""
        return bool(self.flags & PF_X)

    @property
    def writable(self) -> bool:
        """Whether the kernel maps it PROT_WRITE."""
        return bool(self.flags & PF_W)


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; sections are hints, only segments are mapped."""

    name: str
    type: str
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


@dataclass(frozen=True, slots=True)
class ElfImage:
    """
    One ELF file whose headers are consistent, loaded at `base`.

    Every address is the file's own plus `base`, which is 0 for ET_EXEC and by default `LOAD_BASE` for ET_DYN.
    `entry` is 0 for a shared object whose e_entry is not code.
    `kind` is "ET_EXEC" or "ET_DYN"; `interpreter` the PT_INTERP path or None; `dynamic` the PT_DYNAMIC
    entries as (tag name or number, value); `relro` the PT_GNU_RELRO range, empty if there is none;
    `executable_stack` whether a loader makes the stack executable for it (PT_GNU_STACK with PF_X, or none).
    """

    path: str
    data: bytes
    sha256: str
    build_id: str
    machine: Machine
    kind: str
    base: int
    entry: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    interpreter: str | None
    dynamic: tuple[tuple[str | int, int], ...]
    relro: range
    stack_flags: int

    @property
    def executable_stack(self) -> bool:
        """Whether a loader makes the stack executable for it."""
        return bool(self.stack_flags & PF_X)

    @property
    def relocates_text(self) -> bool:
        """Whether the loader writes into segments that are not writable (DT_TEXTREL, DF_TEXTREL)."""
        return any(
            tag == "DT_TEXTREL" or (tag == "DT_FLAGS" and bool(value & DF_TEXTREL))
            for tag, value in self.dynamic
        )

    def section(self, name: str) -> Section | None:
        """Return the section called `name`, or None where the file has none of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def section_data(self, section: Section) -> bytes:
        """Return the file's bytes of `section`; empty for SHT_NOBITS."""
        if section.type == "SHT_NOBITS":
            return b""
        return self.data[section.offset : section.offset + section.size]


def parse_elf(
    data: bytes,
    path: str,
    *,
    base: int = LOAD_BASE,
    shared: bool = False,
    machines: Collection[Machine] = X86_64,
) -> ElfImage:
    """
    Return the facts of an ELF file for one of `machines`.

    Args:
        data: The whole file.
        path: Only appears in messages and results.
        base: Where an ET_DYN file is taken to be loaded, a multiple of the page.
        shared: Whether it is a shared object: one that need not have an entry point, but must be ET_DYN.
        machines: What it may be for.

    Raises:
        NotElfError: `data` is something else; the message says what it looks like.
        UnsupportedElfError: 32-bit, big-endian, another machine, neither executable nor shared object, or
            packed by UPX.
        TruncatedElfError: a range ends beyond the end of the file.
        MalformedElfError: headers that contradict each other.

    Source:
        System V ABI, chapter 4 "Object Files" and chapter 5 "Program Loading and Dynamic Linking";
        x86-64 psABI 1.0, chapter 4; ELF for the Arm 64-bit Architecture 2023Q3, section 5.
    """
    structs = identify(data, path)
    header = struct_parse(structs.Elf_Ehdr, BytesIO(data), 0)
    check_header(header, path, machines)
    program_headers = _table(data, path, structs.Elf_Phdr, header, "e_ph", PHDR_SIZE)
    section_headers = _table(data, path, structs.Elf_Shdr, header, "e_sh", SHDR_SIZE)
    _check_ranges(data, path, program_headers, section_headers)
    check_unpacked(data, path, header)
    if shared and header["e_type"] != "ET_DYN":
        raise UnsupportedElfError(f"{path}: e_type", str(header["e_type"]), "a shared object (ET_DYN)", GABI)
    base = base if header["e_type"] == "ET_DYN" else 0
    segments = _segments(path, program_headers, base)
    return ElfImage(
        path=path,
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        build_id=_build_id(data, program_headers),
        machine=_MACHINES[int.from_bytes(data[18:20], "little")],
        kind=header["e_type"],
        base=base,
        entry=_entry(path, header["e_entry"] + base, base, segments, shared=shared),
        segments=segments,
        sections=_sections(data, path, section_headers, header["e_shstrndx"], base),
        interpreter=_interpreter(data, path, program_headers),
        dynamic=_dynamic(data, structs, program_headers, base),
        relro=_relro(program_headers, base),
        stack_flags=_stack_flags(program_headers),
    )


def _table(
    data: bytes, path: str, layout: Construct, header: Header, prefix: str, entry_size: int
) -> list[Header]:
    """Return the entries of a header table after checking that it lies inside the file."""
    offset, count, found_size = header[prefix + "off"], header[prefix + "num"], header[prefix + "entsize"]
    if count == 0:
        return []
    if found_size != entry_size:
        raise MalformedElfError(
            f"{path}: {prefix}entsize", f"{found_size} bytes", f"{entry_size} bytes", GABI
        )
    if count > MAX_HEADERS:
        raise MalformedElfError(f"{path}: {prefix}num", str(count), f"at most {MAX_HEADERS} headers")
    _inside(data, f"{path}: {prefix}off table", offset, count * entry_size)
    stream = BytesIO(data)
    return [struct_parse(layout, stream, offset + index * entry_size) for index in range(count)]


def _inside(data: bytes, where: str, offset: int, size: int) -> None:
    if offset + size > len(data):
        raise TruncatedElfError(
            where,
            f"bytes {offset:#x} to {offset + size:#x} named",
            f"a file that has them (it has {len(data):#x})",
            GABI,
        )


def _check_ranges(
    data: bytes, path: str, program_headers: list[Header], section_headers: list[Header]
) -> None:
    for index, header in enumerate(program_headers):
        _inside(data, f"{path}: segment {index} {header['p_type']}", header["p_offset"], header["p_filesz"])
    for index, header in enumerate(section_headers):
        if header["sh_type"] not in ("SHT_NOBITS", "SHT_NULL"):
            _inside(data, f"{path}: section {index}", header["sh_offset"], header["sh_size"])


def _segments(path: str, program_headers: list[Header], base: int) -> tuple[Segment, ...]:
    loads: list[Segment] = []
    for index, header in enumerate(program_headers):
        if header["p_type"] != "PT_LOAD" or header["p_memsz"] == 0:
            continue
        where = f"{path}: segment {index}"
        segment = Segment(
            header["p_vaddr"] + base,
            header["p_offset"],
            header["p_filesz"],
            header["p_memsz"],
            header["p_flags"],
        )
        if segment.file_size > segment.memory_size:
            raise MalformedElfError(
                f"{where} p_filesz",
                f"{segment.file_size:#x}",
                f"at most p_memsz {segment.memory_size:#x}",
                GABI,
            )
        if segment.end - base > USER_ADDRESS_LIMIT:
            raise MalformedElfError(
                where, f"end address {segment.end - base:#x}", f"at most {USER_ADDRESS_LIMIT:#x}"
            )
        if (segment.address - segment.offset) % 4096:
            raise MalformedElfError(
                where,
                f"p_vaddr {segment.address - base:#x} and p_offset {segment.offset:#x}",
                "both equal modulo the page",
                GABI,
            )
        loads.append(segment)
    if not loads:
        raise MalformedElfError(path, "no PT_LOAD segment", "at least one", GABI)
    loads.sort(key=lambda segment: segment.address)
    for low, high in pairwise(loads):
        if low.end > high.address:
            raise MalformedElfError(
                f"{path}: PT_LOAD at {high.address - base:#x}",
                f"overlap with the one at {low.address - base:#x}",
                "disjoint segments",
                GABI,
            )
    return tuple(loads)


def _entry(path: str, entry: int, base: int, segments: tuple[Segment, ...], *, shared: bool) -> int:
    if any(segment.executable and segment.address <= entry < segment.end for segment in segments):
        return entry
    if shared:
        return 0
    raise MalformedElfError(
        f"{path}: e_entry",
        f"{entry - base:#x} outside every executable segment",
        "an address inside one",
        GABI,
    )


def _sections(
    data: bytes, path: str, headers: list[Header], names_index: int, base: int
) -> tuple[Section, ...]:
    if not headers:
        return ()
    if names_index >= len(headers):
        raise MalformedElfError(
            f"{path}: e_shstrndx", str(names_index), f"below e_shnum {len(headers)}", GABI
        )
    names = headers[names_index]
    strings = data[names["sh_offset"] : names["sh_offset"] + names["sh_size"]]
    return tuple(
        Section(
            name=strings[header["sh_name"] :].split(b"\0", 1)[0][:256].decode("utf-8", "replace"),
            type=str(header["sh_type"]),
            flags=header["sh_flags"],
            address=header["sh_addr"] + (base if header["sh_flags"] & SHF_ALLOC else 0),
            offset=header["sh_offset"],
            size=header["sh_size"],
            link=header["sh_link"],
            entry_size=header["sh_entsize"],
        )
        for header in headers
    )


def _interpreter(data: bytes, path: str, program_headers: list[Header]) -> str | None:
    for header in program_headers:
        if header["p_type"] == "PT_INTERP":
            raw = data[header["p_offset"] : header["p_offset"] + header["p_filesz"]]
            if not raw.endswith(b"\0"):
                raise MalformedElfError(f"{path}: PT_INTERP", "no final NUL", "a NUL-terminated path", GABI)
            return raw[:-1].decode("utf-8", "replace")
    return None


def _dynamic(
    data: bytes, structs: ELFStructs, program_headers: list[Header], base: int
) -> tuple[tuple[str | int, int], ...]:
    entries: list[tuple[str | int, int]] = []
    for header in program_headers:
        if header["p_type"] != "PT_DYNAMIC":
            continue
        stream = BytesIO(data[header["p_offset"] : header["p_offset"] + header["p_filesz"]])
        for _ in range(header["p_filesz"] // 16):
            entry = struct_parse(structs.Elf_Dyn, stream)
            if entry["d_tag"] == "DT_NULL":
                break
            shift = base if entry["d_tag"] in _ADDRESS_TAGS else 0
            entries.append((entry["d_tag"], entry["d_val"] + shift))
    return tuple(entries)


def _relro(program_headers: list[Header], base: int) -> range:
    for header in program_headers:
        if header["p_type"] == "PT_GNU_RELRO":
            start = header["p_vaddr"] + base
            return range(start, start + header["p_memsz"])
    return range(0)


def _build_id(data: bytes, program_headers: list[Header]) -> str:
    """Return the GNU build id in hexadecimal, or "" where no well-formed note holds one."""
    for header in program_headers:
        if header["p_type"] != "PT_NOTE":
            continue
        notes = data[header["p_offset"] : header["p_offset"] + header["p_filesz"]]
        while len(notes) >= 12:
            name_size, size, kind = (int.from_bytes(notes[i : i + 4], "little") for i in (0, 4, 8))
            start = 12 + (name_size + 3) // 4 * 4
            if kind == 3 and notes[12 : 12 + name_size] == b"GNU\0" and start + size <= len(notes):
                return notes[start : start + size].hex()
            notes = notes[start + (size + 3) // 4 * 4 :]
    return ""


def _stack_flags(program_headers: list[Header]) -> int:
    """Return the rights to the stack: glibc 2.36, sysdeps/x86_64/stackinfo.h, where no header has them."""
    flags = [header["p_flags"] for header in program_headers if header["p_type"] == "PT_GNU_STACK"]
    return int(flags[-1]) if flags else PF_R | PF_W | PF_X
