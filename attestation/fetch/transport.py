"""What does a fetch need of the network, whatever brings it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers with lower-case names, and the body, which is read only with status 200."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """How questions reach services."""

    def ask(self, url: str, headers: Mapping[str, str], *, limit: int, deadline: float) -> Response:
        """
        Return the answer to a GET.

        Args:
            url: Where to ask, http or https.
            headers: What to send besides what every question has.
            limit: The largest body that is read, in bytes.
            deadline: When to give up, by the clock that only grows.

        Raises:
            TemporaryError: no connection, or no whole answer in time.
            FetchError: a certificate of TLS that is not trusted.
            WrongAnswerError: a larger body, or one that is compressed.
        """
