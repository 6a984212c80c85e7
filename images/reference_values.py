"""
What will hardware say of an image that we made, in the form that policies take?

Predictions of `images.measure` and registers of enclave images, as reference values: the entries of
`attestation.reference_values`, which `shim verify` compares evidence with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attestation.reference_values import Entry
from images import eif
from images.measure import firmware as firmwares, pcr, simulated, snp, tdx, uki as unified
from images.measure.kernel_hashes import kernel_hashes
from images.measure.snp import Launch

_SHA256, _SHA384 = "sha-256", "sha-384"


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """
    What a VMM hands over beside the firmware: an initramfs, its kernel and a command line.

    Attributes:
        kernel: As the firmware gets it; QEMU before 10.0 changes it for trust domains.
        initrd: Empty for none.
        command_line: As it is given to the VMM.
    """

    kernel: bytes
    initrd: bytes
    command_line: bytes


@dataclass(frozen=True, slots=True)
class NamedLaunch:
    """How an SEV-SNP guest is started, and QEMU's name for its processors."""

    vcpu_type: str
    launch: Launch


def of_uki(image: bytes, label: str, tees: Iterable[str] = ("tpm",)) -> tuple[Entry, ...]:
    """
    Return PCR 4, 9 and 11 (SHA-256) of a machine whose firmware started this unified kernel image.

    PCR 4 may depend on Secure Boot; it is then there twice, with "secure_boot" in its environment.

    Args:
        image: From `images.uki.image`, with a stub whose measurements are known.
        label: Words for people: which image this is.
        tees: The kinds of evidence that have such registers.

    Raises:
        MeasureError: from this image no register follows.

    Not checked:
        What else reaches the registers: another boot program, a command line or files beside the image.

    Source:
        `images.measure.pcr`.
    """
    parsed = unified.parse(image)
    programs = {
        state: pcr.boot_programs(parsed, "sha256", secure_boot=state == "on") for state in ("on", "off")
    }
    rows: list[tuple[int, bytes, Mapping[str, str | int]]] = [
        (4, digest, {"secure_boot": state}) for state, digest in programs.items()
    ]
    if programs["on"] == programs["off"]:
        rows = [(4, programs["on"], {})]
    rows += [
        (9, pcr.kernel_inputs(parsed, "sha256"), {}),
        (11, pcr.image_contents(parsed, "sha256"), {}),
    ]
    return tuple(
        Entry(tee, f"pcr{number}", _SHA256, digest, label, environment)
        for tee in tees
        for number, digest, environment in rows
    )


def of_snp(
    firmware: bytes, boot: DirectBoot, launches: Sequence[NamedLaunch], label: str
) -> tuple[Entry, ...]:
    """
    Return the launch digest of each launch of an SEV-SNP guest with kernel hashes.

    Raises:
        MeasureError: the firmware would boot any kernel, or no launch digest follows.

    Source:
        `images.measure.snp`.
    """
    parsed = firmwares.parse(firmware)
    hashes = kernel_hashes(boot.kernel, boot.initrd, boot.command_line)
    shared = snp.firmware_digest(parsed)
    return tuple(
        Entry(
            "snp",
            "measurement",
            _SHA384,
            snp.launch_digest(parsed, one.launch, hashes, after_firmware=shared),
            label,
            {
                "vmm": one.launch.vmm.value,
                "vcpus": one.launch.vcpus,
                "vcpu_type": one.vcpu_type,
                "guest_features": one.launch.guest_features,
                "firmware": _name(firmware),
            },
        )
        for one in launches
    )


def of_tdx(boot: DirectBoot, label: str, firmware: bytes | None = None) -> tuple[Entry, ...]:
    """
    Return RTMR1 and RTMR2 of a trust domain that booted this, and its MRTD where the firmware is given.

    RTMR0 is not among them: it is about the machine, which only the VMM knows.

    Raises:
        MeasureError: from these inputs no register follows, or the firmware is not made for TDX.

    Source:
        `images.measure.tdx`.
    """
    rows = [("rtmr1", tdx.rtmr1(boot.kernel)), ("rtmr2", tdx.rtmr2(boot.initrd, boot.command_line))]
    environment: Mapping[str, str | int] = {}
    if firmware is not None:
        parsed = firmwares.parse(firmware)
        rows.insert(0, ("mr_td", tdx.mrtd(parsed)))
        environment = {"firmware": _name(firmware)}
    return tuple(
        Entry("tdx", register, _SHA384, digest, label, environment if register == "mr_td" else {})
        for register, digest in rows
    )


def of_simulated(boot: DirectBoot, label: str) -> Entry:
    """
    Return what whoever plays a TEE says of this boot, with the digest of each part of it.

    It proves nothing about any machine.
    """
    hashes = kernel_hashes(boot.kernel, boot.initrd, boot.command_line)
    parts = (("kernel", hashes.kernel), ("initramfs", hashes.initrd), ("command_line", hashes.cmdline))
    environment = {name: f"sha256:{digest.hex()}" for name, digest in parts}
    return Entry("simulated", "measurement", _SHA384, simulated.of_hashes(hashes), label, environment)


def of_simulated_program(image: bytes, label: str) -> Entry:
    """Return the same where firmware starts a unified kernel image."""
    environment = {"program": _name(image)}
    return Entry("simulated", "measurement", _SHA384, simulated.of_program(image), label, environment)


def of_eif(image: bytes, label: str) -> tuple[Entry, ...]:
    """
    Return PCR0, PCR1 and PCR2 of the enclave of an image, and PCR8 of a signed one.

    Raises:
        EifError: it is no such image, or is damaged.

    Source:
        `images.eif`.
    """
    registers = eif.parse(image).registers
    return tuple(
        Entry("nitro", f"pcr{number}", _SHA384, digest, label) for number, digest in registers.items()
    )


def _name(firmware: bytes) -> str:
    return f"sha256:{hashlib.sha256(firmware).hexdigest()}"
