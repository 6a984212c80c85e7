"""
Which launch digest (MEASUREMENT) will the report of an SEV-SNP guest have?

The recipe: the firmware's pages, the sections that it asks for, the save area of each processor.
"""

from __future__ import annotations

from dataclasses import dataclass

from images.measure import sev_metadata
from images.measure.errors import FirmwareError, KernelHashesError, LaunchParameterError
from images.measure.firmware import SVSM_INFO, Firmware
from images.measure.kernel_hashes import KernelHashes
from images.measure.sev_metadata import Section, SectionKind
from images.measure.snp_pages import LaunchDigest
from images.measure.vmsa import BOOT_ADDRESS, Vmm, save_area, svsm_save_area

MAXIMUM_VCPUS = 4096  # KVM_MAX_VCPUS of Linux 6.12
DIGEST_SIZE = 48


@dataclass(frozen=True, slots=True)
class Launch:
    """
    How a VM is started, as far as it is measured.

    Attributes:
        vcpus: How many processors, at least one.
        cpu_signature: EAX of CPUID function 1; see `images.measure.vcpu`.
        vmm: Who starts it.
        guest_features: SEV_FEATURES: bit 0 SNP, bit 5 debug swap, which hosts with Linux before 6.10 may set.

    Raises:
        LaunchParameterError: a number with which no VM starts.
    """

    vcpus: int
    cpu_signature: int
    vmm: Vmm = Vmm.QEMU
    guest_features: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.vcpus <= MAXIMUM_VCPUS:
            raise LaunchParameterError("vCPUs", str(self.vcpus), f"1 to {MAXIMUM_VCPUS}")
        if not 0 <= self.cpu_signature < 1 << 32:
            raise LaunchParameterError("vCPU signature", f"{self.cpu_signature:#x}", "32 bits")
        if not 0 <= self.guest_features < 1 << 64:
            raise LaunchParameterError("guest features", f"{self.guest_features:#x}", "64 bits")


def firmware_digest(firmware: Firmware) -> bytes:
    """Return the launch digest as it stands behind the firmware, which several launches may share."""
    chain = LaunchDigest()
    chain.add_normal(firmware.gpa, firmware.data)
    return chain.digest


def launch_digest(
    firmware: Firmware,
    launch: Launch,
    hashes: KernelHashes | None = None,
    *,
    after_firmware: bytes | None = None,
) -> bytes:
    """
    Return the launch digest, 48 bytes.

    Args:
        firmware: From `images.measure.firmware.parse`.
        launch: How the VM is started.
        hashes: Of what is booted beside the firmware (QEMU with kernel-hashes=on), None when nothing is.
        after_firmware: What `firmware_digest` returns, where it is known; the pages are then not looked at.

    Raises:
        FirmwareError: the firmware is not made for SEV-SNP.
        KernelHashesError: there are hashes, and the firmware has no place for them: it would boot any kernel.
        LaunchParameterError: `after_firmware` is no digest.

    Not checked:
        That firmware and host do what their source says: a report proves it, if it has this digest.

    Source:
        QEMU 10.0, target/i386/sev.c: sev_snp_launch_update_data(), snp_populate_metadata_pages(),
        sev_snp_launch_finish(); AMD publication 56860, revision 1.58, section 8.17.
    """
    if after_firmware is not None and len(after_firmware) != DIGEST_SIZE:
        raise LaunchParameterError("digest of the firmware", f"{len(after_firmware)} bytes", f"{DIGEST_SIZE}")
    sections = sev_metadata.sections(firmware)
    reset = sev_metadata.reset_address(firmware)
    if hashes is not None:
        _check_place(firmware, sections)

    chain = LaunchDigest(after_firmware or firmware_digest(firmware))
    _add_sections(chain, firmware, sections, launch.vmm, hashes)
    for number in range(launch.vcpus):
        address = reset if number else BOOT_ADDRESS
        chain.add_vmsa(save_area(launch.vmm, address, launch.cpu_signature, launch.guest_features))
    return chain.digest


def svsm_launch_digest(firmware: Firmware, svsm: Firmware, launch: Launch) -> bytes:
    """
    Return the launch digest of a guest in which a secure VM service module (SVSM) runs before the firmware.

    Args:
        firmware: The one that the module starts.
        svsm: The module, parsed with `end` at the lowest address of the firmware and its variables.
        launch: How the VM is started; by QEMU, others start no module.

    Raises:
        FirmwareError: the module does not say where it starts, or which memory it needs.
        LaunchParameterError: another monitor than QEMU.

    Source:
        coconut-svsm/qemu, branch of commit 0e64fb84, target/i386/sev.c.
    """
    if launch.vmm is not Vmm.QEMU:
        raise LaunchParameterError("VMM", launch.vmm.value, f"{Vmm.QEMU.value}: no other starts an SVSM")
    address = svsm.number(SVSM_INFO, "SVSM info") + svsm.gpa
    if not svsm.gpa <= address < svsm.end:
        raise FirmwareError("SVSM info", f"a start at 0x{address:x}", f"0x{svsm.gpa:x} to 0x{svsm.end:x}")
    chain = LaunchDigest(firmware_digest(firmware))
    chain.add_normal(svsm.gpa, svsm.data)
    _add_sections(chain, svsm, sev_metadata.sections(svsm), launch.vmm, None)
    for _ in range(launch.vcpus):
        chain.add_vmsa(svsm_save_area(address, launch.cpu_signature))
    return chain.digest


def _check_place(firmware: Firmware, sections: tuple[Section, ...]) -> None:
    place = next((section for section in sections if section.kind is SectionKind.KERNEL_HASHES), None)
    sev_metadata.hash_table_address(firmware)
    if place is None:
        want = "one, as edk2's OvmfPkg/AmdSev has it: else no kernel is measured"
        raise KernelHashesError("SEV metadata", "no section for kernel hashes", want)
    sev_metadata.hash_table_offset(firmware, place)


def _add_sections(
    chain: LaunchDigest,
    firmware: Firmware,
    sections: tuple[Section, ...],
    vmm: Vmm,
    hashes: KernelHashes | None,
) -> None:
    # EC2 adds the page for CPUID behind all others.
    late = [section for section in sections if vmm is Vmm.EC2 and section.kind is SectionKind.CPUID]
    for section in (*(section for section in sections if section not in late), *late):
        match section.kind:
            case SectionKind.SECRETS:
                chain.add_secrets(section.gpa)
            case SectionKind.CPUID:
                chain.add_cpuid(section.gpa)
            case SectionKind.KERNEL_HASHES if hashes is not None:
                offset = sev_metadata.hash_table_offset(firmware, section)
                page = bytes(offset) + hashes.table()
                chain.add_normal(section.gpa, page.ljust(section.size, b"\0"))
            case SectionKind.SEC_MEM if vmm is Vmm.GCE:
                chain.add_unmeasured(section.gpa, section.size)
            case _:
                chain.add_zero(section.gpa, section.size)
