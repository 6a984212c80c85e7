"""Is the time of the appraisal within the time that a document is good for?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from attestation.certificate import Certificate
from attestation.errors import ValidityError

SOURCE = 'RFC 5280, section 4.1.2.5, "Validity"'


def check_certificates(certificates: Iterable[Certificate], now: datetime, skew: timedelta) -> None:
    """
    Check that `now` is within the validity of each certificate; see `check`.

    Raises:
        ValidityError: before or after the period of one of them.
    """
    for one in certificates:
        check(one.not_before, one.not_after, now, skew, one.common_name)


def check(not_before: datetime, not_after: datetime, now: datetime, skew: timedelta, where: str) -> None:
    """
    Check that `now` is within the period, which is widened by `skew` at both ends.

    Args:
        not_before: First moment of the period, inclusive.
        not_after: Last moment of the period, inclusive.
        now: The time of the appraisal, with its time zone.
        skew: By how much the clocks of issuer and verifier may differ.
        where: What the period belongs to.

    Raises:
        ValidityError: before or after the period.
        TypeError: `now` has no time zone; the caller's bug.

    Source:
        RFC 5280, section 4.1.2.5, "Validity".
    """
    want = f"valid at {now.isoformat()}, give or take {skew.total_seconds():.0f} seconds"
    if not_before - now > skew:
        raise ValidityError(where, f"not valid before {not_before.isoformat()}", want, SOURCE)
    if now - not_after > skew:
        raise ValidityError(where, f"expired at {not_after.isoformat()}", want, SOURCE)
