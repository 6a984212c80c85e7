"""
Did a Nitro hypervisor of AWS say this?

Whether we like what it says is the question of `appraise`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from attestation import cose, path, revocation, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.endorsements import Endorsements
from attestation.errors import NotAuthenticError
from attestation.nitro.evidence import Evidence
from attestation.nitro.report import SOURCE, Document
from attestation.path import Roots
from attestation.trail import SILENT, Trail

_LONGEST = 8


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A document that a genuine hypervisor signed.

    Attributes:
        document: What it said.
        chain: From the certificate of the key that signed it to the root.
        revocation_lists: Those on which nothing of the chain stands.
        age: Of the document, at the time of the appraisal.
    """

    document: Document
    chain: tuple[Certificate, ...]
    revocation_lists: tuple[RevocationList, ...]
    age: timedelta


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
    Return the document, proven to be signed by a hypervisor that one of `roots` vouches for.

    Args:
        evidence: From `attestation.nitro.evidence.parse`.
        endorsements: Revocation lists; the certificates are inside the evidence.
        roots: The only keys that may stand at the top.
        now: The time to judge at, with its time zone.  A document can be judged for three hours: longer its
            certificate is not good for.
        skew: By how much clocks may differ.
        crl_required: Refuse when a list of an issuer in the chain is missing.  One that was supplied is
            always used.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError.

    Not checked:
        Everything that a policy is for: registers, debugging, age, freshness.

    Source:
        AWS Nitro Enclaves, NSM API, docs/attestation_process.md, section 3.2.
    """
    cache = cache if cache is not None else Cache()
    document = evidence.document
    bundle = document.cabundle
    if len(bundle) > _LONGEST:
        raise NotAuthenticError("cabundle", f"{len(bundle)} certificates", f"at most {_LONGEST}", SOURCE)
    chain = tuple(cache.certificate(one) for one in (document.certificate, *reversed(bundle)))
    path.check_pinned(chain, roots.keys, roots.name, SOURCE)
    for certificate, issuer in (*pairwise(chain), (chain[-1], chain[-1])):
        if certificate.issuer != issuer.subject:
            name, want = certificate.issuer.rfc4514_string(), issuer.subject.rfc4514_string()
            raise NotAuthenticError(f"issuer of {certificate.common_name}", name, want, SOURCE)
        cache.check_ecdsa(certificate.signed, issuer, certificate.common_name)
        path.check_authority(issuer)
    path.check_lengths(chain)
    path.check_critical(chain[0])
    trail.chain(chain, roots.name, SOURCE)
    cose.check(evidence.message, chain[0].public_key, "document signature")
    trail.signature("document signature", chain[0], SOURCE)

    found = revocation.of_chain(chain, endorsements.revocation_lists, now, cache)
    trail.lists(found, revocation.SOURCE, required=crl_required)
    validity.check_certificates(chain, now, skew)
    validity.check(document.timestamp, chain[0].not_after, now, skew, "document")
    trail.validity(chain, now, validity.SOURCE)
    lists = revocation.current(found, now, skew, required=crl_required)
    return Authenticated(document, chain, lists, now - document.timestamp)
