"""What does QEMU before 10.0 write into a kernel before it hands it to the firmware?"""

from __future__ import annotations

import struct

from images.measure.errors import LaunchParameterError, PeError

SOURCE = "Linux Documentation/arch/x86/boot.rst, version 6.12"
_HEADER_END = 0x238 + 4
_MAGIC, _PROTOCOL = b"HdrS", 0x20C  # at 0x202; the oldest protocol with an EFI stub that is of use
_ABOVE_4G = 1 << 1  # XLF_CAN_BE_LOADED_ABOVE_4G
_LOADED_HIGH, _CAN_USE_HEAP = 1, 0x80
_REAL_MODE, _COMMAND_LINE = 0x10000, 0x20000
_ACPI_DATA = 0x28000
_LOW_MEMORY, _LOW_MEMORY_OF_LARGE = 0xB000_0000, 0x8000_0000  # of the machine type q35
_QEMU = 0xB0  # type_of_loader
_PAGE_MASK = ~0xFFF


def patched(kernel: bytes, initrd_size: int, memory: int) -> bytes:
    """
    Return a kernel as firmware gets it from QEMU before 10.0, whose machine type is q35.

    Guests of SEV-SNP get it unchanged; others, trust domains among them, with the setup header filled in.

    Args:
        kernel: The file, a bzImage.
        initrd_size: In bytes; 0 without an initrd.
        memory: Of the VM, in bytes.

    Raises:
        PeError: no kernel with a header of protocol 2.12 or later.
        LaunchParameterError: the initrd does not fit into the memory.

    Not checked:
        That the command line has no `vga=`, which QEMU would write into the header as well.

    Source:
        QEMU 9.2, hw/i386/x86-common.c, x86_load_linux(); Linux Documentation/arch/x86/boot.rst.
    """
    if len(kernel) < _HEADER_END or kernel[0x202:0x206] != _MAGIC:
        raise PeError("kernel.header", "no HdrS at 0x202", "a bzImage", SOURCE)
    protocol, flags, extended_flags = (
        int.from_bytes(kernel[at : at + 2], "little") for at in (0x206, 0x211, 0x236)
    )
    if protocol < _PROTOCOL or not flags & _LOADED_HIGH:
        found = f"protocol {protocol >> 8}.{protocol & 0xFF:02d}"
        raise PeError("kernel.header", found, "2.12 or later, loaded high", SOURCE)
    below = memory if memory < _LOW_MEMORY else _LOW_MEMORY_OF_LARGE
    highest = 0xFFFF_FFFF if extended_flags & _ABOVE_4G else int.from_bytes(kernel[0x22C:0x230], "little")
    highest = min(highest, below - _ACPI_DATA - 1)
    if initrd_size >= highest:
        raise LaunchParameterError("memory", f"{memory} bytes", f"room for an initrd of {initrd_size} bytes")
    result = bytearray(kernel)
    result[0x210] = _QEMU
    result[0x211] |= _CAN_USE_HEAP
    if initrd_size:
        struct.pack_into("<II", result, 0x218, (highest - initrd_size) & _PAGE_MASK, initrd_size)
    struct.pack_into("<H", result, 0x224, _COMMAND_LINE - _REAL_MODE - 0x200)
    struct.pack_into("<I", result, 0x228, _COMMAND_LINE)
    return bytes(result)
