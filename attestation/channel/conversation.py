"""One session over one stream of bytes, from its opening to the guest's last word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from attestation.channel.messages import Exit, Record
from attestation.channel.session import Session, Turn

_MOST_AT_ONCE = 65536
_TO_SEND = 30.0
_LEAST = 0.001  # a timeout of zero would mean: do not wait at all


class Stream(Protocol):
    """What a connected socket is; reads and writes raise TimeoutError."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Set how long a read or write may take; None is for ever."""

    def recv(self, size: int, /) -> bytes:
        """Return what has arrived, at most `size` bytes; nothing at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""


def converse(
    stream: Stream, session: Session, clock: Callable[[], datetime], deliver: Callable[[Record], None]
) -> Exit:
    """
    Return the guest's last word.

    Args:
        stream: To the guest, through whoever relays.
        session: Just made.
        clock: Returns the time, with its time zone.
        deliver: Gets each record of the guest when it comes, the last one too.

    Raises:
        AppraisalError: the evidence is not accepted; the guest was refused.
        ChannelError: the guest, or the host between, did not keep to the protocol, or was silent too long.
        OSError: of the stream.
    """
    while session.exit is None:
        turn = _wait(stream, session, clock)
        for record in turn.records:
            deliver(record)
        if turn.reply:
            _send(stream, turn)
        if turn.failure is not None:
            raise turn.failure
    return session.exit


def _wait(stream: Stream, session: Session, clock: Callable[[], datetime]) -> Turn:
    left = None if session.deadline is None else (session.deadline - clock()).total_seconds()
    stream.settimeout(left if left is None else max(left, _LEAST))
    try:
        data = stream.recv(_MOST_AT_ONCE)
    except TimeoutError:
        return session.expire(clock())
    return session.receive(data, clock()) if data else session.close()


def _send(stream: Stream, turn: Turn) -> None:
    """A refusal that does not reach the guest is no reason to forget why it was refused."""
    stream.settimeout(_TO_SEND)
    try:
        stream.sendall(turn.reply)
    except OSError:
        if turn.failure is None:
            raise
