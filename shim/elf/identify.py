"""Is this a file that is analysed at all, and if not, what is it?"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, Literal

from elftools.elf.structs import ELFStructs

from shim.errors import MalformedElfError, NotElfError, TruncatedElfError, UnsupportedElfError

GABI = "System V ABI, ELF"
Machine = Literal["x86_64", "aarch64"]
# What pyelftools makes of a structure: numbers, and names where it knows one.
Header = dict[str, Any]
EHDR_SIZE, PHDR_SIZE, SHDR_SIZE = 64, 56, 64


def identify(data: bytes, path: str) -> ELFStructs:
    """
    Return the layouts of the tables of the file that `data` begins.

    Raises:
        NotElfError: it is something else; the message says what it looks like.
        UnsupportedElfError: 32-bit or big-endian.
        TruncatedElfError: it ends within the header.
        MalformedElfError: another version.
    """
    if data[:4] != b"\x7fELF":
        raise NotElfError(path, _looks_like(data), "an ELF file", GABI)
    if len(data) < EHDR_SIZE:
        raise TruncatedElfError(f"{path}: ELF header", f"{len(data)} bytes", f"{EHDR_SIZE} bytes", GABI)
    if data[4] != 2:
        found = "a 32-bit file (ELFCLASS32)" if data[4] == 1 else f"EI_CLASS {data[4]}"
        raise UnsupportedElfError(path, found, "a 64-bit file (ELFCLASS64)", GABI)
    if data[5] != 1:
        raise UnsupportedElfError(path, f"EI_DATA {data[5]}", "little-endian (ELFDATA2LSB)", GABI)
    if data[6] != 1:
        raise MalformedElfError(f"{path}: EI_VERSION", str(data[6]), "1 (EV_CURRENT)", GABI)
    return _structs("EM_AARCH64" if data[18] == 183 else "EM_X86_64")


@cache
def _structs(machine: str) -> ELFStructs:
    """Return the layouts of the tables: the same for every file of a machine."""
    structs = ELFStructs(little_endian=True, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs("ET_DYN", machine, "ELFOSABI_SYSV")
    return structs


def _looks_like(data: bytes) -> str:
    if not data:
        return "an empty file"
    if data[:2] == b"#!":
        interpreter = data[2:130].split(b"\n")[0].strip().decode("utf-8", "replace")
        return f"a script for {interpreter!r}"
    known = {
        b"MZ": "a PE file",
        b"\xca\xfe\xba\xbe": "a Java class or Mach-O file",
        b"PK\x03\x04": "a ZIP file",
    }
    known[b"\0asm"] = "a WebAssembly module"
    for magic, name in known.items():
        if data.startswith(magic):
            return name
    return f"bytes {data[:4].hex(' ')} at offset 0"


def check_header(header: Header, path: str, machines: Collection[Machine]) -> None:
    """Refuse other machines, and what is neither a program nor a shared object."""
    wanted = [f"EM_{machine.upper()}" for machine in machines]
    if header["e_machine"] not in wanted:
        raise UnsupportedElfError(f"{path}: e_machine", str(header["e_machine"]), " or ".join(wanted), GABI)
    if header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise UnsupportedElfError(f"{path}: e_type", str(header["e_type"]), "ET_EXEC or ET_DYN", GABI)


def check_unpacked(data: bytes, path: str, header: Header) -> None:
    """
    Refuse what UPX packed: all code but that of its unpacker is compressed data in such a file.

    Behind the program headers UPX 3.94 writes struct l_info (src/stub/src/include/linux.h): a checksum of
    four bytes, then its mark.
    """
    mark = header["e_phoff"] + header["e_phnum"] * PHDR_SIZE + 4
    if data[mark : mark + 4] == b"UPX!":
        wanted = "the program as it was before packing (`upx -d` restores it)"
        raise UnsupportedElfError(path, "a program packed by UPX", wanted, "UPX 3.94, struct l_info")
