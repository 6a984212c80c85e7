"""
Has AMD taken back a certificate of the chain?

The ARK of each product signs one list for both kinds of keys.  VCEKs all have the serial number 0, so no
list can name one of them; AMD revokes the ASK above them instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from attestation import revocation
from attestation.cache import Cache
from attestation.certificate import RevocationList
from attestation.errors import RevokedError, SignatureError
from attestation.snp.chain import Chain

SOURCE = revocation.SOURCE


def check(chain: Chain, lists: Iterable[bytes], cache: Cache) -> RevocationList | None:
    """
    Return the newest list that the root of `chain` signed, or None when none of `lists` names it as issuer.

    A certificate that any list of this root names is revoked, however old the list: revocation is final.

    Args:
        chain: The chain to look for.
        lists: Certificate revocation lists, DER; those of other issuers are ignored.
        cache: Remembers lists and signatures.

    Raises:
        RevokedError: a certificate of the chain is on a list.
        NotAuthenticError: there are lists in the name of the root, and it signed none of them, or may not.
        MissingEndorsementError: a list has a critical extension that is not known, so it cannot be read.
        EvidenceFormatError: one of `lists` is malformed.

    Not checked:
        That the list is current at any time: the caller has the clock.
    """
    named = [crl for crl in map(cache.revocation_list, lists) if crl.issuer == chain.root.subject]
    if not named:
        return None
    revocation.check_authority(chain.root)
    genuine = [crl for crl in named if _is_signed(crl, chain, cache)]
    if not genuine:
        raise SignatureError("revocation list", "a signature of another key", chain.root.common_name, SOURCE)
    for crl in genuine:
        _check_list(chain, crl)
    return max(genuine, key=lambda crl: crl.this_update)


def _is_signed(crl: RevocationList, chain: Chain, cache: Cache) -> bool:
    try:
        cache.check_rsa_pss_sha384(crl.signed, chain.root, "revocation list")
    except SignatureError:
        return False
    return True


def _check_list(chain: Chain, crl: RevocationList) -> None:
    revocation.check_readable(crl)
    for certificate in chain.certificates:
        # AMD's lists have been seen to name the signing keys of a cloud without naming their issuer.
        issuers = {certificate.issuer, crl.issuer}
        if certificate.serial and any((issuer, certificate.serial) in crl.revoked for issuer in issuers):
            found = f"serial number 0x{certificate.serial:x} on the list of {crl.this_update:%Y-%m-%d}"
            raise RevokedError(certificate.common_name, found, "not on the list", SOURCE)
