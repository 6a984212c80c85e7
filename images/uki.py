"""
One program for the firmware that is kernel, initrd and command line: a unified kernel image.

Made of a stub, which hands the rest to the kernel, by sections behind those that it has.  The same inputs
give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images import bzimage, pe_sections
from images.boot_errors import BootImageError, KernelError, StubError
from images.bzimage import BzImage
from images.measure import pe
from images.measure.errors import PeError
from images.pe_sections import X86_64, NewSection

SOURCE = 'UAPI.5, "Unified Kernel Image (UKI)", version 1.0'
STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
PACKAGE = "systemd-boot-efi"
_MACHINE_AT = 4


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What is unified.

    Attributes:
        kernel: A bzImage with an EFI stub of its own (CONFIG_EFI_STUB).
        initrd: Of any format that the kernel unpacks; empty for none.
        command_line: One line.
        os_release: What os-release(5) calls the image.
    """

    kernel: bytes
    initrd: bytes
    command_line: str
    os_release: bytes


def image(stub: bytes, parts: Parts) -> bytes:
    """
    Return the unified kernel image of a stub and parts.

    Sections stand in the order of ukify, the kernel last: what unpacks itself in place may write behind it.
    `.sbat` is that of the stub, which revocation is about, and `.uname` what the kernel says of itself.

    Raises:
        StubError: no EFI program for x86-64; one with a part of an image inside, or without room for more.
        KernelError: no bzImage for x86-64, or one that firmware cannot start.
        CommandLineError: one that does not reach the kernel as it is written.
        BootImageError: an os-release that is no text.

    Not checked:
        That the stub knows these sections: `images.measure.uki.parse` refuses stubs whose measurements are
        not known.

    Source:
        UAPI.5, "Unified Kernel Image (UKI)", version 1.0; systemd-stub(7) and ukify(1), version 257.
    """
    kernel = bzimage.parse(parts.kernel)
    _check_efi(kernel)
    line = bzimage.check_command_line(parts.command_line, kernel)
    given = (
        NewSection(".osrel", _text(parts.os_release)),
        NewSection(".cmdline", line),
        NewSection(".uname", kernel.release.encode()),
        NewSection(".initrd", parts.initrd),
        NewSection(".linux", parts.kernel, code=True),
    )
    return pe_sections.with_sections(stub, [section for section in given if section.data])


def found_stub(root: Path) -> Path:
    """
    Return where the stub of systemd is in the system at `root`.

    Raises:
        StubError: it is not installed there.
    """
    path = root / STUB
    if not path.is_file():
        raise StubError(str(path), "no such file", f"the stub of systemd (apt install {PACKAGE})")
    return path


def _check_efi(kernel: BzImage) -> None:
    where = "kernel.EFI stub"
    try:
        parsed = pe.parse(kernel.data)
    except PeError as error:
        want = f"a PE image, as CONFIG_EFI_STUB makes it ({error.where}: {error.want})"
        raise KernelError(where, error.found, want) from error
    start = int.from_bytes(parsed.data[60:64], "little") + _MACHINE_AT
    machine = int.from_bytes(parsed.data[start : start + 2], "little")
    if machine != X86_64:
        raise KernelError(where, f"machine 0x{machine:x}", f"0x{X86_64:x}, x86-64", pe.SOURCE)


def _text(os_release: bytes) -> bytes:
    try:
        text = os_release.decode()
    except UnicodeDecodeError as error:
        raise BootImageError("os-release", f"byte {error.start}", "UTF-8", SOURCE) from error
    if not text.strip() or "\0" in text:
        raise BootImageError("os-release", repr(text)[:60], "lines of NAME=VALUE", SOURCE)
    return os_release
