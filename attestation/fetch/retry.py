"""When to ask again: exponential back-off with full jitter, and never before the service says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from attestation.fetch.errors import TemporaryError
from attestation.fetch.timing import Patience, Timing

SOURCE = 'RFC 9110, section 10.2.3, "Retry-After"'
_MOST = 86400.0
T = TypeVar("T")


def patiently(
    ask: Callable[[], T],
    deadline: float,
    timing: Timing,
    patience: Patience,
    hold: Callable[[float], None],
) -> T:
    """
    Return what `ask` returns, asking again while it says that later may help.

    Args:
        ask: Asks once.
        deadline: When to give up, by the clock that only grows.
        timing: Clocks and chance.
        patience: How long pauses may be.
        hold: Told for how many seconds the service wants no question at all.

    Raises:
        TemporaryError: the last one, when another attempt would end after the deadline.
        Whatever else `ask` raises, at once.
    """
    attempts = 0
    while True:
        try:
            return ask()
        except TemporaryError as error:
            attempts += 1
            asked = seconds_of(error.retry_after, timing.wall())
            pause = timing.chance() * min(patience.longest, patience.first * 2 ** (attempts - 1))
            if asked is not None:
                hold(asked)
                pause += asked  # everybody else is told the same moment: jitter comes after it
            if timing.seconds() + pause > deadline:
                raise _given_up(error, attempts, asked) from error
            timing.sleep(pause)


def _given_up(error: TemporaryError, attempts: int, asked: float | None) -> TemporaryError:
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    later = "" if asked is None else f", to be asked again in {asked:.0f} seconds"
    return TemporaryError(error.where, f"{error.found} after {times}{later}", error.want, error.source)


def seconds_of(text: str, at: datetime) -> float | None:
    """
    Return the seconds that a value of Retry-After stands for, at most a day; None where it says nothing.

    Source:
        RFC 9110, section 10.2.3, "Retry-After".
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _MOST)
    try:
        moment = parsedate_to_datetime(text)
        return min(max((moment - at).total_seconds(), 0.0), _MOST)
    except (ValueError, TypeError, OverflowError):
        return None
