"""
What is an endorsement that vendors hand out, before anybody has it?

It has a name, the URL under which its vendor serves it, and it knows what a right answer is.  Whoever brings
the answer, from the network, a store or a file, is not trusted: `check` decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attestation.certificate import Certificate
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, ValidityError

LARGEST_CERTIFICATES = 1 << 16
LARGEST_LIST = 1 << 22
LARGEST_DOCUMENT = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What was served.

    Attributes:
        body: As it came.
        issuers: The certificates of whoever signed it, as PEM; b"" where the body brings all it takes.
    """

    body: bytes
    issuers: bytes = b""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    An answer that was found right.

    Attributes:
        endorsements: What is in it, with its issuers.
        issued: When its signer made it; of two answers the later one counts.
    """

    endorsements: Endorsements
    issued: datetime


class Wanted(Protocol):
    """One endorsement that a vendor serves; equal ones have the same URL."""

    @property
    def url(self) -> str:
        """Where the vendor serves it, which is also its name wherever it is kept."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""

    @property
    def limit(self) -> int:
        """No right answer is larger, in bytes."""

    @property
    def lasting(self) -> bool:
        """Whether an answer stays the answer: true of certificates, not of lists and what tells ages."""

    @property
    def issuer_headers(self) -> tuple[str, ...]:
        """The HTTP headers, lower case, of which one brings the issuers, URL-encoded."""

    @property
    def issuers(self) -> Wanted | None:
        """Whose answer has the issuers, where no header brings them."""

    def check(self, answer: Answer, at: datetime) -> Checked:
        """
        Return what is in an answer, if it is the right one and good at that time.

        Raises:
            EvidenceFormatError, NotAuthenticError, MissingEndorsementError, ValidityError.
        """


def sole(structures: tuple[bytes, ...], what: str, want: str) -> bytes:
    """
    Return the one structure that an answer consists of.

    Raises:
        EvidenceFormatError: there are none or several.
    """
    if len(structures) != 1:
        raise EvidenceFormatError(what, "", f"{len(structures)} structures", want)
    return structures[0]


def latest(certificates: Iterable[Certificate]) -> datetime:
    """Return when the newest of some certificates became valid."""
    return max(one.not_before for one in certificates)


def check_period(issued: datetime, end: datetime, at: datetime, where: str) -> None:
    """
    Check that something is good now.

    Raises:
        ValidityError: not yet, or no longer; it says that this machine's clock may be the one that is wrong.
    """
    want = f"good at {at.isoformat(timespec='seconds')}, as this machine's clock says"
    if at < issued:
        raise ValidityError(where, f"issued at {issued.isoformat()}", want)
    if at > end:
        raise ValidityError(where, f"good until {end.isoformat()}", want)
