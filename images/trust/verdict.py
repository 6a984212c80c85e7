"""What can be said about an image, the most fundamental refusal first."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from types import MappingProxyType


class Verdict(enum.Enum):
    """
    The answer to "may this image run".

    What is damaged says nothing; what nobody signed is no claim; and only the newest of what is signed is
    worth comparing with a policy.
    """

    MALFORMED = "malformed or altered"
    NOT_AUTHENTIC = "not signed as the policy asks"
    ROLLED_BACK = "rolled back"
    POLICY_MISMATCH = "policy mismatch"
    ACCEPTED = "accepted"

    @property
    def exit_code(self) -> int:
        """The exit code of `shim verify-image`; the numbers are those of `shim verify`."""
        return _EXIT_CODES[self]


_EXIT_CODES = MappingProxyType(
    {
        Verdict.ACCEPTED: 0,
        Verdict.MALFORMED: 10,
        Verdict.NOT_AUTHENTIC: 11,
        Verdict.ROLLED_BACK: 16,
        Verdict.POLICY_MISMATCH: 17,
    }
)


def most_fundamental(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that stands first; ACCEPTED when there is none."""
    found = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in found), Verdict.ACCEPTED)
