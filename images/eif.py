"""
An enclave image for AWS Nitro, and what the enclave will say that it booted.

The same parts give the same bytes, but for a signature, which needs a random number.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from images import bzimage, eif_format, eif_signature
from images.boot_errors import EifError
from images.eif_format import Section, SectionKind
from images.eif_signature import Signer
from images.measure import nitro
from shim.canonical import canonical_bytes

_CPIO, _CPIO_ALIGNMENT = b"0707", 4
_RAMDISK_SOURCE = "Linux 6.12, init/initramfs.c, unpack_to_rootfs() and do_reset()"
_MEASURED = frozenset({SectionKind.KERNEL, SectionKind.COMMAND_LINE, SectionKind.RAMDISK})


@dataclass(frozen=True, slots=True)
class Description:
    """
    What an image says of itself; nothing measures it.

    Attributes:
        name, version: Of the image.
        tool, tool_version: What made it.
        created: Seconds since 1970, SOURCE_DATE_EPOCH.
    """

    name: str
    version: str
    tool: str
    tool_version: str
    created: int


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What an enclave boots.

    Attributes:
        kernel: A bzImage with the drivers of an enclave built in or in a ramdisk.
        command_line: One line.
        ramdisks: The first is what boots (PCR1), all others are the application (PCR2). They are unpacked
            one after the other.
    """

    kernel: bytes
    command_line: str
    ramdisks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Eif:
    """
    An enclave image.

    Attributes:
        sections: In the order of the file.
        registers: What the enclave will say of it, 48 bytes each: PCR0 to PCR2, and PCR8 of a signed one.
    """

    sections: tuple[Section, ...]
    registers: Mapping[int, bytes]


def image(parts: Parts, description: Description, signer: Signer | None = None) -> bytes:
    """
    Return the enclave image file of version 4, for x86-64.

    Raises:
        KernelError: no bzImage for x86-64.
        CommandLineError: one that does not reach the kernel as it is written.
        EifError: no ramdisk, too many, parts that are too large, or a time that has no date; a ramdisk
            where the kernel does not look for one behind the one before.

    Not checked:
        That the kernel has the drivers of an enclave.

    Source:
        aws-nitro-enclaves-image-format, README.md, "Data sections", of 2024-06-21; the order of sections is
        that of src/utils/mod.rs, EifBuilder, version 0.5.
    """
    kernel = bzimage.parse(parts.kernel)
    line = bzimage.check_command_line(parts.command_line, kernel)
    sections = [
        Section(SectionKind.KERNEL, parts.kernel),
        Section(SectionKind.COMMAND_LINE, line),
        Section(SectionKind.METADATA, _metadata(description, kernel.release)),
        *(Section(SectionKind.RAMDISK, ramdisk) for ramdisk in parts.ramdisks),
    ]
    eif_format.check(sections)
    _check_alignment(parts.ramdisks)
    if signer is not None:
        signature = eif_signature.sign(_registers(sections)[0], signer)
        sections.append(Section(SectionKind.SIGNATURE, signature))
    return eif_format.encoded(sections)


def parse(data: bytes) -> Eif:
    """
    Return the image in `data`, and what it measures to.

    Raises:
        EifError: it is none, or damaged in any byte; see `images.eif_format.decoded`.  It is signed, and the
            signature is not one of its PCR0 by the key of its certificate.

    Not checked:
        Whose certificate that is, and when it counts: PCR8 says which one.  What the description says.

    Source:
        aws-nitro-enclaves-image-format, README.md, "EIF Measurements", of 2024-06-21.
    """
    sections = eif_format.decoded(data)
    registers = _registers(sections)
    for section in sections:
        if section.kind is SectionKind.SIGNATURE:
            registers[8] = nitro.signer(eif_signature.check(section.data, registers[0]))
    return Eif(sections, registers)


def _check_alignment(ramdisks: tuple[bytes, ...]) -> None:
    """Check that the kernel finds each ramdisk; between compressed ones it looks anywhere (tried on 6.1)."""
    place = 0
    for number, (before, ramdisk) in enumerate(itertools.pairwise(ramdisks), 1):
        place += len(before)
        if place % _CPIO_ALIGNMENT and (before.startswith(_CPIO) or ramdisk.startswith(_CPIO)):
            want = f"a multiple of {_CPIO_ALIGNMENT}: pad the one before with zeros"
            raise EifError(f"ramdisk {number}", f"a beginning at {place}", want, _RAMDISK_SOURCE)


def _registers(sections: list[Section] | tuple[Section, ...]) -> dict[int, bytes]:
    first = next(section for section in sections if section.kind is SectionKind.RAMDISK)
    return nitro.registers(
        (section.data, section is first or section.kind is not SectionKind.RAMDISK)
        for section in sections
        if section.kind in _MEASURED
    )


def _metadata(description: Description, release: str) -> bytes:
    """Return the description in JSON; every member has to be there for the tools of AWS."""
    try:
        built = datetime.fromtimestamp(description.created, UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise EifError("EIF.BuildTime", f"{description.created} seconds since 1970", "a date") from error
    return canonical_bytes(
        {
            "ImageName": description.name,
            "ImageVersion": description.version,
            "BuildMetadata": {
                "BuildTime": built,
                "BuildTool": description.tool,
                "BuildToolVersion": description.tool_version,
                "OperatingSystem": "Linux",
                "KernelVersion": release,
            },
            "DockerInfo": {},
            "CustomMetadata": {},
        }
    )
