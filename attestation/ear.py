"""
What does a result say as an EAT Attestation Result?

The claims of one token, as a JSON value; `ear_token` signs them.  Three spellings are in use: that of the
verifiers of Veraison and of Confidential Containers, which is older than the drafts of the working group, and
that of the newest draft.

Source:
    draft-ietf-rats-ear-04, section 3, "EAT Attestation Result"; RFC 9711, section 4.1, "eat_nonce", and
    section 7.2.2, "JSON Interoperability".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from attestation import trustworthiness
from attestation.result import AttestationResult
from shim.canonical import JsonValue

NONCE_SIZES = range(8, 65)  # RFC 9711, section 4.1


@dataclass(frozen=True, slots=True)
class VerifierId:
    """Who made the verifier, and which build of it this is; draft-ietf-rats-ar4si-10, section 3.3."""

    developer: str
    build: str


@dataclass(frozen=True, slots=True)
class Profile:
    """
    How the claims are spelled.

    Attributes:
        name: The value of `eat_profile`.
        separator: What stands between `ear` and the rest of a name.
        policy: The name of the policy's claim.
        policies: Whether that is an array.
        evidence, verifier: The names of what the evidence said, and of what this verifier adds.
        submodules: What the evidence of a kind is called; its own name where there is none.
        inside: Under which name the claims of a kind stand in `evidence`; directly where there is none.
    """

    name: str
    separator: str
    policy: str
    policies: bool
    evidence: str
    verifier: str
    submodules: Mapping[str, str]
    inside: Mapping[str, str]


VERAISON = Profile(
    name="tag:github.com,2023:veraison/ear",
    separator=".",
    policy="ear.appraisal-policy-id",
    policies=False,
    evidence="ear.veraison.annotated-evidence",
    verifier="ear.veraison.policy-claims",
    submodules={},
    inside={},
)
# The token broker of Trustee counts attesters by their class and puts claims under the name of the TEE.
TRUSTEE = Profile(
    name="tag:github.com,2024:confidential-containers/Trustee",
    separator=".",
    policy="ear.appraisal-policy-id",
    policies=False,
    evidence="ear.veraison.annotated-evidence",
    verifier="ear.veraison.policy-claims",
    submodules={
        **dict.fromkeys(
            ("snp", "tdx", "sgx", "azure-snp", "azure-tdx", "cca", "nitro", "tpm", "simulated"), "cpu0"
        ),
        "nvidia": "gpu0",
    },
    inside={
        "snp": "snp",
        "tdx": "tdx",
        "sgx": "sgx",
        "azure-snp": "azsnpvtpm",
        "azure-tdx": "aztdxvtpm",
        "cca": "cca",
        "nitro": "nitro",
        "nvidia": "nvidia",
        "tpm": "tpm",
        "simulated": "sample",
    },
)
IETF = Profile(
    name="tag:ietf.org,2026:rats/ear#04",
    separator="_",
    policy="ear_appraisal_policy_ids",
    policies=True,
    evidence="ear_attester_claims",
    verifier="ear_verifier_claims",
    submodules={},
    inside={},
)
PROFILES: Mapping[str, Profile] = {"veraison": VERAISON, "trustee": TRUSTEE, "ietf": IETF}


def claims(
    result: AttestationResult,
    *,
    verifier: VerifierId,
    issued_at: datetime,
    lifetime: timedelta,
    nonce: bytes | None = None,
    profile: Profile = VERAISON,
) -> Mapping[str, JsonValue]:
    """
    Return the claims of a token for a result, affirming or not.

    Args:
        result: Also that inside an AppraisalError: a refusal can be shown to others too.
        verifier: Who says so.
        issued_at: From when on the token counts, with its time zone.
        lifetime: How long it counts, whole seconds.
        nonce: Of 8 to 64 bytes, echoed: whoever chose it knows that the token is not older.
        profile: How the claims are spelled.

    Raises:
        ValueError: a nonce of another length, a time without zone, or a lifetime that is not positive; the
            caller's bug.

    Not checked:
        That `issued_at` is now.  The nonce is the one of whoever asked; what binds the evidence is in
        its own claims.
    """
    if nonce is not None and len(nonce) not in NONCE_SIZES:
        raise ValueError(f"nonce: found {len(nonce)} bytes, want {NONCE_SIZES[0]} to {NONCE_SIZES[-1]}")
    if issued_at.tzinfo is None:
        raise ValueError("issued_at: found no time zone, want one")
    if lifetime < timedelta(seconds=1):
        raise ValueError(f"lifetime: found {lifetime}, want at least a second")
    start = int(issued_at.timestamp())
    return {
        "eat_profile": profile.name,
        "iat": start,
        "nbf": start,
        "exp": start + int(lifetime.total_seconds()),
        _named(profile, "verifier-id"): {"developer": verifier.developer, "build": verifier.build},
        **({} if nonce is None else {"eat_nonce": base64url(nonce)}),
        "submods": {_submodule(result, profile): _appraisal(result, profile)},
    }


def base64url(data: bytes) -> str:
    """Return bytes as JSON has them in tokens, without padding; RFC 9711, section 7.2.2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _named(profile: Profile, claim: str) -> str:
    name = f"ear{profile.separator}{claim}"
    return name.replace("-", "_") if profile.separator == "_" else name


def _submodule(result: AttestationResult, profile: Profile) -> str:
    return profile.submodules.get(result.tee, result.label)


def _appraisal(result: AttestationResult, profile: Profile) -> Mapping[str, JsonValue]:
    policy = f"sha-256:{result.policy_sha256}"
    vector = trustworthiness.vector(result)
    found: dict[str, JsonValue] = {
        _named(profile, "status"): trustworthiness.status_of(result, vector).value,
        _named(profile, "trustworthiness-vector"): vector.to_json(),
        profile.policy: [policy] if profile.policies else policy,
        profile.verifier: _added(result),
    }
    if result.claims:
        inside = profile.inside.get(result.tee)
        found[profile.evidence] = {inside: result.claims} if inside else result.claims
    return found


def _added(result: AttestationResult) -> Mapping[str, JsonValue]:
    """What the result has beside the claims, under the same names."""
    whole = result.to_value()
    return {name: whole[name] for name in whole if name not in {"schema", "claims", "policy_sha256"}}
