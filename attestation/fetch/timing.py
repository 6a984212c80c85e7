"""The clocks, the patience and the dice of a fetch: all of them arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Timing:
    """
    Where time and chance come from.

    Attributes:
        wall: The time of day, with its time zone.
        seconds: Seconds that only ever grow.
        sleep: Waits for some seconds.
        chance: A number from 0 to 1, anew at every call.
    """

    wall: Callable[[], datetime]
    seconds: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long to wait for what, in seconds.

    Attributes:
        total: For one endorsement, with everything that it takes.
        attempt: For one answer, from the connection to its last byte.
        first: The longest pause after the first attempt; it doubles with every further one.
        longest: No pause is longer, unless the service asks for it.
    """

    total: float = 300.0
    attempt: float = 60.0
    first: float = 2.0
    longest: float = 60.0
