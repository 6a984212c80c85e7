"""
What can go wrong on a channel, as types.

Whoever reads them knows what the other side, or the host between, has done; none of them is an appraisal.
"""

from __future__ import annotations

from attestation.errors import AttestationError
from attestation.verdict import Verdict
from shim.errors import FoundWantError

SOURCE = "docs/protocol.md"


class ChannelError(FoundWantError, AttestationError):
    """Base of everything that ends a channel; a refusal says `exit_code`, which is that of a verdict."""

    exit_code = Verdict.MALFORMED.exit_code

    def __init__(self, where: str, found: str, want: str, source: str = SOURCE) -> None:
        super().__init__(where, found, want, source)


class FrameError(ChannelError):
    """Bytes that are no frame of this version, or of a size that its type cannot have."""


class MessageError(ChannelError):
    """A frame whose body is not what its type says."""


class TurnError(ChannelError):
    """A message that is well-formed and not due."""


class NonceError(ChannelError):
    """A nonce that was used before, or whose time is up."""

    exit_code = Verdict.WRONG_BINDING.exit_code


class PlanError(ChannelError):
    """A guest that runs another plan than the ones whose secret is asked for."""

    exit_code = Verdict.WRONG_BINDING.exit_code


class ProofError(ChannelError):
    """A guest that did not open the credential: its attestation key is in no TPM of that endorsement key."""

    exit_code = Verdict.NOT_AUTHENTIC.exit_code


class ReleaseError(ChannelError):
    """A release that is not for this guest, or that the relying party did not sign."""

    exit_code = Verdict.NOT_AUTHENTIC.exit_code


class RecordError(ChannelError):
    """A record that the guest did not seal, or not as the next one."""

    exit_code = Verdict.NOT_AUTHENTIC.exit_code


class TruncatedError(ChannelError):
    """The end of the channel before the guest's exit."""

    exit_code = Verdict.CANNOT_TELL.exit_code


class SilenceError(ChannelError):
    """A message that did not come, or not whole, in its time."""

    exit_code = Verdict.WRONG_BINDING.exit_code
