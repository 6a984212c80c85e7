"""
Has NVIDIA taken back a certificate of a chain, or does it hold one?

NVIDIA answers about single certificates by OCSP, and signs lists for those near the root.  The device itself
makes the last certificate of its chain, about which nobody answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from attestation import ocsp, revocation
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError
from attestation.ocsp import HOLD, Answer


@dataclass(frozen=True, slots=True)
class State:
    """
    What the issuer of one certificate says of it.

    Attributes:
        certificate: The one that is meant.
        answer: By OCSP, or None.
        revocation_list: On which it does not stand, or None.
    """

    certificate: Certificate
    answer: Answer | None
    revocation_list: RevocationList | None

    @property
    def known(self) -> bool:
        """Whether the issuer says anything."""
        return self.answer is not None or self.revocation_list is not None

    @property
    def held(self) -> bool:
        """Whether the certificate is on hold: revoked, until the issuer decides otherwise."""
        return self.answer is not None and self.answer.response.reason == HOLD


def of_chain(
    chain: Sequence[Certificate],
    endorsements: Endorsements,
    now: datetime,
    skew: timedelta,
    cache: Cache,
) -> tuple[State, ...]:
    """
    Return the state of each certificate of a chain below the root, the leaf's first.

    Raises:
        RevokedError, NotAuthenticError, MissingEndorsementError, EvidenceFormatError: as
            `attestation.revocation.check` and `attestation.ocsp.check`.

    Not checked:
        That what is said is current: see `current`.  Whether a hold is accepted: a policy says that.
    """
    lists, responses = endorsements.revocation_lists, endorsements.status_responses
    return tuple(
        State(
            one,
            ocsp.check(one, issuer, responses, now, skew, cache),
            revocation.check([one], issuer, lists, now, cache),
        )
        for one, issuer in pairwise(chain)
    )


def current(states: Sequence[State], now: datetime, skew: timedelta) -> None:
    """
    Check that what is said is good at `now`.

    Raises:
        ValidityError: a list or an answer is not.
    """
    revocation.current([one.revocation_list for one in states], now, skew, required=False)
    ocsp.current([one.answer for one in states if one.answer is not None], now, skew)


def check_known(states: Sequence[State]) -> None:
    """
    Check that every state is known.

    Raises:
        MissingEndorsementError: one is not.
    """
    for one in states:
        if not one.known:
            want = "an OCSP response, or a list of its issuer"
            raise MissingEndorsementError(
                f"state of {one.certificate.common_name}", "nothing", want, ocsp.SOURCE
            )
