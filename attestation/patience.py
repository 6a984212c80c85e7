"""How often, and after what pauses, is something asked that may pass?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attestation.errors import CollectError

ATTEMPTS = 5
T = TypeVar("T")


def patiently(
    ask: Callable[[], T], passes: Callable[[CollectError], bool], pause: Callable[[float], None]
) -> T:
    """
    Return what `ask` returns in one of five attempts, half a second apart at first and then ever longer.

    Args:
        ask: Raises CollectError where it fails.
        passes: Whether an error may be gone later; any other ends it at once.
        pause: Called with the seconds to wait before the next attempt.

    Raises:
        CollectError: that of the last attempt.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return ask()
        except CollectError as error:
            if not passes(error):
                raise
        pause(2.0**attempt / 4)
    return ask()
