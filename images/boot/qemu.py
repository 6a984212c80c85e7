"""
QEMU's command line, from parts.

Each part is a tuple of options that belong together; `command` puts them behind one another.  A part names
files and descriptors, and opens none.

Tried with QEMU 7.2: all but the parts for SEV-SNP and TDX.  Those follow the documentation of QEMU and have
NOT been run, for want of such a host.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from images.boot.choice import Technology

Part = tuple[str, ...]
NOT_RUN = "this command line follows QEMU's documentation; it has not been run on such a host by us"
SNP_POLICY = 0x30000  # SMT is allowed, and bit 17, which must be set; no debugging
# Of all processors with SEV-SNP until now (CPUID 8000_001F, EBX); QEMU refuses others than the host's.
_C_BIT, _REDUCED = 51, 1


@dataclass(frozen=True, slots=True)
class Resources:
    """What a machine gets: processors, and memory in MiB."""

    cpus: int = 1
    memory: int = 512


@dataclass(frozen=True, slots=True)
class Identity:
    """The ID block of an SEV-SNP guest and its authentication, from `images.measure.id_block`."""

    block: bytes
    authentication: bytes
    has_author_key: bool


def command(qemu: str, parts: Iterable[Part]) -> tuple[str, ...]:
    """Return a whole command line."""
    return (qemu, *(option for part in parts for option in part))


def plain(technology: Technology, resources: Resources) -> Part:
    """Return a machine that its host can look into: under KVM or TCG."""
    processor = "host" if technology is Technology.KVM else "max"
    return (*("-machine", "q35", "-accel", str(technology), "-cpu", processor), *_common(resources))


def snp(resources: Resources, vcpu_type: str, identity: Identity | None = None) -> Part:
    """
    Return an SEV-SNP guest whose kernel, initrd and command line are measured by their hashes.

    NOT RUN.

    Args:
        resources: What it gets.
        vcpu_type: QEMU's name of a model of processor: its signature is measured.
        identity: With this, the host starts no other guest.

    Source:
        QEMU 9.1, docs/system/i386/amd-memory-encryption.rst, "Launching (SEV-SNP)"; qapi/qom.json,
        SevCommonProperties and SevSnpGuestProperties.
    """
    guest = (
        f"sev-snp-guest,id=sev0,cbitpos={_C_BIT},reduced-phys-bits={_REDUCED},"
        f"policy={SNP_POLICY:#x},kernel-hashes=on"
    )
    if identity is not None:
        guest += f",id-block={_base64(identity.block)},id-auth={_base64(identity.authentication)}"
        guest += ",author-key-enabled=on" if identity.has_author_key else ""
    return (
        *("-machine", "q35,confidential-guest-support=sev0,memory-backend=ram0,vmport=off"),
        *("-accel", "kvm", "-cpu", vcpu_type, "-object", guest),
        *("-object", f"memory-backend-memfd,id=ram0,size={resources.memory}M,share=true"),
        *_common(resources),
    )


def tdx(resources: Resources) -> Part:
    """
    Return a trust domain.

    NOT RUN.

    Source:
        QEMU 10.1, docs/system/i386/tdx.rst, "Launching a TD (TDX VM)".
    """
    return (
        *("-machine", "q35,kernel-irqchip=split,confidential-guest-support=tdx0"),
        *("-accel", "kvm", "-cpu", "host", "-object", "tdx-guest,id=tdx0"),
        *_common(resources),
    )


def _common(resources: Resources) -> Part:
    """No device, no configuration and no window but those that are named; off instead of once more."""
    return (
        *("-smp", str(resources.cpus), "-m", f"{resources.memory}M"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    )


def firmware(path: str) -> Part:
    """Return a firmware that is loaded as memory: what confidential machines start with."""
    return ("-bios", path)


def flash(code: str, variables: str) -> Part:
    """Return a firmware in flash memory, whose variables are forgotten when the machine is off."""
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escaped(code)}"),
        *("-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={_escaped(variables)}"),
    )


def handed_over(kernel: str, initrd: str, command_line: str) -> Part:
    """Return a kernel that the VMM hands over, beside firmware or without."""
    return ("-kernel", kernel, "-initrd", initrd, "-append", command_line)


def disk(path: str) -> Part:
    """Return a disk; what is written to it is forgotten when the machine is off."""
    return (
        *("-drive", f"if=none,id=disk0,format=raw,snapshot=on,file={_escaped(path)}"),
        *("-device", "virtio-blk-pci,drive=disk0,bootindex=0"),
    )


def console(descriptor: int) -> Part:
    """Return a serial line that ends at a connected socket."""
    return ("-chardev", f"socket,id=console,fd={descriptor}", "-serial", "chardev:console")


def ports(named: Iterable[tuple[str, int]]) -> Part:
    """Return virtio-serial ports by name, each of which ends at a connected socket; nothing for none."""
    part: Part = ()
    for number, (name, descriptor) in enumerate(named):
        part += ("-chardev", f"socket,id=port{number},fd={descriptor}")
        part += ("-device", f"virtserialport,chardev=port{number},name={_escaped(name)}")
    return ("-device", "virtio-serial-pci", *part) if part else ()


def tpm(descriptor: int) -> Part:
    """Return a TPM 2.0 that swtpm plays at the other end of a connected socket."""
    return (
        *("-chardev", f"socket,id=tpm,fd={descriptor}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"),
        *("-device", "tpm-crb,tpmdev=tpm0"),
    )


def network(forwarded: Iterable[str] = ()) -> Part:
    """Return a network card behind QEMU's own router; `forwarded` are its rules of the form tcp::8080-:80."""
    rules = "".join(f",hostfwd={_escaped(rule)}" for rule in forwarded)
    return ("-netdev", f"user,id=net0{rules}", "-device", "virtio-net-pci,netdev=net0")


def _escaped(text: str) -> str:
    """QEMU takes two commas for one in a value."""
    return text.replace(",", ",,")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
