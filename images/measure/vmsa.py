"""In which state does a processor of an SEV guest start? Its save area (VMSA), which is measured."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from images.measure.firmware import PAGE

BOOT_ADDRESS = 0xFFFF_FFF0  # the reset vector: where the first processor starts
_SEGMENT = struct.Struct("<HHIQ")  # selector, attributes, limit, base
_WIDTHS = {2: "<H", 4: "<I", 8: "<Q"}
# Offset and size; AMD publication 24593, revision 3.42, appendix B, table B-4, "VMSA Layout, State Save Area
# for SEV-ES".
_FIELDS = {
    "efer": (0xD0, 8),
    "cr4": (0x148, 8),
    "cr0": (0x158, 8),
    "dr7": (0x160, 8),
    "dr6": (0x168, 8),
    "rflags": (0x170, 8),
    "rip": (0x178, 8),
    "g_pat": (0x268, 8),
    "rdx": (0x310, 8),
    "sev_features": (0x3B0, 8),
    "xcr0": (0x3E8, 8),
    "mxcsr": (0x408, 4),
    "x87_fcw": (0x410, 2),
}
_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "gdtr", "ldtr", "idtr", "tr")
_LIMIT = 0xFFFF


class Vmm(Enum):
    """Whose virtual machine monitor starts the guest; each sets registers its own way."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What differs between monitors.

    Attributes:
        cs, boot_cs: Attributes of the code segment: of all processors but the first, and of that.
        ss, tr: Attributes of the stack segment and the task register.
        g_pat: The guest's page attribute table.
        rdx: What a processor finds in RDX, or None for its CPUID signature, which is what hardware gives.
        mxcsr, x87_fcw: Control words of SSE and x87.
    """

    cs: int = 0x9B
    boot_cs: int = 0x9B
    ss: int = 0x93
    tr: int = 0x8B
    g_pat: int = 0x7_0406_0007_0406
    rdx: int | None = None
    mxcsr: int = 0x1F80
    x87_fcw: int = 0x37F


# QEMU's follows from target/i386/cpu.c, x86_cpu_reset_hold(), and KVM (Linux 6.11, arch/x86/kvm/svm/sev.c,
# sev_es_sync_vmsa()); those of the clouds were published by their users as what reproduces their digests.
SHAPES = {
    Vmm.QEMU: Shape(),
    Vmm.EC2: Shape(boot_cs=0x9A, ss=0x92, tr=0x83, rdx=0x600, mxcsr=0, x87_fcw=0),
    Vmm.GCE: Shape(g_pat=0x0007_0106, rdx=0x600, mxcsr=0, x87_fcw=0),
}


def save_area(vmm: Vmm, address: int, cpu_signature: int, features: int) -> bytes:
    """
    Return the 4096 bytes of the save area of a processor that starts at `address` in real mode.

    Args:
        vmm: Who starts the guest.
        address: `BOOT_ADDRESS` for the first processor, what the firmware says for all others.
        cpu_signature: EAX of CPUID function 1.
        features: SEV_FEATURES, which the host's kernel sets.

    Source:
        AMD publication 24593, revision 3.42, appendix B, table B-4.
    """
    shape = SHAPES[vmm]
    cs = shape.boot_cs if address == BOOT_ADDRESS else shape.cs
    attributes = {"cs": cs, "ss": shape.ss, "gdtr": 0, "ldtr": 0x82, "idtr": 0, "tr": shape.tr}
    segments = {name: (0, attributes.get(name, 0x93), _LIMIT, 0) for name in _SEGMENTS}
    segments["cs"] = (0xF000, cs, _LIMIT, address & 0xFFFF_0000)
    registers = {
        "efer": 0x1000,  # SVME, which KVM sets
        "cr4": 0x40,  # MCE, which KVM sets
        "cr0": 0x10,
        "rip": address & 0xFFFF,
        "g_pat": shape.g_pat,
        "rdx": cpu_signature if shape.rdx is None else shape.rdx,
        "sev_features": features,
        "mxcsr": shape.mxcsr,
        "x87_fcw": shape.x87_fcw,
    }
    return _page(segments, registers)


def svsm_save_area(address: int, cpu_signature: int) -> bytes:
    """
    Return the save area of a processor that starts a secure VM service module at `address` in protected mode.

    Source:
        The launch protocol of COCONUT-SVSM: coconut-svsm/qemu, branch of commit 0e64fb84, target/i386/sev.c.
    """
    flat = (0x10, 0xC93, 0xFFFF_FFFF, 0)
    segments = dict.fromkeys(("es", "ss", "ds", "fs"), flat)
    segments["cs"] = (0x08, 0xC9B, 0xFFFF_FFFF, 0)
    segments["gs"] = (0, 0x93, _LIMIT, 0)
    segments["gdtr"] = segments["idtr"] = (0, 0, _LIMIT, 0)
    segments["ldtr"], segments["tr"] = (0, 0x82, _LIMIT, 0), (0, 0x8B, _LIMIT, 0)
    registers = {
        "efer": 0x1000,
        "cr4": 0x40,
        "cr0": 0x11,
        "rip": address,
        "g_pat": SHAPES[Vmm.QEMU].g_pat,
        "rdx": cpu_signature,
        "sev_features": 1,
        "mxcsr": 0x1F80,
    }
    return _page(segments, registers)


def _page(segments: dict[str, tuple[int, int, int, int]], registers: dict[str, int]) -> bytes:
    page = bytearray(PAGE)
    for number, name in enumerate(_SEGMENTS):
        _SEGMENT.pack_into(page, number * _SEGMENT.size, *segments[name])
    always = {"dr7": 0x400, "dr6": 0xFFFF_0FF0, "rflags": 0x2, "xcr0": 0x1}
    for name, value in {**always, **registers}.items():
        offset, size = _FIELDS[name]
        struct.pack_into(_WIDTHS[size], page, offset, value)
    return bytes(page)
