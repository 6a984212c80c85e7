"""
Which modules is a Go program made of, by its own account?

The linker writes it into every program: since Go 1.18 as text in place, before that as two pointers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from images.packages.errors import BuildInformationError
from images.packages.package import Ecosystem, Package
from shim.elf.image import ElfImage

SOURCE = "Go src/debug/buildinfo/buildinfo.go and src/runtime/debug/mod.go"
MAGIC = b"\xff Go buildinf:"
# debug/buildinfo: the structure is aligned and stands at the start of a writable segment or section.
ALIGNMENT, HEADER = 16, 32
IN_PLACE, BIG_ENDIAN = 2, 1
MAX_BYTES = 16 << 20
# The module information is enclosed in these, so that it can be found: cmd/go, modload.ModInfoData.
FRAME = 16


@dataclass(frozen=True, slots=True)
class GoBuild:
    """
    What a Go program says of how it was made.

    Attributes:
        version: Of the toolchain: "go1.19.8".
        main: The module of the program, None for one that was built outside of any.
        modules: All others.
        settings: Such as "CGO_ENABLED" and "vcs.revision".
    """

    version: str
    main: Package | None
    modules: tuple[Package, ...]
    settings: dict[str, str]

    @property
    def packages(self) -> tuple[Package, ...]:
        """All that is built in: the main module, the others, the standard library."""
        standard = Package(Ecosystem.GO, "stdlib", self.version.removeprefix("go").split(" ")[0])
        return (*(() if self.main is None else (self.main,)), *self.modules, standard)


def go_build(image: ElfImage) -> GoBuild | None:
    """
    Return what a Go program says of itself, or None for any other.

    Raises:
        BuildInformationError: the account is there but damaged.

    Source:
        Go 1.13 to 1.26, src/debug/buildinfo/buildinfo.go, readRawBuildInfo.
    """
    start = _find(image)
    if start is None:
        return None
    where = f"{image.path}: Go build information"
    data = image.data
    if start + HEADER > len(data):
        raise BuildInformationError(where, "a header that ends early", f"{HEADER} bytes", SOURCE)
    pointer_size, flags = data[start + 14], data[start + 15]
    if flags & IN_PLACE:
        version, after = _text(data, start + HEADER, where)
        modules, _ = _text(data, after, where)
    else:
        if pointer_size != 8 or flags & BIG_ENDIAN:
            found = f"pointers of {pointer_size} bytes, flags {flags:#x}"
            raise BuildInformationError(where, found, "8 bytes, little-endian", SOURCE)
        version = _pointed(image, start + 16, where)
        modules = _pointed(image, start + 24, where)
    if not version:
        raise BuildInformationError(where, "no version", "that of the toolchain", SOURCE)
    return _parse(version, modules, where)


def _find(image: ElfImage) -> int | None:
    section = image.section(".go.buildinfo")
    ranges = [
        (segment.offset, segment.offset + segment.file_size) for segment in image.segments if segment.writable
    ]
    if section is not None and section.type != "SHT_NOBITS":
        ranges.insert(0, (section.offset, section.offset + section.size))
    for start, end in ranges:
        position = start
        while (position := image.data.find(MAGIC, position, end)) >= 0:
            if (position - start) % ALIGNMENT == 0:
                return position
            position += 1
    return None


def _text(data: bytes, start: int, where: str) -> tuple[bytes, int]:
    """Return a text after its length, and where it ends."""
    length, shift = 0, 0
    while True:
        if start >= len(data) or shift > 28:
            raise BuildInformationError(where, "a length without an end", "a varint", SOURCE)
        byte = data[start]
        length |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            break
    if length > MAX_BYTES or start + length > len(data):
        raise BuildInformationError(where, f"a text of {length} bytes", "one that is in the file", SOURCE)
    return data[start : start + length], start + length


def _pointed(image: ElfImage, position: int, where: str) -> bytes:
    """Return the text that a pointer to a Go string leads to."""
    header = int.from_bytes(image.data[position : position + 8], "little")
    if header == 0:
        return b""
    words = _mapped(image, header, 16, where)
    start, length = int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little")
    if length > MAX_BYTES:
        raise BuildInformationError(where, f"a text of {length} bytes", f"at most {MAX_BYTES} bytes", SOURCE)
    return _mapped(image, start, length, where) if length else b""


def _mapped(image: ElfImage, address: int, size: int, where: str) -> bytes:
    for segment in image.segments:
        offset = address + image.base - segment.address
        if offset >= 0 and offset + size <= segment.file_size:
            return image.data[segment.offset + offset : segment.offset + offset + size]
    raise BuildInformationError(where, f"a pointer to {address:#x}", "an address inside the file", SOURCE)


def _parse(version: bytes, modules: bytes, where: str) -> GoBuild:
    text = modules
    if len(text) >= 2 * FRAME + 1 and text[-FRAME - 1 : -FRAME] == b"\n":
        text = text[FRAME:-FRAME]
    elif text:
        raise BuildInformationError(where, "modules without a frame", "16 bytes before and behind", SOURCE)
    try:
        toolchain, lines = version.decode(), text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise BuildInformationError(where, "no UTF-8", "text", SOURCE) from error
    main: Package | None = None
    others: list[Package] = []
    settings: dict[str, str] = {}
    last = ""
    for line in lines:
        kind, *words = line.split("\t")
        if kind in ("mod", "dep", "=>"):
            module = _module(words, where)
            if kind == "mod":
                main = module
            elif kind == "dep":
                others.append(module)
            elif last == "dep":
                others[-1] = replace(module, replaces=others[-1].name)
            elif last == "mod" and main is not None:
                main = replace(module, replaces=main.name)
            else:
                raise BuildInformationError(where, repr(line), "a module before it", SOURCE)
        elif kind == "build":
            name, _, value = "\t".join(words).partition("=")
            settings[name.strip('"')] = value.strip('"')
        last = kind
    return GoBuild(toolchain, _stamped(main, settings), tuple(others), settings)


def _module(words: list[str], where: str) -> Package:
    if not 1 <= len(words) <= 3 or not words[0]:
        raise BuildInformationError(where, repr("\t".join(words)), "a path, a version, a sum", SOURCE)
    path, version, checksum = (*words, "", "")[:3]
    if not (path.isprintable() and version.isprintable()):
        raise BuildInformationError(where, repr(path), "printable text", SOURCE)
    # A module that was replaced by a folder has no version.
    return Package(
        Ecosystem.GO, path, "" if version == "(devel)" else version.removeprefix("v"), checksum=checksum
    )


def _stamped(main: Package | None, settings: dict[str, str]) -> Package | None:
    """Return the main module with the revision it was built from, where it has no version."""
    revision = settings.get("vcs.revision", "")
    if main is None or main.version or not revision.isalnum():
        return main
    return replace(main, version=revision + ("+dirty" if settings.get("vcs.modified") == "true" else ""))
