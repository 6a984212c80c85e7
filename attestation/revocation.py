"""
Has an issuer taken back certificates that it signed?

How AMD's lists name certificates is another matter: `attestation.snp.revocation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from attestation import validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.errors import MissingEndorsementError, NotAuthenticError, RevokedError, SignatureError
from attestation.path import Check

IsOn = Callable[[Certificate, RevocationList], bool]
SOURCE = 'RFC 5280, section 6.3, "CRL Validation"'


def check(  # noqa: PLR0913, PLR0917  # what lists are chosen by and read with
    certificates: Sequence[Certificate],
    issuer: Certificate,
    lists: Iterable[bytes],
    now: datetime,
    cache: Cache,
    verify: Check | None = None,
    is_on: IsOn | None = None,
) -> RevocationList | None:
    """
    Return the list of `issuer` to go by, or None when none of `lists` names it.

    That is the newest of those that are current, or of all where none is.

    A certificate that any list of this issuer names is revoked, however old the list: revocation is final.

    Args:
        certificates: Those that `issuer` answers for.
        issuer: Whose lists count.
        lists: Certificate revocation lists, DER; those of other issuers are ignored.
        now: The time to judge at: who judges as of long ago may have newer ones as well.
        cache: Remembers lists and signatures.
        verify: How signatures are checked: a method of the cache, or None for ECDSA.
        is_on: Whether a list names a certificate, or None for the standard's way.

    Raises:
        RevokedError: one of `certificates` is on a list.
        NotAuthenticError: there are lists in the name of the issuer, and it signed none of them, or may not.
        MissingEndorsementError: a list has a critical extension that is not known, so it cannot be read.
        EvidenceFormatError: one of `lists` is malformed.

    Not checked:
        That the list is current: see `current`.
    """
    named = [one for one in map(cache.revocation_list, lists) if one.issuer == issuer.subject]
    if not named:
        return None
    check_authority(issuer)
    genuine = [one for one in named if _is_signed(one, issuer, verify or cache.check_ecdsa)]
    if not genuine:
        raise SignatureError("revocation list", "a signature of another key", issuer.common_name, SOURCE)
    for one in genuine:
        _check_list(certificates, one, is_on or _is_on)
    return max(genuine, key=lambda one: (one.this_update <= now <= one.next_update, one.this_update))


def of_chain(
    chain: Sequence[Certificate],
    lists: Sequence[bytes],
    now: datetime,
    cache: Cache,
    verify: Check | None = None,
) -> list[RevocationList | None]:
    """Return for each issuer in a chain, the leaf's first, what `check` returns; raise what it raises."""
    return [check([one], issuer, lists, now, cache, verify) for one, issuer in pairwise(chain)]


def current(
    found: Sequence[RevocationList | None], now: datetime, skew: timedelta, *, required: bool
) -> tuple[RevocationList, ...]:
    """
    Return the lists that there are.

    Raises:
        ValidityError: one is not current at `now`.
        MissingEndorsementError: one is missing, and all are required.
    """
    lists = tuple(one for one in found if one is not None)
    for one in lists:
        validity.check(one.this_update, one.next_update, now, skew, "revocation list")
    if required and None in found:
        want = "one of each issuer in the chain"
        raise MissingEndorsementError("revocation lists", f"{len(lists)}", want, SOURCE)
    return lists


def check_authority(issuer: Certificate) -> None:
    """
    Check that a certificate may sign lists.

    Raises:
        NotAuthenticError: it may not.
    """
    if not issuer.signs_revocations:
        raise NotAuthenticError(issuer.common_name, "not allowed to sign lists", "cRLSign", SOURCE)


def check_readable(one: RevocationList) -> None:
    """
    Check that all is known that a list says about itself.

    Raises:
        MissingEndorsementError: it has a critical extension that is not known.
    """
    if one.unknown_critical:
        found = f"critical extension {', '.join(one.unknown_critical)}"
        raise MissingEndorsementError("revocation list", found, "none that is not known", SOURCE)


def _is_signed(one: RevocationList, issuer: Certificate, verify: Check) -> bool:
    try:
        verify(one.signed, issuer, "revocation list")
    except SignatureError:
        return False
    return True


def _is_on(certificate: Certificate, one: RevocationList) -> bool:
    return one.names(certificate.issuer, certificate.serial)


def _check_list(certificates: Sequence[Certificate], one: RevocationList, is_on: IsOn) -> None:
    check_readable(one)
    for certificate in certificates:
        if is_on(certificate, one):
            found = f"serial number 0x{certificate.serial:x} on the list of {one.this_update:%Y-%m-%d}"
            raise RevokedError(certificate.common_name, found, "not on the list", SOURCE)
