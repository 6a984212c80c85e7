"""
What a relying party can answer instead of what it was asked for.

Each has a status of HTTP and one word.  A client is told these and the verdict, never more: what was compared
with what stands in the audit log.
"""

from __future__ import annotations

from typing import ClassVar

from attestation.errors import AttestationError
from attestation.verdict import Verdict
from shim.errors import FoundWantError


class RelyingPartyError(AttestationError):
    """Base of what a client is told; `status` is that of HTTP, `word` names the reason."""

    status: ClassVar[int] = 500
    word: ClassVar[str] = "internal"


class RequestError(FoundWantError, RelyingPartyError):
    """A request that is not what the protocol asks for; nothing was spent."""

    status = 400
    word = "malformed request"


class RefusedError(RelyingPartyError):
    """
    Evidence, or a nonce, that is not accepted.

    Attributes:
        verdict: Why, in the one word that a client is told.
    """

    status = 403
    word = "refused"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(verdict)

    def __str__(self) -> str:
        return self.verdict.value


class SessionError(RelyingPartyError):
    """No session that is known and current: attestation has to come first."""

    status = 401
    word = "not attested"


class ReleaseError(RelyingPartyError):
    """An attested machine that may not have this resource, or has had it for this nonce."""

    status = 403
    word = "not released"


class UnknownResourceError(RelyingPartyError):
    """No resource has this name."""

    status = 404
    word = "no such resource"


class UnavailableError(FoundWantError, RelyingPartyError):
    """The store cannot be asked now; nothing was released."""

    status = 503
    word = "unavailable"


class KeyFileError(FoundWantError, RelyingPartyError):
    """A file of keys that cannot be used."""

    exit_code = 2


class StoreIntegrityError(FoundWantError, RelyingPartyError):
    """Something in the store that nobody with the store's key wrote there."""


class AuditError(RelyingPartyError):
    """
    An audit log that is not what was written.

    Attributes:
        problems: Everything that is wrong with it, one line each.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)
