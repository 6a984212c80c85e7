"""
Which measurements will the quote of a trust domain have?

MRTD is the memory that it starts with.  The registers RTMR0 to RTMR2 are what the firmware (TDVF) and Linux
extend when the VMM hands over a kernel directly: platform, kernel, command line and initrd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from hashlib import sha384
from uuid import UUID

from images.measure import pe, tdvf
from images.measure.errors import LaunchParameterError
from images.measure.firmware import PAGE, Firmware
from images.measure.pcr import CALLING, SEPARATOR
from images.measure.register import digest, extended
from images.measure.tdvf import Section

_CHUNK = 256
_ALGORITHM = "sha384"
_EXIT = (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success")
_GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_KEY_VARIABLES = (
    ("SecureBoot", _GLOBAL),
    ("PK", _GLOBAL),
    ("KEK", _GLOBAL),
    ("db", _SECURITY),
    ("dbx", _SECURITY),
)
_BOOT_ORDER = bytes(2)  # one option, 0000
# The option that OVMF makes for itself: an EFI_LOAD_OPTION, active and hidden, category application, "UiApp",
# and the device path of firmware volume and file.
_BOOT_OPTION = bytes.fromhex(
    "090100002c0055006900410070007000000004071400c9bdb87cebf8344faaea3ee4af6516a1"
    "0406140021aa2c4614760345836e8ab6f46623317fff0400"
)


class PageOrder(Enum):
    """In which order a VMM adds and measures pages: each at once (Linux 6.16), or all of a section first."""

    EACH_PAGE = "each-page"
    EACH_SECTION = "each-section"


class BootVariables(Enum):
    """When the firmware measures boot options: behind the ACPI tables, or before the keys of Secure Boot."""

    LAST = "last"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Platform:
    """
    What only the VMM knows, as it gives it to the firmware.

    Attributes:
        td_hob: The hand-off block with the memory map.
        acpi_loader, acpi_rsdp, acpi_tables: The files etc/table-loader, etc/acpi/rsdp and etc/acpi/tables.
    """

    td_hob: bytes
    acpi_loader: bytes
    acpi_rsdp: bytes
    acpi_tables: bytes


def mrtd(firmware: Firmware, order: PageOrder = PageOrder.EACH_PAGE) -> bytes:
    """
    Return MRTD, 48 bytes.

    Args:
        firmware: From `images.measure.firmware.parse`.
        order: How the VMM goes about it.

    Raises:
        FirmwareError: the firmware is not made for TDX.

    Source:
        Intel TDX Module Base Architecture Specification, 348549-005, section 12.2.1, "MRTD: Build-Time
        Measurement Register"; Linux 6.16, arch/x86/kvm/vmx/tdx.c, tdx_gmem_post_populate(); QEMU 10.1,
        target/i386/kvm/tdx.c, tdx_init_fw_mem_region().
    """
    measurement = sha384()
    for section in tdvf.sections(firmware):
        if section.added:
            for piece in _pieces(section, order):
                measurement.update(piece)
    return measurement.digest()


def rtmr0(firmware: Firmware, platform: Platform, variables: BootVariables = BootVariables.LAST) -> bytes:
    """
    Return RTMR0, 48 bytes: the platform, as the VMM describes it to firmware without variables of its own.

    Args:
        firmware: From `images.measure.firmware.parse`.
        platform: What the VMM gave; only who has it can tell RTMR0.
        variables: When the firmware measures boot options.

    Raises:
        FirmwareError: the firmware has no configuration volume.

    Not checked:
        Firmware that measures more than this, such as the tables of SMBIOS.

    Source:
        edk2 OvmfPkg, edk2-stable202505: Library/TdxHelperLib, Tcg/TdTcg2Dxe, AcpiPlatformDxe/QemuFwCfgAcpi.c.
    """
    acpi = (platform.acpi_loader, platform.acpi_rsdp, platform.acpi_tables)
    given = [
        digest(data, _ALGORITHM) for data in (platform.td_hob, tdvf.configuration_volume(firmware), *acpi)
    ]
    return rtmr0_of_digests(given[0], given[1], tuple(given[2:]), variables)


def rtmr0_of_digests(
    td_hob: bytes, volume: bytes, acpi: tuple[bytes, ...], variables: BootVariables = BootVariables.LAST
) -> bytes:
    """Return RTMR0 where only digests are known: of hand-off block, configuration volume, ACPI files."""
    keys = [digest(_variable(name, vendor), _ALGORITHM) for name, vendor in _KEY_VARIABLES]
    separator = digest(SEPARATOR, _ALGORITHM)
    order, option = digest(_BOOT_ORDER, _ALGORITHM), digest(_BOOT_OPTION, _ALGORITHM)
    if variables is BootVariables.FIRST:
        return extended((td_hob, volume, option, order, *keys, separator, *acpi), _ALGORITHM)
    return extended((td_hob, volume, *keys, separator, *acpi, order, option), _ALGORITHM)


def rtmr1(kernel: bytes) -> bytes:
    """
    Return RTMR1, 48 bytes: the kernel, and that the firmware started it.

    Args:
        kernel: As the firmware gets it. QEMU before 10.0 writes into its setup header first; QEMU 10.0 with
            edk2-stable202502 hands the file over as it is.

    Raises:
        PeError: it is no PE image.

    Source:
        TCG PC Client Platform Firmware Profile, revision 1.06, section 3.3.4.5; UEFI 2.10, section 38.4.1,
        for the register that takes the place of PCR 4 and 5.
    """
    programs = (pe.authenticode(pe.parse(kernel), _ALGORITHM),)
    return rtmr1_of_digest(*programs)


def rtmr1_of_digest(kernel: bytes) -> bytes:
    """Return RTMR1 where only the Authenticode digest (SHA-384) of the kernel is known."""
    around = (digest(data, _ALGORITHM) for data in (CALLING, SEPARATOR, *_EXIT))
    return extended((kernel, *around), _ALGORITHM)


def rtmr2(initrd: bytes, cmdline: bytes) -> bytes:
    """
    Return RTMR2, 48 bytes: the command line and the initrd, as Linux measures them.

    Args:
        initrd: Empty where there is none.
        cmdline: As it is given to the VMM; with an initrd, the firmware adds " initrd=initrd".

    Raises:
        LaunchParameterError: a command line that is no ASCII, or has zero bytes.

    Source:
        Linux 6.12, drivers/firmware/efi/libstub/efi-stub-helper.c; edk2 OvmfPkg, edk2-stable202505,
        Library/GenericQemuLoadImageLib, QemuLoadKernelImage().
    """
    if not cmdline.isascii() or b"\0" in cmdline:
        raise LaunchParameterError("command line", repr(cmdline), "ASCII without zero bytes")
    line = cmdline.decode() + (" initrd=initrd" if initrd else "")
    events = []
    if line:
        events.append(digest((line + "\0").encode("utf-16-le"), _ALGORITHM))
    if initrd:
        events.append(digest(initrd, _ALGORITHM))
    return extended(events, _ALGORITHM)


def _pieces(section: Section, order: PageOrder) -> Iterator[bytes]:
    """Yield what a section adds to MRTD."""
    pages = range(0, section.size, PAGE)
    if order is PageOrder.EACH_PAGE:
        for page in pages:
            yield _record(b"MEM.PAGE.ADD", section.gpa + page)
            yield from _contents(section, page)
        return
    for page in pages:
        yield _record(b"MEM.PAGE.ADD", section.gpa + page)
    for page in pages:
        yield from _contents(section, page)


def _contents(section: Section, page: int) -> Iterator[bytes]:
    if section.measured:
        data = section.data[page : page + PAGE].ljust(PAGE, b"\0")
        for chunk in range(0, PAGE, _CHUNK):
            yield _record(b"MR.EXTEND", section.gpa + page + chunk)
            yield data[chunk : chunk + _CHUNK]


def _record(name: bytes, gpa: int) -> bytes:
    return (name.ljust(16, b"\0") + gpa.to_bytes(8, "little")).ljust(128, b"\0")


def _variable(name: str, vendor: UUID) -> bytes:
    """Return the UEFI_VARIABLE_DATA of a variable that is not there."""
    sizes = len(name).to_bytes(8, "little") + bytes(8)
    return vendor.bytes_le + sizes + name.encode("utf-16-le")
