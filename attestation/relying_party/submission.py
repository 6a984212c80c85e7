"""What is handed in to be appraised, and why it was refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.binding import Binding
from attestation.policy import Policy
from attestation.verdict import Verdict
from shim.canonical import JsonValue

_SHOWN = 32  # reasons of one refusal in the audit log
_LONGEST = 300  # characters of each


@dataclass(frozen=True, slots=True)
class Submission:
    """
    What is to be appraised.

    Attributes:
        evidence: In the format of its kind.
        binding: What has to be in it.
        certificates: What the host adds for it, in any format of endorsements; may be empty.
        event_log: What explains its registers, or None.
        peer: Who sent it, for the record.
    """

    evidence: bytes
    binding: Binding
    certificates: bytes
    event_log: bytes | None
    peer: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the evidence."""
        return hashlib.sha256(self.evidence).digest()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a policy does not accept what was submitted; for the record, and for nobody else."""

    policy: Policy
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_json(self) -> Mapping[str, JsonValue]:
        """Return it as it is recorded."""
        return {
            "policy": self.policy.where,
            "sha256": self.policy.sha256.hex(),
            "verdict": self.verdict.value,
            "reasons": [one[:_LONGEST] for one in self.reasons[:_SHOWN]],
        }
