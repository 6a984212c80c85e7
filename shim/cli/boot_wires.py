"""
Bytes on their way between sockets, as opaque as they came, in bounded memory.

Each wire is one socket with what is still to be sent to it.  What arrives is handed to its owner in pieces of
at most 64 KiB, and nothing is read from a wire while the one that it leads to has a piece waiting: whoever
does not read stops whoever writes, and fills no memory here.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

PIECE = 1 << 16
# A reply of the relying party is one frame of at most this; see attestation.channel.frames.SIZES.
MOST_WAITING = 1 << 18


@dataclass(slots=True, eq=False)
class Wire:
    """
    One connected socket.

    Attributes:
        socket: Which does not block.
        on_data: Gets what arrives.
        on_end: Called once, when nothing will arrive any more.
        leads_to: The wire that must take what arrives here, or None for this process itself.
    """

    socket: socket.socket
    on_data: Callable[[bytes], None]
    on_end: Callable[[], None] = lambda: None
    leads_to: Wire | None = None
    is_open: bool = True
    _waiting: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> None:
        """
        Send when the other side takes it.

        Raises:
            BufferError: the other side takes nothing, and too much is waiting.
        """
        if not self.is_open:
            return
        if len(self._waiting) + len(data) > MOST_WAITING:
            raise BufferError(f"{len(self._waiting)} bytes are waiting to be taken")
        self._waiting += data
        self.flush()

    @property
    def has_waiting(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._waiting)

    @property
    def may_read(self) -> bool:
        """Whether what arrives has somewhere to go."""
        return self.is_open and not (self.leads_to is not None and self.leads_to.has_waiting)

    def flush(self) -> None:
        """Send what the other side takes now."""
        try:
            while self._waiting:
                del self._waiting[: self.socket.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting.clear()  # the end of the other direction says it

    def read(self) -> None:
        """Hand on one piece, or the end."""
        try:
            data = self.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.on_data(data)
        else:
            self.close()

    def close(self) -> None:
        """Nothing more from here, and nothing more to there."""
        if self.is_open:
            self.is_open = False
            self._waiting.clear()
            self.on_end()


class Wires:
    """All wires of one machine, and descriptors that only have to be watched."""

    def __init__(self) -> None:
        self._wires: list[Wire] = []
        self._watched: dict[int, Callable[[], None]] = {}

    def add(self, wire: Wire) -> Wire:
        """Carry this one too."""
        self._wires.append(wire)
        return wire

    def watch(self, descriptor: int, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` when a descriptor can be read, until it is dropped."""
        self._watched[descriptor] = on_ready

    def drop(self, descriptor: int) -> None:
        """Watch it no more."""
        self._watched.pop(descriptor, None)

    def close(self) -> None:
        """Close all sockets."""
        for wire in self._wires:
            wire.is_open = False
            wire.socket.close()

    @property
    def are_all_closed(self) -> bool:
        """Whether nothing will arrive any more."""
        return not any(wire.is_open for wire in self._wires)

    def step(self, seconds: float) -> bool:
        """Carry what can be carried now, waiting for it so long; return whether anything was."""
        with selectors.DefaultSelector() as selector:
            for wire in self._wires:
                events = (selectors.EVENT_READ if wire.may_read else 0) | (
                    selectors.EVENT_WRITE if wire.is_open and wire.has_waiting else 0
                )
                if events:
                    selector.register(wire.socket, events, wire)
            for descriptor in self._watched:
                selector.register(descriptor, selectors.EVENT_READ, descriptor)
            ready = selector.select(max(seconds, 0.0))
        for key, events in ready:
            if isinstance(key.data, int):
                if (on_ready := self._watched.get(key.data)) is not None:
                    on_ready()
                continue
            if events & selectors.EVENT_WRITE:
                key.data.flush()
            if events & selectors.EVENT_READ and key.data.may_read:
                key.data.read()
        return bool(ready)
