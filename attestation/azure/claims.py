"""What does a confidential VM of Azure claim, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation.azure.authenticate import Authenticated
from attestation.azure.evidence import Evidence
from attestation.azure.policy import CONFIGURATION
from attestation.intel import authenticate as intel, claims as intel_claims, evidence as intel_evidence
from attestation.snp import claims as snp_claims
from attestation.tpm.claims import of_quote
from shim.canonical import JsonValue


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what was said, authentic or not."""
    if isinstance(evidence.hardware, intel_evidence.Evidence):
        hardware: JsonValue = intel_claims.of_evidence(evidence.hardware)
    else:
        hardware = {"report": snp_claims.of_report(evidence.hardware.report, None)}
    return {"vtpm": of_quote(evidence.quote), "vm": _configuration(evidence), "hardware": hardware}


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what was said and what its endorsements add."""
    hardware = authenticated.hardware
    proven: JsonValue = (
        intel_claims.of_authenticated(hardware)
        if isinstance(hardware, intel.Authenticated)
        else snp_claims.of_authenticated(hardware)
    )
    evidence = authenticated.evidence
    return {"vtpm": of_quote(evidence.quote), "vm": _configuration(evidence), "hardware": proven}


def _configuration(evidence: Evidence) -> dict[str, JsonValue]:
    members = evidence.hcl.configuration.members
    flags = {name: members.get(member) is True for name, member in CONFIGURATION.items()}
    identifier = members.get("vmUniqueId")
    user_data = evidence.hcl.user_data
    return {
        **flags,
        "id": identifier if isinstance(identifier, str) else None,
        "user_data": None if user_data is None else user_data.hex(),
    }
