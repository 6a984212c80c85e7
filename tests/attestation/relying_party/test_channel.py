"""Guests of the channel over the store: one release for a nonce, written down before it leaves."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from attestation.channel.errors import NonceError, PlanError, TruncatedError
from attestation.channel.frames import Frame, FrameReader, MessageType, encode
from attestation.channel.messages import Exit, Output, Record
from attestation.channel.session import Session
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError
from attestation.relying_party import audit
from attestation.relying_party.channel import Guests, LedgerReleases, Offer
from attestation.relying_party.channel_server import ChannelServer
from attestation.relying_party.database import Database
from attestation.relying_party.errors import UnavailableError, UnknownResourceError
from attestation.relying_party.metrics import Metrics
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.rate import RateLimit
from attestation.relying_party.requirement import identity
from attestation.relying_party.server import ListenError
from attestation.relying_party.sqlite import Sqlite
from tests.fakes import relying_party as fakes
from tests.fakes.channel import PLAN, SIGNING_KEY, PythonGuest, guest as python_guest, sealed
from tests.fakes.relying_party import NOW, SECRET

REQUEST = encode(Frame(MessageType.REQUEST, b""))
OFFER = Offer("disk", frozenset({PLAN}), SIGNING_KEY, Endorsements())


def guests(party: RelyingParty, **others: Any) -> Guests:  # noqa: ANN401
    return Guests(party, replace(OFFER, **others), lambda: NOW)


def events(database: Database) -> list[dict[str, Any]]:
    return [json.loads(entry) for _, _, entry, _ in audit.entries(database, "one")]


def names(database: Database) -> list[str]:
    return [event["event"] for event in events(database)]


def told(conversation: Session) -> tuple[PythonGuest, bytes, Any]:
    """Let a good guest go as far as its evidence; return it, the reply and the failure."""
    someone = python_guest()
    challenge = conversation.receive(REQUEST, NOW).reply
    turn = conversation.receive(someone.answer(challenge), NOW)
    return someone, turn.reply, turn.failure


def test_a_guest_gets_the_resource_and_all_is_written_down(party: RelyingParty, database: Database) -> None:
    made = guests(party)
    conversation = made.conversation("peer")
    someone, reply, failure = told(conversation)
    assert failure is None
    assert someone.open(reply)[0] == SECRET
    made.record_exit(conversation, "peer", Exit(7, "done"))
    _, attested, ended = events(database)
    assert (attested["event"], attested["verdict"], attested["tee"]) == (
        "attested",
        "affirming",
        ["SIMULATED"],
    )
    assert (attested["released"], attested["version"], attested["peer"]) == ("disk", 1, "peer")
    assert attested["nonce"] == ended["nonce"] == conversation.nonce.hex()
    assert (ended["event"], ended["status"], ended["reason"]) == ("ended", 7, "done")
    audit.verify(database, fakes.KEYS, ())


def test_one_nonce_is_answered_once_across_conversations(party: RelyingParty, database: Database) -> None:
    fixed = replace(party, random=bytes)
    first, second = (guests(fixed).conversation("peer") for _ in range(2))
    assert told(first)[2] is None
    _, reply, failure = told(second)
    assert isinstance(failure, NonceError)
    assert reply[5] == MessageType.REFUSAL
    assert names(database) == ["put", "attested", "replayed"]


def test_of_many_at_once_one_gets_it(party: RelyingParty, database: Database) -> None:
    affirmed = _affirmed(party)
    releases = LedgerReleases(party, "disk", identity(party.policies["sim"]), "peer", lambda: NOW)
    outcomes: list[object] = []

    def take() -> None:
        try:
            outcomes.append(releases.release(b"n" * 32, affirmed))
        except NonceError:
            outcomes.append(None)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == sorted([SECRET, *[None] * 7], key=str)
    assert names(database).count("attested") == 2  # with that of the guest whose result is used


def _affirmed(party: RelyingParty) -> Any:  # noqa: ANN401
    conversation = guests(party).conversation("peer")
    assert told(conversation)[2] is None
    assert conversation.result is not None
    return conversation.result


def test_what_is_refused_is_written_down_and_its_nonce_is_spent(
    party: RelyingParty, database: Database
) -> None:
    made = guests(party)
    conversation = made.conversation("peer")
    someone = python_guest(lambda evidence: replace(evidence, public_key=bytes(31) + b"\x09"))
    challenge = conversation.receive(REQUEST, NOW).reply
    turn = conversation.receive(someone.answer(challenge), NOW)
    assert isinstance(turn.failure, AppraisalError)
    made.record_failure(conversation, "peer", turn.failure)
    refused = events(database)[-1]
    assert (refused["event"], refused["verdict"]) == ("refused", turn.failure.result.verdict.value)
    assert refused["policies"][0]["reasons"]
    releases = LedgerReleases(party, "disk", identity(party.policies["sim"]), "peer", lambda: NOW)
    with pytest.raises(NonceError):
        releases.release(conversation.nonce, _affirmed(party))


def test_another_plan_is_refused_without_an_appraisal(party: RelyingParty, database: Database) -> None:
    made = guests(party, plan_digests=frozenset({bytes(32)}))
    conversation = made.conversation("peer")
    _, reply, failure = told(conversation)
    assert isinstance(failure, PlanError)
    assert reply[5] == MessageType.REFUSAL
    made.record_failure(conversation, "peer", failure)
    assert "plan_digest" in events(database)[-1]["reason"]


def test_a_policy_that_changes_in_between_releases_nothing(party: RelyingParty, database: Database) -> None:
    conversation = guests(party).conversation("peer")
    fakes.put(party, "disk", b"newer", "other")
    _, _, failure = told(conversation)
    assert isinstance(failure, PlanError)
    assert "another policy than before" in str(failure)
    assert "attested" not in names(database)


def test_a_store_that_cannot_be_written_releases_nothing(party: RelyingParty, database: Sqlite) -> None:
    conversation = guests(party).conversation("peer")
    challenge = conversation.receive(REQUEST, NOW).reply
    someone = python_guest()
    answer = someone.answer(challenge)
    database.close()
    turn = conversation.receive(answer, NOW)
    assert isinstance(turn.failure, UnavailableError)
    assert turn.reply[5] == MessageType.REFUSAL


def test_a_resource_that_is_not_there_is_said_at_once(party: RelyingParty) -> None:
    with pytest.raises(UnknownResourceError):
        guests(party, resource="none").conversation("peer")


def test_a_conversation_that_never_began_leaves_nothing(party: RelyingParty, database: Database) -> None:
    made = guests(party)
    made.record_failure(made.conversation("peer"), "peer", TruncatedError("channel", "its end", "more"))
    assert names(database) == ["put"]


# --- over TCP


class Served:
    """A port with everything that was said there."""

    def __init__(self, party: RelyingParty, *, rate: float = 0, most: int = 8) -> None:
        self.said: list[str] = []
        self.kept: list[tuple[bytes, Record]] = []
        self.metrics = Metrics()
        limit = RateLimit(rate, 1, lambda: 0.0)
        self.server = ChannelServer(guests(party), limit, self.metrics, self.said.append, self._keep, most)
        url = self.server.open("127.0.0.1", 0)
        self.address = ("127.0.0.1", int(url.rpartition(":")[2]))

    def _keep(self, session: Session, record: Record) -> None:
        self.kept.append((session.nonce, record))

    def connect(self) -> socket.socket:
        connected = socket.create_connection(self.address, 10)
        connected.settimeout(10)
        return connected


@pytest.fixture
def served(party: RelyingParty) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def serve(**others: Any) -> Served:  # noqa: ANN401
        made.append(Served(party, **others))
        return made[-1]

    yield serve
    for one in made:
        one.server.close()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(5)


def frame(connected: socket.socket) -> bytes:
    reader, data = FrameReader(), b""
    while True:
        piece = connected.recv(65536)
        if not piece:
            return b""
        data += piece
        if list(reader.feed(piece)):
            return data


def wait(until: Callable[[], bool]) -> None:
    for _ in range(200):
        if until():
            return
        threading.Event().wait(0.05)
    pytest.fail("it does not happen")


def test_a_guest_is_served_on_a_port(served: Callable[..., Served], database: Database) -> None:
    there = served()
    someone = python_guest()
    with there.connect() as connected:
        connected.sendall(REQUEST)
        connected.sendall(someone.answer(frame(connected)))
        secret, records = someone.open(frame(connected))
        assert secret == SECRET
        connected.sendall(sealed(records, MessageType.OUTPUT, b"\1hello"))
        connected.sendall(sealed(records, MessageType.EXIT, b"\7bye"))
        assert connected.recv(1) == b""
    wait(lambda: names(database)[-1] == "ended")
    assert [record for _, record in there.kept] == [Output(1, b"hello"), Exit(7, "bye")]
    assert b'shim_attestations_total{verdict="affirming"} 1.0' in there.metrics.text()
    assert b"shim_releases_total 1.0" in there.metrics.text()
    assert there.said == []


def test_a_guest_that_is_cut_off_is_written_down(served: Callable[..., Served], database: Database) -> None:
    there = served()
    someone = python_guest()
    with there.connect() as connected:
        connected.sendall(REQUEST)
        connected.sendall(someone.answer(frame(connected)))
        frame(connected)
    wait(lambda: names(database)[-1] == "cut")
    assert "want the guest's exit" in events(database)[-1]["reason"]
    assert b"shim_releases_total 1.0" in there.metrics.text()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"SHIM\1\3" + bytes(6), b"\xff" * 5000])
def test_strangers_get_nothing(served: Callable[..., Served], database: Database, data: bytes) -> None:
    there = served()
    with there.connect() as connected:
        connected.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            assert connected.recv(100) == b""
    wait(lambda: bool(there.said))
    assert names(database) == ["put"]


def test_one_too_many_is_hung_up_on(served: Callable[..., Served]) -> None:
    there = served(most=1)
    with there.connect() as first, there.connect() as second:
        first.sendall(REQUEST)
        assert frame(first)[5] == MessageType.CHALLENGE
        with contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
    assert there.server.most == 1


def test_who_asks_too_often_is_hung_up_on(served: Callable[..., Served]) -> None:
    there = served(rate=1)
    with there.connect() as first, there.connect() as second:
        first.sendall(REQUEST)
        assert frame(first)
        with contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""


def test_at_the_end_guests_are_hung_up_on(served: Callable[..., Served]) -> None:
    there = served()
    with there.connect() as connected:
        connected.sendall(REQUEST)
        assert frame(connected)
        there.server.close()
        with contextlib.suppress(ConnectionResetError):
            assert connected.recv(1) == b""
    assert there.said[0] == "hanging up on 1 guests"


def test_an_address_that_is_taken_is_said(served: Callable[..., Served], party: RelyingParty) -> None:
    there = served()
    other = ChannelServer(guests(party), RateLimit(0, 1, lambda: 0.0), Metrics(), print, lambda *_: None)
    with pytest.raises(ListenError):
        other.open(*there.address)
