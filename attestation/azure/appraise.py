"""
Do we accept what the vTPM of a genuine confidential VM says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from attestation.azure.authenticate import Authenticated
from attestation.azure.policy import CONFIGURATION, AzurePolicy
from attestation.azure.report import SOURCE
from attestation.policy_file import UNCHECKED
from attestation.result import Mismatch
from attestation.tpm import registers

R = TypeVar("R")


def appraise(authenticated: Authenticated, policy: AzurePolicy[R]) -> tuple[Mismatch, ...]:
    """
    Return everything in which the quote and the paravisor's data differ from what `policy` accepts.

    Not checked:
        What the hardware says: the rules for it are another kind's.  extraData: `attestation.appraise` does.

    Source:
        Azure confidential VMs, guest attestation.
    """
    return (
        *registers.appraise(authenticated.evidence.quote, policy.pcrs),
        *_configuration(authenticated, policy),
    )


def _configuration(authenticated: Authenticated, policy: AzurePolicy[R]) -> Iterator[Mismatch]:
    members = authenticated.evidence.hcl.configuration.members
    for name, rule in policy.configuration.items():
        found = members.get(CONFIGURATION[name])
        if rule is not UNCHECKED and found is not rule:
            shown = ("set" if found else "clear") if isinstance(found, bool) else "not said"
            yield Mismatch(f"vm.{name}", shown, "set" if rule else "clear", SOURCE)
    identifier = members.get("vmUniqueId")
    if policy.vm_id is not UNCHECKED and (not isinstance(identifier, str) or identifier not in policy.vm_id):
        yield Mismatch("vm.id", str(identifier)[:60], " or ".join(sorted(policy.vm_id)), SOURCE)
