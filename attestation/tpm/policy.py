"""
Which TPMs are accepted, in which state?

One attribute per thing that a quote can say.  Every one must be given in the policy, or spelled "unchecked";
but for the key, for which somebody has to vouch, and registers that say what was booted.
"""

from __future__ import annotations

from dataclasses import dataclass

from attestation.policy_file import UNCHECKED, Checked, Section
from attestation.policy_values import bit, hexadecimal, integer, integers, nonempty, one_of
from attestation.tpm import registers
from attestation.tpm.registers import Rules

_NAME_SIZES = (34, 50, 66)  # number of a hash, and its digest
_SPKI_SIZE = 32
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class TpmPolicy:
    """
    What a TPM must say; `attestation/examples/policy-tpm.toml` explains each field.

    Attributes:
        keys: Names of attestation keys, or SHA-256 of their SubjectPublicKeyInfo.
        roots: SHA-256 of the SubjectPublicKeyInfo of roots that vouch for attestation keys.
        makers: The same of roots that vouch for endorsement keys.
        software_makers: The same of roots that vouch for TPMs in software.
        activation: Whether a credential has to show that both keys are in one TPM.
        pcrs: Registers, by number.
        firmware_version: Of the TPM.
        clock: Milliseconds, at least.
        clock_safe: Whether no higher clock can have been seen before.
        resets, restarts: Accepted counts.
    """

    keys: Checked[frozenset[bytes]]
    roots: Checked[frozenset[bytes]]
    makers: Checked[frozenset[bytes]]
    software_makers: Checked[frozenset[bytes]]
    activation: Checked[str]
    pcrs: Rules
    firmware_version: Checked[frozenset[bytes]]
    clock: Checked[int]
    clock_safe: Checked[bool]
    resets: Checked[frozenset[int]]
    restarts: Checked[frozenset[int]]


def read(top: Section) -> TpmPolicy:
    """Return the rules for a TPM; problems are left in `top`, which the caller closes."""
    key, maker, tpm = top.section("ak"), top.section("ek"), top.section("tpm")
    roots = nonempty(hexadecimal(_SPKI_SIZE))
    counts = integers(0, _LARGEST)
    policy = TpmPolicy(
        keys=key.take("key", nonempty(hexadecimal(_SPKI_SIZE, *_NAME_SIZES))),
        roots=key.take("root", roots),
        makers=maker.take("root", roots),
        software_makers=maker.take("software_root", roots),
        activation=maker.take("activation", one_of("required")),
        pcrs=registers.read(top, 32, 48),
        firmware_version=tpm.take("firmware_version", nonempty(hexadecimal(8))),
        clock=tpm.take("clock", integer(0, (1 << 63) - 1)),
        clock_safe=tpm.take("clock_safe", bit),
        resets=tpm.take("resets", counts),
        restarts=tpm.take("restarts", counts),
    )
    _settle(policy, top)
    for section in (key, maker, tpm):
        section.close()
    return policy


def _settle(policy: TpmPolicy, top: Section) -> None:
    """Somebody has to vouch for the attestation key, or for the TPM that it is shown to be in."""
    has_maker = policy.makers is not UNCHECKED or policy.software_makers is not UNCHECKED
    is_activated = policy.activation is not UNCHECKED
    if policy.makers is not UNCHECKED and policy.software_makers is not UNCHECKED:
        top.problems.add("ek", "TPMs of both kinds", "values for root or for software_root: one is labelled")
    if is_activated and not has_maker:
        top.problems.add("ek", "a TPM for which nobody vouches", "values for root or for software_root")
    if policy.keys is UNCHECKED and policy.roots is UNCHECKED and not (has_maker and is_activated):
        want = 'values for key, for root, or for both, or in [ek] a root with activation = "required"'
        top.problems.add("ak", "a key of which nobody vouches", want)
