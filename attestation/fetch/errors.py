"""What can go wrong between a question and an answer that is kept."""

from __future__ import annotations

from attestation.errors import AttestationError
from shim.errors import FoundWantError


class FetchError(FoundWantError, AttestationError):
    """An endorsement that could not be fetched; `where` is the URL that was asked."""


class TemporaryError(FetchError):
    """
    No answer, or none for now: asking again later may help.

    Attributes:
        retry_after: The value of the header Retry-After, or "".
    """

    def __init__(self, where: str, found: str, want: str, source: str = "", *, retry_after: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(where, found, want, source)


class WrongAnswerError(FetchError):
    """An answer that is not what was asked for; it is not kept."""
