"""One session over real sockets, until its end: the guest is a thread, and so is the one who plays the TEE."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from attestation.channel.conversation import converse
from attestation.channel.errors import FrameError, SilenceError, TruncatedError, TurnError
from attestation.channel.frames import MessageType
from attestation.channel.messages import Exit, Output, Record
from attestation.channel.session import Patience, Session
from attestation.channel.simulated_tee import SimulatedTee
from attestation.endorsements import parse
from attestation.errors import AppraisalError
from attestation.simulated.chain import PEM
from tests.fakes.channel import OTHER_MEASUREMENT, frame, frames, guest, sealed, terms

SHORT = Patience(*(timedelta(seconds=0.2),) * 3)


def clock() -> datetime:
    return datetime.now(UTC)


def talk(
    acts: Callable[[socket.socket], None], records: list[Record] | None = None, **others: object
) -> Exit:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=acts, args=(theirs,))
        thread.start()
        try:
            session = Session(terms(**others), clock(), os.urandom)
            return converse(ours, session, clock, [].append if records is None else records.append)
        finally:
            ours.close()
            thread.join(10)


def answers(channel: socket.socket) -> tuple[bytes, object]:
    someone = guest()
    channel.sendall(frame(MessageType.REQUEST))
    channel.sendall(someone.answer(channel.recv(100)))
    reply = channel.recv(1000)
    return reply, someone


def behaves(channel: socket.socket) -> None:
    reply, someone = answers(channel)
    _, records = someone.open(reply)  # type: ignore[attr-defined]
    channel.sendall(sealed(records, MessageType.OUTPUT, b"\1hi"))
    channel.sendall(sealed(records, MessageType.EXIT, b"\3done"))


def test_a_guest_that_behaves() -> None:
    records: list[Record] = []
    assert talk(behaves, records) == Exit(3, "done")
    assert records == [Output(1, b"hi"), Exit(3, "done")]


def test_a_guest_that_is_refused_is_told_so() -> None:
    replies: list[bytes] = []
    with pytest.raises(AppraisalError):
        talk(lambda channel: replies.append(answers(channel)[0]), policy=OTHER_MEASUREMENT)
    (reply,) = frames(replies[0])
    assert (reply.type, reply.body) == (MessageType.REFUSAL, b"\0\x11")


def test_a_guest_that_is_refused_and_gone_is_still_refused() -> None:
    def leaves(channel: socket.socket) -> None:
        someone = guest()
        channel.sendall(frame(MessageType.REQUEST))
        channel.sendall(someone.answer(channel.recv(100)))
        channel.close()

    with pytest.raises(AppraisalError):
        talk(leaves, policy=OTHER_MEASUREMENT)


@pytest.mark.parametrize("data", [b"", frame(MessageType.REQUEST), frame(MessageType.REQUEST)[:5]])
def test_a_guest_that_is_silent(data: bytes) -> None:
    with pytest.raises(SilenceError):
        talk(lambda channel: channel.sendall(data), patience=SHORT)


@pytest.mark.parametrize("data", [b"", frame(MessageType.REQUEST), frame(MessageType.REQUEST)[:5]])
def test_a_guest_that_hangs_up(data: bytes) -> None:
    def hangs_up(channel: socket.socket) -> None:
        channel.sendall(data)
        channel.shutdown(socket.SHUT_WR)

    with pytest.raises(TruncatedError):
        talk(hangs_up)


def test_a_guest_that_hangs_up_after_the_release() -> None:
    def hangs_up(channel: socket.socket) -> None:
        answers(channel)
        channel.close()

    with pytest.raises(TruncatedError, match="the guest has the secret"):
        talk(hangs_up)


def test_a_host_that_floods_is_refused_at_once() -> None:
    def floods(channel: socket.socket) -> None:
        try:
            while True:
                channel.sendall(bytes(65536))
        except OSError:
            return

    with pytest.raises(FrameError):
        talk(floods)


def test_who_plays_the_tee() -> None:
    asked = frame(MessageType.REPORT_DATA, b"r" * 64)
    tee = SimulatedTee()
    assert tee.receive(asked[:40]) == b""
    (reply,) = frames(tee.receive(asked[40:]))
    size = int.from_bytes(reply.body[:4])
    assert reply.body[4 + 0x50 : 4 + 0x90] == b"r" * 64
    assert parse(reply.body[4 + size :]) == parse(PEM)


@pytest.mark.parametrize("kind", [MessageType.REQUEST, MessageType.REFUSAL])
def test_who_plays_the_tee_answers_nothing_else(kind: MessageType) -> None:
    with pytest.raises(TurnError, match="simulated TEE"):
        SimulatedTee().receive(frame(kind, b"\0\0" if kind is MessageType.REFUSAL else b""))
