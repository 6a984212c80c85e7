"""
Did a TPM say this, by a key that signs nothing else?

There is no root of all TPMs: whoever makes or provisions them vouches for attestation keys, and a policy
names the keys, or the roots, that it trusts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from attestation import bits, path, path_building, revocation, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError
from attestation.path import Roots
from attestation.tpm import endorsement, signature
from attestation.tpm.endorsement import Endorsement
from attestation.tpm.evidence import Evidence
from attestation.tpm.public_area import ATTRIBUTES, SOURCE, PublicArea
from attestation.tpm.signature import SCHEMES
from attestation.trail import SILENT, Trail

CHAIN = "TCG EK Credential Profile for TPM Family 2.0, version 2.4, section 3"
# What a key has to be so that a quote can come from nowhere but a TPM.
_REQUIRED = {"restricted": True, "sign": True, "fixed_tpm": True, "decrypt": False}
# What a certificate that says its purposes has to be made for; TLS servers have keys below the same roots.
_AIK = "2.23.133.8.3"  # tcg-kp-AIKCertificate
# A certificate without a subject names the TPM in an alternative name, which is critical then.
_KNOWN = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
        ExtensionOID.EXTENDED_KEY_USAGE.dotted_string,
    }
)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A quote that a key of a TPM signed.

    Attributes:
        evidence: What was said.
        key_sha256: Digest of the SubjectPublicKeyInfo of the key.
        chain: From the certificate of the key to a root; empty where none was supplied.
        endorsement: The TPM's own key with the certificates above it; None where the guest does not say.
        revocation_lists: Those on which nothing of the chain stands.
    """

    evidence: Evidence
    key_sha256: bytes
    chain: tuple[Certificate, ...]
    endorsement: Endorsement | None
    revocation_lists: tuple[RevocationList, ...]


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the quote, proven to be signed by its key, with the certificates that vouch for the key.

    Args:
        evidence: From `attestation.tpm.evidence.parse`.
        endorsements: More certificates, and revocation lists.
        roots: What a policy names; of several chains one that leads to these is taken, if there is one.
        now: The time to judge at, with its time zone.
        skew: By how much clocks may differ.
        crl_required: Refuse when a list of an issuer in the chain is missing, or there is no chain.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError.

    Not checked:
        That the key, or the root of the chain, is trusted, and everything else that a policy is for.

    Source:
        TCG TPM 2.0 Library, part 1, revision 1.59, section 31, "Attestation"; part 2, section 8.3.3, for what
        attributes of keys mean.
    """
    cache = cache if cache is not None else Cache()
    quote, key = evidence.quote, evidence.key
    _check_attributes(key)
    trail.held("attestation key", "restricted, sign, fixed_tpm", "what a key for quotes is", SOURCE)
    _check_scheme(evidence)
    signature.check(quote.signature, key.key, quote.attest.message)
    digest = hashlib.sha256(
        key.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).digest()
    trail.held("quote signature", f"made by key {digest.hex()}", "the attestation key", SOURCE)
    chain = _chain(evidence, endorsements, roots, digest, now, cache)
    said = evidence.endorsement
    endorsed = None if said is None else endorsement.authenticate(said, endorsements, now, cache)
    if endorsed is not None:
        named = f"{endorsed.manufacturer}, {endorsed.model}, {endorsed.version}"
        trail.held("endorsement key", named, "the certified one, for credentials alone", endorsement.SOURCE)
    lists: list[RevocationList | None] = []
    for one in (chain, () if endorsed is None else endorsed.chain):
        trail.links(one, CHAIN)
        lists += revocation.of_chain(one, endorsements.revocation_lists, now, cache, cache.check_signed)
        validity.check_certificates(one, now, skew)
        trail.validity(one, now, validity.SOURCE)
    trail.lists(lists, revocation.SOURCE, required=crl_required)
    if crl_required and not chain and endorsed is None:
        raise MissingEndorsementError("revocation lists", "no certificate of the key", "a chain", CHAIN)
    current = revocation.current(lists, now, skew, required=crl_required)
    return Authenticated(evidence, digest, chain, endorsed, current)


def _check_attributes(key: PublicArea) -> None:
    """Check that the key signs only what the TPM itself made, and never left it."""
    found = bits.flags(key.attributes, ATTRIBUTES)
    wrong = [name for name, wanted in _REQUIRED.items() if found[name] is not wanted]
    if wrong:
        shown = ", ".join(name if found[name] else f"not {name}" for name in wrong)
        raise NotAuthenticError("attestation key", shown, "restricted, sign, fixed_tpm, not decrypt", SOURCE)


def _check_scheme(evidence: Evidence) -> None:
    made, key = evidence.quote.signature, evidence.key
    if (key.scheme, key.digest) != (made.scheme, made.digest):
        want = "none" if key.scheme is None else SCHEMES[key.scheme]
        found = f"{SCHEMES[made.scheme]} with {made.hash_name}"
        raise NotAuthenticError("signature.sigAlg", found, f"the key's scheme: {want}", SOURCE)


def _chain(
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,
    digest: bytes,
    now: datetime,
    cache: Cache,
) -> tuple[Certificate, ...]:
    """Return the chain of the key, empty where no certificate of it was supplied."""
    supplied: Sequence[Certificate] = path_building.best_first(
        [cache.certificate(one) for one in (*evidence.certificates, *endorsements.certificates)], now
    )
    leaves = [one for one in supplied if one.key_sha256 == digest]
    if not leaves:
        if evidence.certificates:
            want = f"one of key sha256:{digest.hex()}"
            raise NotAuthenticError("certificates of the key", "those of other keys", want, CHAIN)
        return ()
    search = partial(path_building.chain, leaves, supplied, cache.check_signed, CHAIN, now=now, known=_KNOWN)
    if roots.keys:
        # Which root is not trusted the appraisal says, beside everything else that it does not accept.
        with suppress(NotAuthenticError, MissingEndorsementError):
            return search(accept=partial(_check_chain, roots=roots))
    return search(accept=_check_chain)


def _check_chain(chain: Sequence[Certificate], roots: Roots | None = None) -> None:
    _check_purpose(chain[0])
    if roots is not None:
        path.check_pinned(chain, roots.keys, roots.name, CHAIN)


def _check_purpose(leaf: Certificate) -> None:
    """
    Check that whoever certified the key meant an attestation key, as far as the certificate says.

    Source:
        RFC 5280, section 4.2.1.12, "Extended Key Usage".  TCG OID Registry, "tcg-kp-AIKCertificate"; Web
        Authentication, level 2, section 8.3.1, for what has to have it.
    """
    if leaf.signs_certificates or (leaf.purposes and _AIK not in leaf.purposes):
        found = "one of an issuer" if leaf.signs_certificates else ", ".join(sorted(leaf.purposes))
        want = f"an attestation key's: {_AIK}, or no purposes"
        raise NotAuthenticError(f"certificate {leaf.common_name}", found, want, CHAIN)
