"""
Which evidence does a relying party accept?

A policy is a TOML file in which every field stands, with a value or spelled "unchecked".  It names the kind
of evidence and with that the roots: evidence never chooses by whom it is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from attestation import kinds, policy_references
from attestation.policy_file import UNCHECKED, Section, open_file
from attestation.policy_references import Named, Reference, Used
from attestation.policy_values import integer, one_of

_LONGEST_SKEW = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What is accepted.

    Attributes:
        tee: The kind of evidence, one of `attestation.kinds.KINDS`; it decides which roots are used.
        boot: How kernel, initrd and command line got into the measurement.
        binding: Against what report_data is held: "shim" (a nonce, a key and a plan, as
            `attestation.binding` combines them), "exact" (64 bytes that the caller gives), or "unchecked".
            Where evidence has a field for it, also "nonce": that is the nonce alone.
        max_clock_skew: By how much clocks may differ where validity is checked.
        crl: "required", or "unchecked": then a revocation list is used only if one was supplied.
        rules: What evidence of this kind must say, as its `Kind.rules` read it.
        unchecked: The keys that say "unchecked".
        values: What stands in the file, as TOML has it, by dotted key in the order of the file.
        sha256: Digest of the text.
        where: The name of the file.
        reference_values: The files of reference values that it goes by.
    """

    tee: str
    boot: str
    binding: str
    max_clock_skew: timedelta
    crl: str
    rules: object
    unchecked: tuple[str, ...]
    values: Mapping[str, object]
    sha256: bytes
    where: str
    reference_values: tuple[Used, ...] = ()


def named_files(text: str, where: str) -> tuple[Named, ...]:
    """
    Return the files of reference values that a policy names; who loads it has to read them.

    Raises:
        PolicyError: the text is not TOML.
    """
    return policy_references.named(open_file(text, where).values or {})


def load(text: str, where: str, references: Mapping[Named, Reference] | None = None) -> Policy:
    """
    Return the policy in `text`.

    Args:
        text: TOML; `attestation/examples/policy-*.toml` explain every field, each for one kind.
        where: The name of the file, for errors.
        references: What the files say that it names; `attestation.reference_files` reads them.

    Raises:
        PolicyError: with everything that is wrong with it: not TOML, unknown or missing keys, wrong types,
            values or lengths, or fields that contradict each other.
    """
    top = open_file(text, where)
    top.values, used = policy_references.resolved(top.values or {}, references or {}, top.problems)
    tee = top.need("tee", one_of(*kinds.KINDS), next(iter(kinds.KINDS)))
    policy = read(top, tee)
    top.close()
    top.problems.raise_if_any()
    digest = hashlib.sha256(text.encode()).digest()
    return replace(policy, sha256=digest, reference_values=used)


def read(top: Section, tee: str) -> Policy:
    """Return the policy for evidence of the kind `tee`, without a digest; problems are left in `top`."""
    kind = kinds.KINDS[tee]
    return Policy(
        tee=tee,
        boot=top.need("boot", one_of(*kind.boots), kind.boots[0]),
        binding=_or_unchecked(top, "binding", "shim", "exact", *(() if kind.nonce is None else ("nonce",))),
        max_clock_skew=timedelta(seconds=top.need("max_clock_skew", integer(0, _LONGEST_SKEW), 0)),
        crl=_or_unchecked(top, "crl", "required"),
        rules=kind.criteria().read(top),
        unchecked=tuple(top.problems.unchecked),
        values={} if top.values is None else dict(leaves(top.values)),
        sha256=b"",
        where=top.problems.where,
    )


def leaves(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield what stands in the tables of a policy, by dotted key; inline tables are split as well."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _or_unchecked(top: Section, key: str, *names: str) -> str:
    value = top.take(key, one_of(*names))
    return UNCHECKED.value if value is UNCHECKED else value
