"""Who answers a machine on its channel: a relying party in this process, or one elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from attestation.channel.errors import ChannelError
from attestation.channel.messages import Record
from attestation.channel.session import Session
from attestation.channel.simulated_tee import SimulatedTee
from attestation.result import AttestationResult
from images.boot.errors import BootError
from shim.cli.boot_wires import PIECE, Wire, Wires
from shim.errors import ShimError

CONNECT_SECONDS = 55.0  # a guest waits 60 s for its challenge (docs/protocol.md)
OFF_SECONDS = 60.0  # for a machine whose relying party has hung up: it has said its last word, and goes off
_ONE_TRY, _BETWEEN = 2.0, 0.5
_WENT_AWAY, _UNTIL_EXIT = "the end of the connection", "it there until the machine is off"


class RelayError(BootError):
    """A relying party elsewhere that is not there, or went away before the end."""


class Party(Protocol):
    """
    What a machine talks to.

    Attributes:
        failure: Why the conversation is over, once it failed.
    """

    failure: ShimError | None

    def attach(self, guest: Wire, wires: Wires) -> None:
        """Answer on this wire from now on."""

    def receive(self, data: bytes) -> None:
        """Take what the guest sent."""

    def close(self) -> None:
        """Nothing more will come from the guest."""

    def tick(self) -> float:
        """Do what is due, and return for how many seconds nothing will be."""


class Embedded:
    """
    A relying party in this process.

    Args:
        session: Just made.
        clock: Returns the time, with its time zone.
        deliver: Gets each record of the guest when it comes.
        affirmed: Is told once that its evidence was.
    """

    def __init__(
        self,
        session: Session,
        clock: Callable[[], datetime],
        deliver: Callable[[Record], None],
        affirmed: Callable[[AttestationResult], None] = lambda _: None,
    ) -> None:
        self.failure: ShimError | None = None
        self.session = session
        self._clock, self._deliver, self._affirmed = clock, deliver, affirmed
        self._guest: Wire | None = None

    def attach(self, guest: Wire, _wires: Wires) -> None:
        """Answer on this wire from now on."""
        self._guest = guest

    def receive(self, data: bytes) -> None:
        """Take what the guest sent."""
        had_result = self.session.result is not None
        turn = self.session.receive(data, self._clock())
        if self.session.result is not None and not had_result:
            self._affirmed(self.session.result)
        for record in turn.records:
            self._deliver(record)
        if turn.reply and self._guest is not None:
            self._guest.send(turn.reply)
        self.failure = self.failure or turn.failure

    def close(self) -> None:
        """Nothing more will come from the guest."""
        self.failure = self.failure or self.session.close().failure

    def tick(self) -> float:
        """Refuse a guest whose time is up."""
        turn = self.session.expire(self._clock())
        if turn.reply and self._guest is not None:
            self._guest.send(turn.reply)
        self.failure = self.failure or turn.failure
        deadline = self.session.deadline
        return 3600.0 if deadline is None else max(0.0, (deadline - self._clock()) / timedelta(seconds=1))


class Remote:
    """
    A relying party elsewhere, which bytes are relayed to unread.

    It is connected to when the guest first speaks, again and again until it is there; and once more if it
    went away before it said anything.  After that its end is the end of this boot: a guest answers one
    challenge.

    Args:
        address: Host and port.
        monotonic: Returns seconds.
        report: Is told in words what is waited for.
    """

    def __init__(
        self, address: tuple[str, int], monotonic: Callable[[], float], report: Callable[[str], None]
    ) -> None:
        self.failure: ShimError | None = None
        self.has_ended = False
        self._address, self._monotonic, self._report = address, monotonic, report
        self._guest: Wire | None = None
        self._wires: Wires | None = None
        self._far: Wire | None = None
        self._sent = bytearray()  # until the first answer
        self._has_answered = False
        self._since: float | None = None
        self._next = 0.0
        self._said = False

    def attach(self, guest: Wire, wires: Wires) -> None:
        """Answer on this wire from now on."""
        self._guest, self._wires = guest, wires

    def receive(self, data: bytes) -> None:
        """Take what the guest sent."""
        if self.has_ended:
            self._fail(_WENT_AWAY, _UNTIL_EXIT)
            return
        if not self._has_answered:
            self._sent += data
            if len(self._sent) > PIECE:
                self._fail("a guest that says more than it may before an answer", "its request")
                return
        if self._far is not None:
            self._far.send(data)
        elif self._since is None:
            self._since = self._monotonic()
            self.tick()

    def close(self) -> None:
        """Nothing more will come from the guest; whether it said its last word the other side knows."""
        if self._far is not None:
            self._shut()

    def tick(self) -> float:
        """Connect, if that is due."""
        if self.has_ended and self._monotonic() > self._next:
            self._fail(_WENT_AWAY, _UNTIL_EXIT)
        is_due = self._since is not None and self._far is None
        if not is_due or self.has_ended or self.failure is not None:
            return 3600.0
        now = self._monotonic()
        if now < self._next:
            return self._next - now
        if self._connect():
            return 3600.0
        if now - (self._since or now) > CONNECT_SECONDS:
            self._fail("nobody who answers", "a relying party: shim serve --channel HOST:PORT")
        elif not self._said:
            self._said = True
            self._report(f"{self._where} does not answer yet; trying for {CONNECT_SECONDS:.0f} seconds")
        self._next = self._monotonic() + _BETWEEN
        return _BETWEEN

    @property
    def _where(self) -> str:
        host, port = self._address
        return f"{f'[{host}]' if ':' in host else host}:{port}"

    def _connect(self) -> bool:
        try:
            connected = socket.create_connection(self._address, _ONE_TRY)
        except OSError:
            return False
        connected.setblocking(False)  # the library's own signature
        if self._wires is None or self._guest is None:
            raise RuntimeError("not attached")
        self._far = self._wires.add(Wire(connected, self._answer, self._ended, leads_to=self._guest))
        self._guest.leads_to = self._far
        self._far.send(bytes(self._sent))
        return True

    def _answer(self, data: bytes) -> None:
        self._has_answered = True
        self._sent.clear()
        if self._guest is not None:
            self._guest.send(data)

    def _ended(self) -> None:
        if self._far is not None:
            self._far.socket.close()
        self._far = None
        if self._guest is not None:
            self._guest.leads_to = None
        if self._has_answered:
            self.has_ended = True
            self._next = self._monotonic() + OFF_SECONDS
        else:
            self._next = self._monotonic() + _BETWEEN

    def _shut(self) -> None:
        if self._far is not None:
            self._far.socket.shutdown(socket.SHUT_WR)

    def _fail(self, found: str, want: str) -> None:
        self.failure = self.failure or RelayError(self._where, found, want)


class TeePort:
    """Whoever plays the TEE for a guest that was built for that."""

    def __init__(self, tee: SimulatedTee) -> None:
        self.failure: ShimError | None = None
        self._tee = tee
        self._guest: Wire | None = None

    def attach(self, guest: Wire) -> None:
        """Answer on this wire from now on."""
        self._guest = guest

    def receive(self, data: bytes) -> None:
        """Take what the guest asks."""
        try:
            reply = self._tee.receive(data)
        except ChannelError as error:
            self.failure = error
            if self._guest is not None:
                self._guest.close()
            return
        if self._guest is not None:
            self._guest.send(reply)
