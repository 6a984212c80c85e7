"""
Which confidential VMs of Azure are accepted?

What the hardware must say, as for the hardware alone; and the registers of the vTPM, which say what was
booted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from attestation.policy_file import Checked, Section
from attestation.policy_values import bit, strings
from attestation.snp.policy import SnpPolicy
from attestation.tpm import registers

CONFIGURATION = {
    "secure_boot": "secure-boot",
    "tpm_enabled": "tpm-enabled",
    "console_enabled": "console-enabled",
}
_PARAVISOR = frozenset({0})
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AzurePolicy(Generic[R]):
    """
    What a confidential VM must say; `attestation/examples/policy-azure-*.toml` explain each field.

    Attributes:
        hardware: The rules for the hardware's report.
        pcrs: Registers of the SHA-256 bank, by number.
        configuration: What the host says of the VM.
        vm_id: Single VMs.
    """

    hardware: R
    pcrs: Mapping[int, Checked[frozenset[bytes]]]
    configuration: Mapping[str, Checked[bool]]
    vm_id: Checked[frozenset[str]]


def read(top: Section, hardware: Callable[[Section], R]) -> AzurePolicy[R]:
    """
    Return the rules for a confidential VM; problems are left in `top`, which the caller closes.

    Registers that leave open what was booted are a problem; see `attestation.tpm.registers.read`.
    """
    vm = top.section("vm")
    pcrs = registers.read(top, 32)
    rules = hardware(top)
    if isinstance(rules, SnpPolicy) and rules.vmpl != _PARAVISOR:
        want = "[0]: only the paravisor may have asked for the report that vouches for the vTPM"
        top.problems.add("report.vmpl", "other levels", want)
    policy = AzurePolicy(
        hardware=rules,
        pcrs=pcrs,
        configuration={name: vm.take(name, bit) for name in CONFIGURATION},
        vm_id=vm.take("id", strings),
    )
    vm.close()
    return policy
