"""What does the setup header of an x86 kernel say?"""

from __future__ import annotations

from dataclasses import dataclass

from images.boot_errors import CommandLineError, KernelError

SOURCE = "Linux Documentation/arch/x86/boot.rst, version 6.12"
MAXIMUM_SIZE = 1 << 29
_HEADER_END = 0x268
_MAGIC, _PROTOCOL = b"HdrS", 0x20C  # at 0x202; with xloadflags from this protocol on
_SETUP_SECTORS, _VERSION_AT, _PROTOCOL_AT = 0x1F1, 0x20E, 0x206
_LOAD_FLAGS, _EXTENDED_FLAGS, _COMMAND_LINE_SIZE = 0x211, 0x236, 0x238
_LOADED_HIGH, _KERNEL_64 = 1, 1
_SECTOR = 512
_VERSION_MOST = 256


@dataclass(frozen=True, slots=True)
class BzImage:
    """
    A kernel.

    Attributes:
        data: The whole file.
        release: What uname(2) calls the release: "6.12.0".
        command_line_limit: How many bytes a command line may have, without a final zero.
    """

    data: bytes
    release: str
    command_line_limit: int


def parse(data: bytes) -> BzImage:
    """
    Return the kernel in `data`.

    Raises:
        KernelError: no bzImage of protocol 2.12 or later (Linux 3.8), or one that is not for x86-64.

    Not checked:
        That it runs; that EFI firmware can start it, which `images.uki` asks for.

    Source:
        Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header", version 6.12.
    """
    if len(data) > MAXIMUM_SIZE:
        raise KernelError("kernel", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE}")
    if len(data) < _HEADER_END or data[0x202:0x206] != _MAGIC:
        raise KernelError("kernel.header", "no HdrS at 0x202", "a bzImage", SOURCE)
    protocol = _number(data, _PROTOCOL_AT, 2)
    if protocol < _PROTOCOL or not data[_LOAD_FLAGS] & _LOADED_HIGH:
        found = f"protocol {protocol >> 8}.{protocol & 0xFF:02d}, load flags 0x{data[_LOAD_FLAGS]:02x}"
        raise KernelError("kernel.header", found, "protocol 2.12 or later, loaded high", SOURCE)
    if not _number(data, _EXTENDED_FLAGS, 2) & _KERNEL_64:
        raise KernelError("kernel.xloadflags", "no 64-bit entry point", "a kernel for x86-64", SOURCE)
    return BzImage(data, _release(data), _number(data, _COMMAND_LINE_SIZE, 4))


def check_command_line(text: str, kernel: BzImage) -> bytes:
    """
    Return a command line as bytes, which reach the kernel as they were written.

    Raises:
        CommandLineError: it is longer than the kernel takes, which would cut it off; it has line breaks or
            other control characters or blanks at an end, which boot programs replace or drop each their own
            way; or it has characters beyond U+FFFF or unpaired surrogates.
    """
    if not text.isprintable() or text != text.strip() or any(ord(letter) > 0xFFFF for letter in text):
        want = "one line of printable characters up to U+FFFF, without blanks at its ends"
        raise CommandLineError("command line", repr(text)[:80], want)
    encoded = text.encode()
    if len(encoded) > kernel.command_line_limit:
        want = f"at most {kernel.command_line_limit}, what this kernel keeps"
        raise CommandLineError("command line", f"{len(encoded)} bytes", want, SOURCE)
    return encoded


def _release(data: bytes) -> str:
    """Return the first word of the version, which stands in the part of the kernel for real mode."""
    offset = _number(data, _VERSION_AT, 2)
    start, end = offset + 0x200, (data[_SETUP_SECTORS] + 1) * _SECTOR
    text, zero, _ = data[start : min(end, start + _VERSION_MOST)].partition(b"\0")
    word = text.split(b" ")[0]
    if not offset or not zero or not word.isascii() or not word.decode().isprintable() or not word:
        raise KernelError("kernel.kernel_version", f"no text at 0x{start:x}", "the kernel's version", SOURCE)
    return word.decode()


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
