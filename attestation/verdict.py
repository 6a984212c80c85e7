"""
What can be said about evidence, in the order in which it matters.

A verdict is one word and one exit code.  It never says why: mismatches and errors do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.Enum):
    """
    The answer to "is this the machine and the image we expect", most fundamental refusal first.

    When several refusals apply, the first in this order is the verdict, because each answer is worth
    something only if the ones above it are settled: bytes that cannot be read say nothing; a claim nobody
    signed is no claim; a revoked key is worse than an old one; what is missing only keeps us from knowing;
    and only fresh evidence of a known machine is worth comparing with a policy.
    """

    MALFORMED = "malformed"
    NOT_AUTHENTIC = "not authentic"
    REVOKED = "revoked"
    EXPIRED = "expired or not yet valid"
    CANNOT_TELL = "cannot tell"
    WRONG_BINDING = "stale nonce or wrong binding"
    TCB_TOO_LOW = "TCB too low"
    POLICY_MISMATCH = "policy mismatch"
    AFFIRMING = "affirming"

    @property
    def exit_code(self) -> int:
        """The exit code of `shim verify` and `shim inspect` for this verdict."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Verdict.AFFIRMING: 0,
    Verdict.MALFORMED: 10,
    Verdict.NOT_AUTHENTIC: 11,
    Verdict.EXPIRED: 12,
    Verdict.REVOKED: 13,
    Verdict.CANNOT_TELL: 14,
    Verdict.WRONG_BINDING: 15,
    Verdict.TCB_TOO_LOW: 16,
    Verdict.POLICY_MISMATCH: 17,
}


def most_fundamental(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that stands first in the order of `Verdict`; AFFIRMING when there is none."""
    found = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in found), Verdict.AFFIRMING)
