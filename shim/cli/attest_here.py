"""
Is this machine the one the policy expects?  Asked by `shim run` of itself, before anything runs.

A guard against running in the wrong place by mistake, and no more: a machine that vouches for itself
proves nothing to anybody else.  That takes a relying party elsewhere, and `shim verify`.
"""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from pathlib import Path

from attestation.appraise import appraise
from attestation.binding import Shim, expected
from attestation.collect import Request, collect, detect
from attestation.files import read_limited
from attestation.guest import Guest
from attestation.policy import Policy, load
from attestation.reference_files import load_policy
from attestation.result import AttestationResult
from shim.cli.endorsing import read_named
from shim.cli.guest import quote_by_command
from shim.errors import FoundWantError

SIMULATED_NOTICE = "SIMULATED: the evidence is made up; it proves nothing about this machine"


class WrongTeeError(FoundWantError):
    """What was asked for on the command line and what the policy names are not the same."""


def policy_for(policy: Path | None, tee: str) -> Policy:
    """
    Return the policy of a file; without one, the embedded policy of the simulation.

    Raises:
        WrongTeeError: no policy for real hardware, or a policy for another kind than was asked for.
        PolicyError: the file cannot be used.
        ReferenceValueError: a file that it names cannot be.
    """
    if policy is None:
        if tee != "simulated":
            raise WrongTeeError("--policy", "none", f"a policy for {tee}: what it accepts is for you to say")
        text = files("attestation").joinpath("examples/policy-simulated.toml").read_bytes()
        return load(text.decode(), "policy.toml of the simulation")
    loaded = load_policy(policy)
    if loaded.tee != tee:
        raise WrongTeeError(f"{policy}: tee", loaded.tee, f"{tee}, as --tee says or this machine is")
    return loaded


def kind_of(policy: Path | None) -> str:
    """Return the kind of evidence that a policy names; the simulation is the policy where there is none."""
    return "simulated" if policy is None else load_policy(policy).tee


def chosen_tee(tee: str, machine: Guest, entry: str) -> str:
    """
    Return the kind of evidence to collect: what is asked for, or with "auto" what the machine has.

    Raises:
        NoTeeError: there is none; the simulation is never chosen by itself.
    """
    return detect(machine, entry) if tee == "auto" else tee


def attest_fresh(
    policy: Policy, wanted: Shim, machine: Guest, *, now: datetime, entry: str, td_quote_command: str | None
) -> AttestationResult:
    """
    Collect evidence that is bound as `wanted`, and return its affirming appraisal.

    Raises:
        AppraisalError: not affirmed, with every mismatch.
        CollectError: the machine gave no evidence.
    """
    quote_of = None if td_quote_command is None else quote_by_command(td_quote_command)
    found = collect(policy.tee, machine, Request(expected(wanted), entry, quote_of=quote_of))
    return appraise(found.evidence, found.endorsements, policy, binding=wanted, now=now)


def attest_given(
    policy: Policy, evidence: Path, endorsements: tuple[Path, ...], binding: Shim | None, *, now: datetime
) -> AttestationResult:
    """
    Return the affirming appraisal of evidence from a file.

    Raises:
        AppraisalError: not affirmed; evidence bound to another plan or nonce is refused unless the policy
            leaves the binding unchecked.
    """
    supplied = read_named(endorsements)
    return appraise(read_limited(evidence, "evidence"), supplied, policy, binding=binding, now=now)
