"""The guest in C, a relying party in Python, and between them a host that may do to frames what a test says."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attestation.channel.frames import Frame, FrameReader, encode
from attestation.channel.messages import Record
from attestation.channel.session import Session, Turn
from attestation.channel.simulated_tee import SimulatedTee
from attestation.errors import AttestationError
from tests.fakes import channel
from tests.fakes.channel import NOW, PLAN, SIGNING_KEY

Host = Callable[[Frame], Iterable[bytes]]
_LONGEST = 10.0


def passes_on(frame: Frame) -> Iterable[bytes]:
    yield encode(frame)


def says(stream: int, data: bytes) -> bytes:
    return bytes([stream]) + len(data).to_bytes(4) + data


def reports(text: bytes) -> bytes:
    return says(3, text)


def ends(status: int, reason: bytes = b"") -> bytes:
    return says(4, bytes([status]) + reason)


@dataclass(frozen=True)
class Outcome:
    """What is left of one run: on the guest's side, and on the relying party's."""

    exit_code: int
    secret: bytes
    error: str
    records: tuple[Record, ...]
    failure: AttestationError | None
    session: Session
    relayed: bytes


@dataclass
class Run:
    """One guest and one session; `up` and `down` are the host."""

    simulator: Path
    session: Session
    up: Host = passes_on
    down: Host = passes_on
    tee: Host = passes_on
    plan: bytes = PLAN
    relying_party: bytes = SIGNING_KEY.public_key().public_bytes_raw()
    seconds: int = 5
    mode: str = "sealed"
    fault: tuple[int, int] | None = None

    def __call__(self, *commands: bytes) -> Outcome:
        ours, theirs = socket.socketpair()
        asked, asks = os.pipe()
        tee_ours, tee_theirs = socket.socketpair()
        arguments = [
            str(theirs.fileno()),
            str(tee_theirs.fileno()),
            self.plan.hex(),
            self.relying_party.hex(),
        ]
        guest = subprocess.Popen(
            [str(self.simulator), *arguments, str(self.seconds), self.mode, *map(str, self.fault or ())],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno(), tee_theirs.fileno()],
        )
        theirs.close()
        tee_theirs.close()
        os.close(asked)
        try:
            with ours, tee_ours, os.fdopen(asks, "wb", buffering=0) as told:
                self._relay(ours, tee_ours, told, b"".join(commands))
            secret, error = guest.communicate(timeout=_LONGEST)
        finally:
            guest.kill()
            guest.wait()
        return Outcome(
            guest.returncode,
            secret,
            error.decode(),
            tuple(self._records),
            self._failure,
            self.session,
            self._seen,
        )

    def _relay(self, ours: socket.socket, tee: socket.socket, told: IO[bytes], commands: bytes) -> None:
        self._records: list[Record] = []
        self._failure: AttestationError | None = None
        self._seen = b""
        self._from_guest, self._from_tee, self._to_guest = FrameReader(), SimulatedTee(), FrameReader()
        os.set_blocking(told.fileno(), False)
        waiting: set[socket.socket] = {ours, tee}
        while ours in waiting:
            ready, writable, _ = select.select(waiting, [] if told.closed else [told], [], _LONGEST)
            assert ready or writable, "nothing happens"
            if writable:
                with contextlib.suppress(BrokenPipeError):
                    commands = commands[os.write(told.fileno(), commands[:65536]) :]
                if not commands:
                    told.close()
            for side in ready:
                with contextlib.suppress(ConnectionResetError):
                    if data := side.recv(65536):
                        self._handle(side, data, is_tee=side is tee)
                        continue
                waiting.remove(side)
        self._take(self.session.close())

    def _handle(self, side: socket.socket, data: bytes, *, is_tee: bool) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if is_tee:
                for frame in channel.frames(self._from_tee.receive(data)):
                    for piece in self.tee(frame):
                        side.sendall(piece)
                return
            for frame in self._from_guest.feed(data):
                for piece in self.up(frame):
                    self._seen += piece
                    self._take(self.session.receive(piece, NOW), side)

    def _take(self, turn: Turn, side: socket.socket | None = None) -> None:
        self._records.extend(turn.records)
        self._failure = self._failure or turn.failure
        for frame in self._to_guest.feed(turn.reply) if side else ():
            for piece in self.down(frame):
                self._seen += piece
                side.sendall(piece)  # type: ignore[union-attr]
