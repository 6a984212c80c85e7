"""
What does this host offer to a machine that is to be started?

Each answer comes with what it was concluded from, so that a user reads why something was not taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.boot.errors import QemuError

SNP_OBJECT, TDX_OBJECT = "sev-snp-guest", "tdx-guest"
_VERSION = re.compile(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?")
# Modules under which KVM runs any x86 kernel.  Others (kvm_pvm) take guests that are made for them alone.
_HARDWARE_MODULES = ("kvm_amd", "kvm_intel")

Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether something is there, and what says so."""

    is_there: bool
    why: str


@dataclass(frozen=True, slots=True)
class Host:
    """
    What a host offers.

    Attributes:
        qemu: The program.
        version: Of QEMU, as it says itself.
        snp: SEV-SNP by QEMU, KVM and the secure processor.
        tdx: TDX by QEMU and KVM.
        kvm: KVM for any kernel.
    """

    qemu: str
    version: str
    snp: Offer
    tdx: Offer
    kvm: Offer


def probe(qemu: str, root: Path, run: Run) -> Host:
    """
    Return what the host below `root` offers to a QEMU.

    Args:
        qemu: The program.
        root: "/", but in tests.
        run: Runs a command and returns what it prints.

    Raises:
        QemuError: it does not say its version.

    Source:
        Linux 6.12, arch/x86/kvm/svm/sev.c, module parameter sev_snp; drivers/crypto/ccp/sev-dev.c, /dev/sev;
        Linux 6.16, arch/x86/kvm/vmx/tdx.c, module parameter tdx; QEMU 10.1, docs/system/i386/tdx.rst.
    """
    said = run((qemu, "--version"))
    found = _VERSION.match(said)
    if found is None:
        raise QemuError(qemu, f"{said[:60]!r} as its version", "QEMU emulator version N.N")
    version = ".".join(part for part in found.groups() if part)
    objects = frozenset(run((qemu, "-object", "help")).split())
    return Host(
        qemu,
        version,
        _snp(root, version, objects),
        _tdx(root, version, objects),
        _kvm(root),
    )


def _snp(root: Path, version: str, objects: frozenset[str]) -> Offer:
    if not (root / "dev/sev").exists():
        return Offer(is_there=False, why="no /dev/sev")
    return _confidential(root, version, objects, ("kvm_amd", "sev_snp"), (SNP_OBJECT, "9.1"))


def _tdx(root: Path, version: str, objects: frozenset[str]) -> Offer:
    return _confidential(root, version, objects, ("kvm_intel", "tdx"), (TDX_OBJECT, "10.1"))


def _confidential(
    root: Path, version: str, objects: frozenset[str], parameter: tuple[str, str], wanted: tuple[str, str]
) -> Offer:
    module, name = parameter
    path = root / "sys/module" / module / "parameters" / name
    try:
        value = path.read_text().strip()
    except OSError:
        return Offer(is_there=False, why=f"no /sys/module/{module}/parameters/{name}")
    if value not in {"Y", "1"}:
        return Offer(is_there=False, why=f"/sys/module/{module}/parameters/{name} says {value}")
    kind, since = wanted
    if kind not in objects:
        return Offer(is_there=False, why=f"QEMU {version} has no {kind}, which is in {since} and later")
    return Offer(is_there=True, why=f"{module}.{name} is on, QEMU {version} has {kind}")


def _kvm(root: Path) -> Offer:
    device = root / "dev/kvm"
    if not device.exists():
        return Offer(is_there=False, why="no /dev/kvm")
    if not os.access(device, os.R_OK | os.W_OK):
        return Offer(is_there=False, why="no right to open /dev/kvm")
    modules = sorted(path.name for path in (root / "sys/module").glob("kvm_*"))
    for module in _HARDWARE_MODULES:
        if module in modules:
            return Offer(is_there=True, why=f"/dev/kvm by {module}")
    by = ", ".join(modules) or "no module that is known"
    return Offer(is_there=False, why=f"/dev/kvm is by {by}, which runs no ordinary kernel")
