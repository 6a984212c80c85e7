"""
How often may a service be asked, by all processes of this machine together?

What they know of each other stands in a small file for each service, which is read and written under a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from attestation.fetch.errors import FetchError
from attestation.fetch.timing import Timing
from attestation.store import files
from attestation.store.files import StoreError

_LONGEST = 86400.0  # whatever a file says: clocks jump
_LARGEST = 1 << 10
_NAMES = ("held", "paced")


@dataclass(frozen=True, slots=True)
class Pace:
    """
    The pace of all services.

    Attributes:
        folder: Where the files are; every process that shares it shares the pace.
        timing: Clocks.
    """

    folder: Path
    timing: Timing

    def enter(self, service: str, interval: float, deadline: float) -> None:
        """
        Return when a question may be asked, and count it.

        Args:
            service: Whom to ask: a host's name, with its port.
            interval: Seconds between two such questions; 0 where only the service's own wishes count.
            deadline: When to give up, by the clock that only grows.

        Raises:
            FetchError: it would be after the deadline.
            StoreError: the file cannot be written.
        """
        while (wait := self._reserve(service, interval)) > 0:
            if self.timing.seconds() + wait > deadline:
                found = f"{wait:.0f} seconds until it may be asked again"
                raise FetchError(service, found, "less than this run may still take (--max-time SECONDS)")
            self.timing.sleep(wait)

    def hold(self, service: str, seconds: float) -> None:
        """Let nobody ask a service for some seconds."""
        until = self._time() + min(seconds, _LONGEST - 1)
        self._change(service, lambda known: {**known, "held": max(known["held"], until)})

    def _reserve(self, service: str, interval: float) -> float:
        """Return how long to wait, 0 if the question was counted."""
        at = self._time()
        waits: list[float] = []

        def reserve(known: Mapping[str, float]) -> Mapping[str, float]:
            next_at = max(known["held"], known["paced"] if interval else 0.0)
            waits.append(max(next_at - at, 0.0))
            return known if waits[0] or not interval else {**known, "paced": at + interval}

        self._change(service, reserve)
        return waits[0]

    def _time(self) -> float:
        return self.timing.wall().timestamp()

    def _change(self, service: str, change: Callable[[Mapping[str, float]], Mapping[str, float]]) -> None:
        path = self.folder / re.sub(r"[^A-Za-z0-9.-]", "_", service)
        try:
            files.folder(self.folder)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                known = _known(file.read(_LARGEST), self._time())
                changed = change(known)
                if changed != known:
                    file.seek(0)
                    file.truncate()
                    file.write(json.dumps(changed).encode())
        except OSError as error:
            raise StoreError(str(path), str(error.strerror), "a file that can be written") from error


def _known(data: bytes, at: float) -> Mapping[str, float]:
    """Return what a file says; nothing where it is damaged, or says what cannot be."""
    try:
        found = json.loads(data)
        values = {name: float(found[name]) for name in _NAMES}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return dict.fromkeys(_NAMES, 0.0)
    return {name: value if value < at + _LONGEST else 0.0 for name, value in values.items()}
