"""What is expected of a machine before it is on, and the policy that holds its evidence against that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from attestation.reference_values import Entry
from images.boot.choice import Technology
from images.boot.errors import BootImageFormError

if TYPE_CHECKING:
    from attestation.policy import Policy
    from images.measure.snp import Launch
    from shim.cli.boot_image import BootImage

_EXAMPLES = {Technology.SNP: "policy-snp.toml", Technology.TDX: "policy-tdx.toml"}
_SIMULATED = "policy-simulated.toml"
_TPM = "policy-tpm.toml"
_PLAIN = ("rtmr", "pcr")  # lists without labels


def expected(
    image: BootImage, technology: Technology, firmware: bytes, launch: tuple[str, Launch]
) -> tuple[Entry, ...]:
    """
    Return what evidence of a machine will say that boots this, by the policy's names.

    Args:
        image: What is booted.
        technology: By what it is run; without hardware that measures, the simulated TEE speaks.
        firmware: What a confidential machine starts with.
        launch: QEMU's name of the model of processor, and the launch, for SEV-SNP.

    Raises:
        BootImageFormError: hardware that measures no kernel that firmware finds on a disk.
        MeasureError: from these inputs no register follows.
    """
    from images import reference_values
    from images.reference_values import DirectBoot, NamedLaunch, of_snp, of_tdx

    line = image.command_line.encode()
    if technology.is_confidential and image.form != "initramfs":
        want = "an initramfs or a folder with oci-layout: only what is handed over is measured"
        raise BootImageFormError(image.where, f"a boot from firmware under {technology}", want)
    label = f"{image.where}, plan sha256:{image.plan_digest.hex()}"[:256]
    if technology is Technology.SNP:
        name, how = launch
        direct = DirectBoot(image.kernel, image.initrd, line)
        return of_snp(firmware, direct, (NamedLaunch(name, how),), label)
    if technology is Technology.TDX:
        return of_tdx(DirectBoot(image.kernel, image.initrd, line), label, firmware)
    if image.form == "initramfs":
        return (reference_values.of_simulated(DirectBoot(image.kernel, image.initrd, line), label),)
    return (reference_values.of_simulated_program(image.program, label),)


def expected_of_tpm(image: BootImage) -> tuple[Entry, ...]:
    """
    Return which registers a TPM will have behind firmware that boots this.

    Raises:
        BootImageFormError: nothing that firmware starts: only that is measured.
        MeasureError: from this image no register follows.
    """
    from images.reference_values import of_uki

    if image.form != "uki":
        want = "a unified kernel image, a disk or VHD: what firmware starts is what a TPM is told of"
        raise BootImageFormError(image.where, "an initramfs for a machine with a TPM", want)
    return of_uki(image.program, f"{image.where}, plan sha256:{image.plan_digest.hex()}"[:256])


def policy_of(
    technology: Technology, entries: Iterable[Entry], given: Path | None, tpm_root: bytes | None = None
) -> Policy:
    """
    Return the policy that a machine has to satisfy.

    Args:
        technology: By what it is run.
        entries: What is expected of it.
        given: The user's own policy; without one it is the example of the kind with the expected values.
        tpm_root: SHA-256 of the key of the root above a TPM in software, where the evidence is of one.

    Raises:
        PolicyError, ReferenceValueError: the given one cannot be used.
    """
    from attestation import policy
    from attestation.reference_files import load_policy

    if given is not None:
        return load_policy(given)
    name = _EXAMPLES.get(technology, _SIMULATED) if tpm_root is None else _TPM
    text = resources.files("attestation").joinpath("examples", name).read_text()
    if tpm_root is not None:
        text = _of_software_tpm(text, tpm_root)
    values: dict[str, dict[str, str]] = {}
    for entry in entries:
        values.setdefault(entry.register, {})[entry.digest.hex()] = entry.label
    return policy.load(_with_values(text, values), f"the policy of this boot (as {name})")


def _with_values(text: str, values: Mapping[str, Mapping[str, str]]) -> str:
    for register, digests in values.items():
        listed = "".join(
            f"\n    {{ digest = {json.dumps(one)}, label = {json.dumps(label)} }},"
            for one, label in digests.items()
        )
        # In tdx.toml, registers have their list on one line and no labels.
        new = f"{register} = [{listed}\n]"
        old = r'(?:\[.*?\]|"unchecked")'
        pattern = re.compile(rf"^{register} *= *{old}(?= *(?:#|$))", re.MULTILINE | re.DOTALL)
        if not pattern.search(text):
            raise RuntimeError(f"the example has no list {register}")
        text = pattern.sub(_constant(_plain(register, digests) if register.startswith(_PLAIN) else new), text)
    return text


def _of_software_tpm(text: str, root: bytes) -> str:
    """Return the example's text for a TPM below this root, whose attestation key nobody knows beforehand."""
    changes = {
        r"^key *= *\[.*?\]": 'key = "unchecked"',
        r'^software_root *= *"unchecked"': f'software_root = ["{root.hex()}"]',
        r'^activation *= *"unchecked"': 'activation = "required"',
    }
    for old, new in changes.items():
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        if count != 1:
            raise RuntimeError(f"the example has no line {old}")
    return text


def _plain(register: str, digests: Mapping[str, str]) -> str:
    listed = ", ".join(f'"{one}"' for one in digests)
    return f"{register} = [{listed}]"


def _constant(new: str) -> Callable[[re.Match[str]], str]:
    return lambda _: new
