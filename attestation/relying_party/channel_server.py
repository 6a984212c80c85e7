"""
A TCP port on which guests are served: those that are connected by TCP, and those whose host relays to it.

The bytes protect themselves (docs/protocol.md), so there is no TLS.  A thread for each guest; who is one too
many, or asks too often, is hung up on, as a host could do as well.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from attestation.channel.conversation import converse
from attestation.channel.messages import Record
from attestation.channel.session import Session
from attestation.errors import AttestationError
from attestation.relying_party.channel import Guests
from attestation.relying_party.metrics import Metrics
from attestation.relying_party.rate import RateLimit
from attestation.relying_party.server import ListenError
from attestation.verdict import Verdict

_BACKLOG = 128
Keep = Callable[[Session, Record], None]


@dataclass(slots=True)
class ChannelServer:
    """
    The port.

    Attributes:
        guests: Who answers.
        limit: How often one address may ask.
        metrics: Where it is counted.
        report: Is told what whoever runs the service should know.
        keep: Gets each record of a guest.
        most: Guests at once.
    """

    guests: Guests
    limit: RateLimit
    metrics: Metrics
    report: Callable[[str], None]
    keep: Keep
    most: int = 256
    _listener: socket.socket | None = None
    _connected: dict[int, socket.socket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: bool = False

    def open(self, host: str, port: int) -> str:
        """
        Listen, begin to serve, and return the URL.

        Raises:
            ListenError: the address cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            found = str(error.strerror).partition(" (")[0]
            want = "an address that can be listened on"
            raise ListenError(f"{host}, port {port}", found, want) from error
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        host, port = self._listener.getsockname()[:2]
        return f"tcp://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Take no more guests, and hang up on those that are there: what they still say is lost."""
        self._closing = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            left = list(self._connected.values())
        if left:
            self.report(f"hanging up on {len(left)} guests")
        for connected in left:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing:
            try:
                connected, address = listener.accept()
            except OSError:
                continue  # no descriptor left, or the end
            with self._lock:
                is_welcome = len(self._connected) < self.most and self.limit.allows(address[0])
                if is_welcome:
                    self._connected[id(connected)] = connected
            if not is_welcome:
                connected.close()
                continue
            threading.Thread(target=self._serve, args=(connected, address[0]), daemon=True).start()

    def _serve(self, connected: socket.socket, peer: str) -> None:
        try:
            with connected:
                self._converse(connected, peer)
        except AttestationError as error:  # of the store: nothing was released that is not written down
            self.report(f"guest {peer}: {error}")
        finally:
            with self._lock:
                self._connected.pop(id(connected), None)

    def _converse(self, connected: socket.socket, peer: str) -> None:
        session = self.guests.conversation(peer)
        is_counted = False

        def deliver(record: Record) -> None:
            nonlocal is_counted
            is_counted = is_counted or self._count(session)
            self.keep(session, record)

        try:
            said = converse(connected, session, self.guests.clock, deliver)
        except (AttestationError, OSError) as error:
            if not is_counted and not self._count(session) and session.nonce:
                verdict = getattr(getattr(error, "result", None), "verdict", Verdict.CANNOT_TELL)
                self.metrics.attestations.labels(verdict.value).inc()
            self.guests.record_failure(session, peer, error)
            self.report(f"guest {peer}: {error}")
        else:
            self.guests.record_exit(session, peer, said)

    def _count(self, session: Session) -> bool:
        """Count a release, once it is known; return whether there was one."""
        if session.result is None:
            return False
        self.metrics.attestations.labels(Verdict.AFFIRMING.value).inc()
        self.metrics.releases.inc()
        return True
