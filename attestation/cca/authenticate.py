"""
Did a platform whose key was supplied say this?

Arm has no root: whoever made the platform publishes its key (CPAK), and a policy names those that it trusts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import serialization

from attestation import cose
from attestation.cache import Cache
from attestation.cca import realm_key
from attestation.cca.evidence import SOURCE, Evidence
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.path import Roots
from attestation.trail import SILENT, Trail


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    Tokens that belong together, of a platform with a key that was supplied.

    Attributes:
        evidence: What they say.
        key_sha256: Digest of the SubjectPublicKeyInfo of the platform's key.
    """

    evidence: Evidence
    key_sha256: bytes


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,  # noqa: ARG001  # there are none: a policy names keys
    *,
    now: datetime,  # noqa: ARG001  # the tokens have no time
    skew: timedelta = timedelta(0),  # noqa: ARG001
    crl_required: bool = False,
    cache: Cache | None = None,  # noqa: ARG001
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the tokens, proven to be signed by a platform whose key was supplied.

    Args:
        evidence: From `attestation.cca.evidence.parse`.
        endorsements: The platform's key.
        roots: Not used.
        now: Not used.
        skew: Not used.
        crl_required: There are no lists: always an error.
        cache: Not used.
        trail: Gets a line for each check that held.

    Raises:
        NotAuthenticError: the realm's key did not sign, or the platform does not vouch for it, or did not
            sign.
        MissingEndorsementError: no key was supplied, or a list is required.

    Not checked:
        That the platform's key is trusted: `appraise` holds it against the policy.

    Source:
        Realm Management Monitor Specification, DEN0137, 1.0, section A7.2.
    """
    if crl_required:
        raise MissingEndorsementError("revocation list", "none", "none exists for these keys", SOURCE)
    cose.check(evidence.realm_message, realm_key.read(evidence.realm.key), "realm token's signature")
    trail.held("realm token's signature", "made by the realm's key", "the key in the token", SOURCE)
    found = evidence.platform.challenge
    want = hashlib.new(evidence.realm.key_hash, evidence.realm.key).digest()
    if found != want:
        raise NotAuthenticError("platform token.10", found.hex(), f"{want.hex()} of the realm's key", SOURCE)
    trail.held("platform token.10", found.hex(), "the digest of the realm's key", SOURCE)
    if not endorsements.keys:
        raise MissingEndorsementError("key of the platform (CPAK)", "none", "one", SOURCE)
    for encoded in endorsements.keys:
        key = serialization.load_der_public_key(encoded)
        try:
            cose.check(evidence.platform_message, key, "platform token's signature")
        except SignatureError:
            continue
        digest = hashlib.sha256(encoded).digest()
        trail.held(
            "platform token's signature", f"made by key {digest.hex()}", "a key that was supplied", SOURCE
        )
        return Authenticated(evidence, digest)
    raise SignatureError("platform token's signature", "made by another key", "that of the CPAK", SOURCE)
