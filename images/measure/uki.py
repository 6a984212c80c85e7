"""
What does a unified kernel image hold, and what will its stub hand to the kernel?

A unified kernel image is a small program for the firmware, systemd-stub, with kernel, initrd and command line
as sections beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from images.measure import pe
from images.measure.errors import UkiError
from images.measure.pe import PeImage

SOURCE = "systemd-stub(7), version 257"
VERSIONS = (252, *range(254, 263))  # of the stub: what they measure is known
WITH_OSREL = 257  # hands /.extra/os-release to the kernel from here on
STRIPS_BOTH_ENDS = 257  # of the command line
CALLS_KERNEL = 258  # enters the kernel itself from here on; before, the firmware loaded it
# In the order in which they are measured; src/fundamental/uki.h, enum UnifiedSection, version 257.
# Older stubs do not know some of them, and leave those alone.
MEASURED = (
    ".linux",
    ".osrel",
    ".cmdline",
    ".initrd",
    ".ucode",
    ".splash",
    ".dtb",
    ".uname",
    ".sbat",
    ".pcrpkey",
)
_SINCE = {".uname": 254, ".sbat": 254, ".ucode": 256}
_SIGNATURE = ".pcrsig"  # speaks about the measurement, so is no part of it
_CHOSEN = frozenset(
    {".profile", ".dtbauto", ".hwids", ".efifw"}
)  # the machine, or who boots, chooses among them
_MAGIC = re.compile(rb"#### LoaderInfo: systemd-stub (\d{3})[^#\0]{0,64}####")
_WANTED = f"systemd-stub {VERSIONS[0]} or {VERSIONS[1]} to {VERSIONS[-1]}"
_EXTRA = {
    _SIGNATURE: "tpm2-pcr-signature.json",
    ".pcrpkey": "tpm2-pcr-public-key.pem",
    ".osrel": "os-release",
}


@dataclass(frozen=True, slots=True)
class Uki:
    """
    A unified kernel image.

    Attributes:
        image: The whole of it.
        sections: What the sections hold that the stub knows, by name.
        stub: The version of systemd-stub.
    """

    image: PeImage
    sections: Mapping[str, bytes]
    stub: int


def parse(data: bytes) -> Uki:
    """
    Return the unified kernel image in `data`.

    Raises:
        PeError: no PE image.
        UkiError: without a kernel or a stub that is known, or with sections of which one is chosen at boot.

    Source:
        systemd-stub(7), version 257; src/fundamental/uki.h; UAPI.5, "Unified Kernel Image".
    """
    image = pe.parse(data)
    sections: dict[str, bytes] = {}
    for section in image.sections:
        if section.name in _CHOSEN:
            raise _wrong(section.name, "a section that is chosen at boot", "none: the registers depend on it")
        if section.name in {*MEASURED, _SIGNATURE, ".sdmagic"}:
            if section.name in sections:
                raise _wrong(section.name, "a second section", "one")
            if section.virtual_size > section.size:
                found = f"{section.size} of {section.virtual_size} bytes in the file"
                raise _wrong(section.name, found, "all of them")
            sections[section.name] = image.contents(section)
    if not sections.get(".linux"):
        raise _wrong(".linux", "no such section", "a kernel")
    stub = _stub_version(sections.pop(".sdmagic", b""))
    known = {name: data for name, data in sections.items() if _SINCE.get(name, 0) <= stub}
    return Uki(image, known, stub)


def kernel_command_line(uki: Uki) -> str | None:
    """
    Return the command line inside, as the stub hands it to the kernel; None without one.

    Raises:
        UkiError: it is no text that the stub hands on as it is.

    Source:
        systemd 257, src/boot/util.c, mangle_stub_cmdline().
    """
    section = uki.sections.get(".cmdline")
    if section is None:
        return None
    return mangled(section.rstrip(b"\0"), uki.stub)


def mangled(cmdline: bytes, stub: int) -> str:
    """
    Return a command line with spaces for control characters, and none at either end.

    Raises:
        UkiError: it is no UTF-8, has a zero byte, characters that take two units in UTF-16, or begins with a
            space, which stubs before 257 leave there or not.
    """
    try:
        text = cmdline.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(".cmdline", f"byte {error.start}", "UTF-8") from error
    if "\0" in text or any(ord(letter) > 0xFFFF for letter in text):
        raise _wrong(".cmdline", "a zero byte, or characters beyond U+FFFF", "neither")
    spaced = "".join(" " if letter <= " " or letter == "\x7f" else letter for letter in text).rstrip(" ")
    if spaced.startswith(" ") and stub < STRIPS_BOTH_ENDS:
        raise _wrong(".cmdline", "a space or line break at its beginning", "none")
    return spaced.lstrip(" ")


def combined_initrd(uki: Uki) -> bytes:
    """
    Return what the kernel gets as its initrd: that of the image, and what the stub packs beside it.

    Not checked:
        What lies beside the image on the boot partition: credentials and extensions would come on top.

    Source:
        systemd 257, src/boot/stub.c, generate_embedded_initrds(), initrds_need_combine(), combine_initrds().
    """
    parts = [uki.sections[name] for name in (".ucode", ".initrd") if uki.sections.get(name)]
    for name, file in _EXTRA.items():
        if name in uki.sections and (name != ".osrel" or uki.stub >= WITH_OSREL):
            parts.append(_cpio(".extra", file, uki.sections[name]))
    if len(parts) == 1:
        return parts[0]
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def _cpio(folder: str, name: str, contents: bytes) -> bytes:
    """Return an archive of one read-only file in one folder (systemd 257, src/boot/cpio.c)."""
    entries = (
        _entry(1, 0o040555, 1, folder, b""),
        _entry(2, 0o100444, 1, f"{folder}/{name}", contents),
        _entry(0, 0, 1, "TRAILER!!!", b""),
    )
    return b"".join(entries)


def _entry(inode: int, mode: int, links: int, path: str, contents: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (inode, mode, 0, 0, links, 0, len(contents), 0, 0, 0, 0, len(name), 0)
    letters = "".join(f"{field:08X}" if path == "TRAILER!!!" else f"{field:08x}" for field in fields)
    header = b"070701" + letters.encode() + name
    return header + bytes(-len(header) % 4) + contents + bytes(-len(contents) % 4)


def _stub_version(magic: bytes) -> int:
    match = _MAGIC.search(magic)
    if match is None:
        raise _wrong(".sdmagic", "no systemd-stub", _WANTED)
    version = int(match[1])
    if version not in VERSIONS:
        raise _wrong(".sdmagic", f"systemd-stub {version}", f"{_WANTED}, whose measurements are known")
    return version


def _wrong(section: str, found: str, want: str) -> UkiError:
    return UkiError(f"unified kernel image, section {section}", found, want, SOURCE)
