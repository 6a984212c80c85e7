"""
What came out of an appraisal, as a value.

An attestation result (RFC 9334, section 8.4, "Attestation Results") says which evidence was held against
which policy at what time, every mismatch, and everything that the policy left unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attestation.verdict import Verdict
from shim.canonical import JsonValue, canonical_bytes

SCHEMA = "attestation-result/1"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """
    One reason for a refusal.

    Attributes:
        field: The policy key or the part of the evidence that is meant.
        found: What the evidence says.
        want: What would have been accepted.
        source: The document that defines the field: number, revision, section and title.
        verdict: The class of the refusal that this alone would cause.
    """

    field: str
    found: str
    want: str
    source: str
    verdict: Verdict = Verdict.POLICY_MISMATCH

    def __str__(self) -> str:
        text = f"{self.field}: found {self.found}, want {self.want}"
        return f"{text} ({self.source})" if self.source else text

    def to_json(self) -> dict[str, JsonValue]:
        """Return the attributes as a JSON value."""
        return {
            "field": self.field,
            "found": self.found,
            "want": self.want,
            "source": self.source,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """
    The full outcome of one appraisal.

    Attributes:
        tee: The kind of evidence that the policy names; its roots were used and no others.
        simulated: True when that kind is a simulation, which proves nothing about any hardware.
        software: True when the policy takes TPMs in software, which whoever runs one can make say anything.
        verdict: The most fundamental verdict that applies.
        evaluated_at: The time of the appraisal, ISO 8601, UTC.
        evidence_sha256: Digest of the evidence as it was given, hexadecimal.
        policy_sha256: Digest of the policy's text, hexadecimal.
        claims: What the evidence says, or None when it is not authentic: then it says nothing.
        mismatches: Every reason against it.
        warnings: What is no reason against it yet, but will be.
        unchecked: Every policy key that says "unchecked", and what was not checked in consequence.
        reference_values: The files that the policy takes measurements from, each with its SHA-256.
    """

    tee: str
    simulated: bool
    verdict: Verdict
    evaluated_at: str
    evidence_sha256: str
    policy_sha256: str
    claims: Mapping[str, JsonValue] | None
    mismatches: tuple[Mismatch, ...]
    unchecked: tuple[str, ...]
    warnings: tuple[Mismatch, ...] = ()
    reference_values: Mapping[str, str] = field(default_factory=dict)
    software: bool = False

    @property
    def label(self) -> str:
        """The kind of evidence, or what has to be said before anything else of it."""
        if self.simulated:
            return "SIMULATED"
        return "SOFTWARE TPM" if self.software else self.tee

    def to_json(self) -> bytes:
        """Return the result as canonical JSON, the same bytes for the same result."""
        return canonical_bytes(self.to_value())

    def to_value(self) -> Mapping[str, JsonValue]:
        """Return the result as a JSON value; docs/attestation-result.schema.json has its schema."""
        return {
            "schema": SCHEMA,
            "tee": self.label,
            "simulated": self.simulated,
            "software": self.software,
            "verdict": self.verdict.value,
            "evaluated_at": self.evaluated_at,
            "evidence_sha256": self.evidence_sha256,
            "policy_sha256": self.policy_sha256,
            "reference_values": dict(self.reference_values),
            "claims": self.claims,
            "mismatches": [mismatch.to_json() for mismatch in self.mismatches],
            "warnings": [warning.to_json() for warning in self.warnings],
            "unchecked": list(self.unchecked),
        }
