"""
What does an object tell the loader in PT_DYNAMIC?

Sections are never asked: a stripped file without section headers runs, and so it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.elf.image import ElfImage
from shim.elf.relocations import RELA, file_offset
from shim.errors import MalformedElfError, UnsupportedElfError

GABI = "System V ABI, Dynamic Section"
DF_SYMBOLIC, DF_BIND_NOW = 0x2, 0x8
DF_1_NOW, DF_1_NODEFLIB, DF_1_PIE = 0x1, 0x800, 0x08000000
MAX_NEEDED = 1024
# Objects that stand in for others, and libraries that watch the loader: nobody links them, nothing here
# follows them.
_UNSUPPORTED = ("DT_AUXILIARY", "DT_FILTER", "DT_AUDIT", "DT_DEPAUDIT", "DT_CONFIG")


@dataclass(frozen=True, slots=True)
class Dynamic:
    """
    The dynamic section of one object.

    `rpath` is None where there is none or DT_RUNPATH voids it; `tags` holds the last value of every tag,
    addresses with the base of the image; `strings` are the bytes of DT_STRTAB.
    """

    needed: tuple[str, ...]
    soname: str
    rpath: str | None
    runpath: str | None
    symbolic: bool
    bind_now: bool
    no_default_directories: bool
    program: bool
    tags: dict[str | int, int]
    strings: bytes


def read_dynamic(image: ElfImage) -> Dynamic:
    """
    Return what PT_DYNAMIC of `image` says; an image without one says nothing.

    Raises:
        MalformedElfError: a table or string that is not in the file.
        UnsupportedElfError: DT_FILTER, DT_AUXILIARY, DT_AUDIT or DT_DEPAUDIT; DT_REL relocations.

    Source:
        System V ABI, chapter 5, "Dynamic Section"; glibc 2.36, elf/get-dynamic-info.h.
    """
    tags = dict(image.dynamic)
    _refuse(image, tags)
    strings = _strings(image, tags)
    names = [value for tag, value in image.dynamic if tag == "DT_NEEDED"]
    if len(names) > MAX_NEEDED:
        raise MalformedElfError(f"{image.path}: DT_NEEDED", str(len(names)), f"at most {MAX_NEEDED}", GABI)
    flags, flags_1 = tags.get("DT_FLAGS", 0), tags.get("DT_FLAGS_1", 0)
    runpath = _path(image, strings, tags, "DT_RUNPATH")
    return Dynamic(
        needed=tuple(text(image, strings, offset, "DT_NEEDED") for offset in names),
        soname=_path(image, strings, tags, "DT_SONAME") or "",
        rpath=_path(image, strings, tags, "DT_RPATH") if runpath is None else None,
        runpath=runpath,
        symbolic="DT_SYMBOLIC" in tags or bool(flags & DF_SYMBOLIC),
        bind_now="DT_BIND_NOW" in tags or bool(flags & DF_BIND_NOW) or bool(flags_1 & DF_1_NOW),
        no_default_directories=bool(flags_1 & DF_1_NODEFLIB),
        program=bool(flags_1 & DF_1_PIE),
        tags=tags,
        strings=strings,
    )


def table(image: ElfImage, tags: dict[str | int, int], tag: str, size_tag: str, entry_size: int) -> bytes:
    """
    Return the bytes of the table that `tag` and `size_tag` name; empty where the object has none.

    Raises:
        MalformedElfError: not whole entries, or not all in the file.
    """
    size = tags.get(size_tag, 0)
    if tag not in tags or size == 0:
        return b""
    if size % entry_size:
        raise MalformedElfError(
            f"{image.path}: {size_tag}", f"{size} bytes", f"a multiple of {entry_size}", GABI
        )
    return at(image, tags[tag], size, tag)


def relocation_tables(image: ElfImage, dynamic: Dynamic) -> tuple[bytes, bytes]:
    """Return the bytes of DT_RELA and of DT_JMPREL; raises MalformedElfError for what is not in the file."""
    return (
        table(image, dynamic.tags, "DT_RELA", "DT_RELASZ", RELA.size),
        table(image, dynamic.tags, "DT_JMPREL", "DT_PLTRELSZ", RELA.size),
    )


def at(image: ElfImage, address: int, size: int, what: str) -> bytes:
    """Return `size` bytes at a mapped address; raises MalformedElfError for those the file has not."""
    start = file_offset(image, address, size, what)
    return image.data[start : start + size]


def text(image: ElfImage, strings: bytes, offset: int, what: str) -> str:
    """Return the string at `offset` of DT_STRTAB; raises MalformedElfError where it has no end there."""
    end = strings.find(b"\0", offset) if offset < len(strings) else -1
    if end < 0:
        raise MalformedElfError(
            f"{image.path}: {what}", f"string offset {offset:#x}", "the offset of a string in DT_STRTAB", GABI
        )
    return strings[offset:end].decode("utf-8", "surrogateescape")


def _refuse(image: ElfImage, tags: dict[str | int, int]) -> None:
    for tag in _UNSUPPORTED:
        if tag in tags:
            raise UnsupportedElfError(f"{image.path}: PT_DYNAMIC", tag, "an object without it")
    if tags.get("DT_RELSZ", 0) or tags.get("DT_PLTREL", 7) != 7:
        raise UnsupportedElfError(f"{image.path}: PT_DYNAMIC", "DT_REL relocations", "DT_RELA (x86-64 psABI)")
    if tags.get("DT_RELAENT", RELA.size) != RELA.size:
        raise MalformedElfError(
            f"{image.path}: DT_RELAENT", str(tags["DT_RELAENT"]), f"{RELA.size} bytes", GABI
        )
    if tags.get("DT_SYMENT", 24) != 24:
        raise MalformedElfError(f"{image.path}: DT_SYMENT", str(tags["DT_SYMENT"]), "24 bytes", GABI)


def _strings(image: ElfImage, tags: dict[str | int, int]) -> bytes:
    size = tags.get("DT_STRSZ", 0)
    if "DT_STRTAB" not in tags or size == 0:
        return b""
    return at(image, tags["DT_STRTAB"], size, "DT_STRTAB")


def _path(image: ElfImage, strings: bytes, tags: dict[str | int, int], tag: str) -> str | None:
    return text(image, strings, tags[tag], tag) if tag in tags else None
