"""
What is the Authenticode digest of a PE image, and where are its sections?

The digest is what firmware extends for every image that it loads.  It leaves out what signing changes: the
checksum, and the signatures.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from images.measure.errors import PeError

SOURCE = 'Microsoft PE Format, revision of 2025-03-24, "Authenticode Portable Executable Signature Format"'
MAXIMUM_SIZE = 1 << 30
MAXIMUM_SECTIONS = 96
_DOS_SIZE = 64
_COFF = struct.Struct(
    "<HHIIIHH"
)  # machine, sections, time, symbols, number of symbols, optional header, flags
_SECTION = struct.Struct("<8sIIIIIIHHI")
_CHECKSUM = 64  # in the optional header, of both kinds
_SIZE_OF_HEADERS = 60
_DIRECTORIES = {0x10B: 96, 0x20B: 112}  # PE32, PE32+: where the table of directories begins
_CERTIFICATES = 4  # the directory of signatures


@dataclass(frozen=True, slots=True)
class PeSection:
    """
    A section.

    Attributes:
        name: Without the zeros behind it.
        offset: Where it begins in the file.
        size: How much of the file it takes.
        virtual_size: How many bytes it has in memory.
        address: Where it is in memory, from the image's beginning.
    """

    name: str
    offset: int
    size: int
    virtual_size: int
    address: int


@dataclass(frozen=True, slots=True)
class PeImage:
    """
    A PE image.

    Attributes:
        data: The whole file.
        sections: In the order of the section table.
        checksum: Where the checksum stands in the file.
        certificate_entry: Where the entry for signatures stands, None where the directories end before it.
        headers: How many bytes the headers have.
        certificates: Where the signatures begin, and how many bytes they have; zeros without any.
    """

    data: bytes
    sections: tuple[PeSection, ...]
    checksum: int
    certificate_entry: int | None
    headers: int
    certificates: tuple[int, int]

    def contents(self, section: PeSection) -> bytes:
        """Return what a section holds in memory, without what only fills it up in the file."""
        return self.data[section.offset : section.offset + min(section.size, section.virtual_size)]


def parse(data: bytes) -> PeImage:
    """
    Return the PE image in `data`.

    Raises:
        PeError: anything else, or an image whose digest firmware would refuse to compute or leave open:
            sections outside the file, on top of each other, or signatures that are not at its end.

    Source:
        Microsoft PE Format, "MS-DOS Stub", "COFF File Header", "Optional Header", "Section Table".
    """
    if len(data) > MAXIMUM_SIZE:
        raise PeError("PE image", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE}")
    if len(data) < _DOS_SIZE or data[:2] != b"MZ":
        raise PeError("PE image", "no MZ at its beginning", "a PE image", SOURCE)
    start = int.from_bytes(data[60:64], "little")
    if data[start : start + 4] != b"PE\0\0":
        raise _wrong("signature", data[start : start + 4].hex() or "nothing", "PE")
    optional = start + 4 + _COFF.size
    _check_end("COFF header", optional, data)
    _, count, _, _, _, optional_size, _ = _COFF.unpack_from(data, start + 4)
    table = optional + optional_size
    _check_end("section table", table + count * _SECTION.size, data)
    if not 1 <= count <= MAXIMUM_SECTIONS:
        raise _wrong("sections", str(count), f"1 to {MAXIMUM_SECTIONS}")
    entry, certificates = _certificates(data, optional, optional_size)
    headers = int.from_bytes(data[optional + _SIZE_OF_HEADERS :][:4], "little")
    if not table + count * _SECTION.size <= headers <= len(data):
        raise _wrong("SizeOfHeaders", str(headers), f"{table + count * _SECTION.size} to {len(data)}")
    rows = _SECTION.iter_unpack(data[table : table + count * _SECTION.size])
    image = PeImage(
        data=data,
        sections=tuple(_section(row) for row in rows),
        checksum=optional + _CHECKSUM,
        certificate_entry=entry,
        headers=headers,
        certificates=certificates,
    )
    _check_layout(image)
    return image


def authenticode(image: PeImage, algorithm: str) -> bytes:
    """
    Return the digest that firmware extends when it loads the image.

    Source:
        Microsoft PE Format, "Calculating the PE Image Hash"; edk2 MdeModulePkg, DxeTpm2MeasureBootLib and
        DxeTpmMeasurementLib, edk2-stable202505, MeasurePeImageAndExtend().
    """
    data, digest = image.data, hashlib.new(algorithm)
    digest.update(data[: image.checksum])
    if image.certificate_entry is None:
        digest.update(data[image.checksum + 4 : image.headers])
    else:
        digest.update(data[image.checksum + 4 : image.certificate_entry])
        digest.update(data[image.certificate_entry + 8 : image.headers])
    hashed = image.headers
    for section in _in_file(image):
        digest.update(memoryview(data)[section.offset : section.offset + section.size])
        hashed += section.size
    # What is behind the sections counts, but for signatures; where the sum ends, as firmware counts it.
    digest.update(memoryview(data)[hashed : len(data) - image.certificates[1]])
    return digest.digest()


def _in_file(image: PeImage) -> list[PeSection]:
    present = [section for section in image.sections if section.size]
    return sorted(present, key=lambda section: section.offset)


def _certificates(data: bytes, optional: int, size: int) -> tuple[int | None, tuple[int, int]]:
    """Return where the entry for signatures stands, and what it says."""
    magic = int.from_bytes(data[optional : optional + 2], "little")
    directories = _DIRECTORIES.get(magic)
    if directories is None or size < directories:
        raise _wrong("optional header", f"0x{magic:x} with {size} bytes", "PE32 or PE32+")
    count = int.from_bytes(data[optional + directories - 4 : optional + directories], "little")
    if directories + 8 * count > size:
        raise _wrong("directories", str(count), f"at most {(size - directories) // 8}")
    if count <= _CERTIFICATES:
        return None, (0, 0)
    entry = optional + directories + 8 * _CERTIFICATES
    offset, length = struct.unpack_from("<II", data, entry)
    if length and offset + length != len(data):
        raise _wrong("signatures", f"{length} bytes at {offset}", f"an end at {len(data)}, that of the file")
    return entry, (offset, length) if length else (0, 0)


def _section(row: tuple[bytes, int, int, int, int, int, int, int, int, int]) -> PeSection:
    name, virtual_size, address, size, offset = row[:5]
    return PeSection(name.rstrip(b"\0").decode("latin-1"), offset, size, virtual_size, address)


def _check_layout(image: PeImage) -> None:
    end = image.headers
    limit = len(image.data) - image.certificates[1]
    for section in _in_file(image):
        if section.offset < end or section.offset + section.size > limit:
            found = f"{section.size} bytes at {section.offset}"
            raise _wrong(f"section {section.name}", found, f"a place between {end} and {limit}")
        end = section.offset + section.size


def _check_end(field: str, end: int, data: bytes) -> None:
    if end > len(data):
        raise _wrong(field, f"an end at {end}", f"at most {len(data)}")


def _wrong(field: str, found: str, want: str) -> PeError:
    return PeError(f"PE image.{field}", found, want, SOURCE)
