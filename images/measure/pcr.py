"""
Which values will the registers of a TPM have, after firmware booted a unified kernel image?

Registers 4, 9, 11 and 12: which programs ran, what the kernel was given, what the image holds, what was given
to it from outside.
"""

from __future__ import annotations

from collections.abc import Iterable

from images.measure import pe
from images.measure.errors import UkiError
from images.measure.register import digest, extended
from images.measure.uki import CALLS_KERNEL, MEASURED, Uki, combined_initrd, kernel_command_line, mangled

ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")
SEPARATOR = bytes(4)
CALLING = b"Calling EFI Application from Boot Option"
PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")


def boot_programs(uki: Uki, algorithm: str, *, secure_boot: bool) -> bytes:
    """
    Return register 4: the image, and the kernel inside where the stub lets the firmware load it.

    Args:
        uki: The image, from `images.measure.uki.parse`.
        algorithm: Of the bank of registers, one of `ALGORITHMS`.
        secure_boot: Whether it is on; stubs before 258 then vouch for the kernel, and the firmware does not
            look at it.

    Raises:
        PeError: the kernel is no PE image.

    Not checked:
        That the image is what the first boot option names, and that no option before it was tried.

    Source:
        TCG PC Client Platform Firmware Profile, revision 1.06, section 3.3.4.5, "PCR[4]"; systemd 257,
        src/boot/secure-boot.c, install_security_override(); systemd 258, src/boot/linux.c.
    """
    programs = [pe.authenticode(uki.image, algorithm)]
    if uki.stub < CALLS_KERNEL and not secure_boot:
        programs.append(pe.authenticode(pe.parse(uki.sections[".linux"]), algorithm))
    before = (digest(CALLING, algorithm), digest(SEPARATOR, algorithm))
    return extended((*before, *programs), algorithm)


def kernel_inputs(uki: Uki, algorithm: str, *, options: bytes | None = None) -> bytes:
    """
    Return register 9: the command line and the initrd, as the kernel's own stub measures them.

    Args:
        uki: The image.
        algorithm: Of the bank of registers.
        options: A command line that is given to the image from outside, None without one; it counts instead
            of the one inside.

    Raises:
        UkiError: there is no command line, or it is no text that the stub hands on.

    Not checked:
        That the kernel is Linux 6.1 or later, which measures the command line, too.

    Source:
        Linux 6.12, drivers/firmware/efi/libstub/efi-stub-helper.c, efi_convert_cmdline(), efi_load_initrd().
    """
    line = kernel_command_line(uki) if options is None else mangled(options, uki.stub)
    if line is None:
        raise UkiError("unified kernel image", "no command line", "one inside, or one that is given")
    events = [digest(_load_options(line), algorithm)]
    initrd = combined_initrd(uki)
    if initrd:
        events.append(digest(initrd, algorithm))
    return extended(events, algorithm)


def image_contents(uki: Uki, algorithm: str, phases: Iterable[str] = ()) -> bytes:
    """
    Return register 11: every section of the image, and the phases of the boot that systemd has announced.

    Args:
        uki: The image.
        algorithm: Of the bank of registers.
        phases: Those that were reached, in their order (`PHASES`); none as long as systemd does not run.

    Source:
        systemd-stub(7), "TPM PCR Notes"; systemd-pcrphase.service(8); version 257.
    """
    events: list[bytes] = []
    for name in MEASURED:
        if name in uki.sections:
            events += (name.encode() + b"\0", uki.sections[name])
    events += (phase.encode() for phase in phases)
    return extended((digest(event, algorithm) for event in events), algorithm)


def outside_inputs(uki: Uki, algorithm: str, *, options: bytes | None = None) -> bytes:
    """
    Return register 12: what was given to the image from outside; zeros when nothing was.

    Raises:
        UkiError: the command line is no text that the stub hands on.

    Source:
        systemd-stub(7), "TPM PCR Notes"; version 257.
    """
    if options is None:
        return extended((), algorithm)
    return extended((digest(_load_options(mangled(options, uki.stub)), algorithm),), algorithm)


def _load_options(line: str) -> bytes:
    return (line + "\0").encode("utf-16-le")
