"""
Has AMD taken back a certificate of the chain?

The ARK of each product signs one list for both kinds of keys.  VCEKs all have the serial number 0, so no
list can name one of them; AMD revokes the ASK above them instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from attestation import revocation
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.snp.chain import Chain

SOURCE = revocation.SOURCE


def check(chain: Chain, lists: Iterable[bytes], now: datetime, cache: Cache) -> RevocationList | None:
    """
    Return the list of the root of `chain` to go by, or None when none of `lists` names it as issuer.

    A certificate that any list of this root names is revoked, however old the list: revocation is final.

    Args:
        chain: The chain to look for.
        lists: Certificate revocation lists, DER; those of other issuers are ignored.
        now: The time to judge at.
        cache: Remembers lists and signatures.

    Raises:
        RevokedError: a certificate of the chain is on a list.
        NotAuthenticError: there are lists in the name of the root, and it signed none of them, or may not.
        MissingEndorsementError: a list has a critical extension that is not known, so it cannot be read.
        EvidenceFormatError: one of `lists` is malformed.

    Not checked:
        That the list is current at any time: the caller has the clock.
    """
    verify = cache.check_rsa_pss_sha384
    return revocation.check(chain.certificates, chain.root, lists, now, cache, verify, _is_on)


def _is_on(certificate: Certificate, crl: RevocationList) -> bool:
    """AMD's lists have been seen to name the signing keys of a cloud without naming their issuer."""
    issuers = {certificate.issuer, crl.issuer}
    return bool(certificate.serial) and any(crl.names(one, certificate.serial) for one in issuers)
