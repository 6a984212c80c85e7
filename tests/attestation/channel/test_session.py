"""The relying party's state machine, with a guest in Python that can be made to lie, and a clock of our own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings, strategies as st

from attestation.channel.errors import (
    ChannelError,
    FrameError,
    MessageError,
    NonceError,
    PlanError,
    RecordError,
    ReleaseError,
    SilenceError,
    TruncatedError,
    TurnError,
)
from attestation.channel.frames import MessageType
from attestation.channel.messages import Exit, Output
from attestation.channel.releases import MemoryReleases
from attestation.channel.session import Session, State
from attestation.errors import AppraisalError, EvidenceFormatError
from attestation.result import AttestationResult
from tests.fakes.channel import (
    NOW,
    OTHER_MEASUREMENT,
    SECRET,
    PythonGuest,
    frame,
    frames,
    guest,
    sealed,
    session,
)

REQUEST = frame(MessageType.REQUEST)


def challenged(**others: object) -> tuple[Session, bytes]:
    subject = session(**others)
    return subject, subject.receive(REQUEST, NOW).reply


def released() -> tuple[Session, PythonGuest, bytes]:
    subject, challenge = challenged()
    someone = guest()
    return subject, someone, subject.receive(someone.answer(challenge), NOW).reply


def refused(subject: Session, data: bytes, error: type[Exception], code: int) -> Exception:
    """The guest is told a number, nothing is released, and what follows is not even read."""
    turn = subject.receive(data, NOW)
    assert isinstance(turn.failure, error), turn.failure
    (reply,) = frames(turn.reply)
    assert (reply.type, int.from_bytes(reply.body)) == (MessageType.REFUSAL, code)
    assert (subject.state, subject.result, subject.deadline) == (State.FAILED, None, None)
    again = subject.receive(data, NOW)
    assert (again.reply, again.records) == (b"", ())
    assert isinstance(again.failure, TurnError)
    return turn.failure


def test_a_guest_in_python_gets_the_secret() -> None:
    subject, someone, reply = released()
    secret, records = someone.open(reply)
    assert secret == SECRET
    assert (subject.state, subject.deadline) == (State.RELEASED, None)
    turn = subject.receive(
        sealed(records, MessageType.OUTPUT, b"\1hi") + sealed(records, MessageType.EXIT, b"\0"), NOW
    )
    assert (turn.records, turn.failure) == ((Output(1, b"hi"), Exit(0, "")), None)
    assert (subject.state, subject.close().failure) == (State.ENDED, None)


def test_each_challenge_is_another() -> None:
    assert len({challenged()[1] for _ in range(20)}) == 20


def test_the_secret_is_sealed() -> None:
    _, _, reply = released()
    assert SECRET not in reply


def test_another_guest_cannot_open_a_release() -> None:
    _, someone, reply = released()
    someone.private_key = X25519PrivateKey.generate()
    with pytest.raises(ReleaseError, match=r"release\.ciphertext"):
        someone.open(reply)


def test_a_release_is_for_one_nonce() -> None:
    _, someone, reply = released()
    someone.nonce = b"x" * 32
    with pytest.raises(ReleaseError, match=r"release\.signature"):
        someone.open(reply)


LIES = {
    "another measurement": (lambda e: e, AppraisalError, 17),
    "another plan": (lambda e: replace(e, plan_digest=bytes(32)), PlanError, 15),
    "another key": (lambda e: replace(e, public_key=b"k" * 32), AppraisalError, 15),
    "no report": (lambda e: replace(e, evidence=b"x"), AppraisalError, 10),
    "a changed report": (lambda e: replace(e, evidence=b"\2" + e.evidence[1:]), AppraisalError, 11),
    "a report that nobody signed": (
        lambda e: replace(e, evidence=e.evidence[:0x2A0] + bytes(512)),
        AppraisalError,
        11,
    ),
    "a log that explains nothing": (lambda e: replace(e, event_log=b"log"), AppraisalError, 10),
    "endorsements that are none": (lambda e: replace(e, endorsements=b"x"), EvidenceFormatError, 10),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_guest_that_lies_gets_nothing(lie: str) -> None:
    change, error, code = LIES[lie]
    others = {"policy": OTHER_MEASUREMENT} if lie == "another measurement" else {}
    subject, challenge = challenged(**others)
    refused(subject, guest(change).answer(challenge), error, code)  # type: ignore[arg-type]


def test_evidence_for_another_challenge_gets_nothing() -> None:
    _, other = challenged()
    subject, _ = challenged()
    refused(subject, guest().answer(other), AppraisalError, 15)


def test_a_key_of_low_order_gets_nothing() -> None:
    """A guest may bind whatever it likes; such a key would tell everybody the secret."""

    class Careless(PythonGuest):
        public_key = bytes(32)  # type: ignore[assignment]

    subject, challenge = challenged()
    refused(subject, Careless(X25519PrivateKey.generate()).answer(challenge), ReleaseError, 11)


def test_evidence_whose_sizes_lie_gets_nothing() -> None:
    subject, challenge = challenged()
    data = bytearray(guest().answer(challenge))
    data[12 + 67] ^= 1
    refused(subject, bytes(data), MessageError, 10)


def test_a_nonce_is_answered_once() -> None:
    """Also if two challenges are the same: then randomness is broken, and somebody restored a machine."""
    releases = MemoryReleases(SECRET)
    first, second = session(releases=releases), session(releases=releases)
    for subject in (first, second):
        subject._randomness = lambda size: b"7" * size
    someone = guest()
    answer = someone.answer(first.receive(REQUEST, NOW).reply)
    assert second.receive(REQUEST, NOW).failure is None
    assert someone.open(first.receive(answer, NOW).reply)[0] == SECRET
    refused(second, answer, NonceError, 15)


def test_the_nonce_is_not_spent_by_evidence_that_is_refused() -> None:
    """Otherwise anybody could spend it; a session asks for no second answer anyway."""
    releases = MemoryReleases(SECRET)
    subject, challenge = challenged(releases=releases, policy=OTHER_MEASUREMENT)
    refused(subject, guest().answer(challenge), AppraisalError, 17)
    assert releases._spent == set()


def test_evidence_twice_is_released_once() -> None:
    subject, challenge = challenged()
    answer = guest().answer(challenge)
    turn = subject.receive(answer + answer, NOW)
    assert [reply.type for reply in frames(turn.reply)] == [MessageType.RELEASE]
    assert isinstance(turn.failure, TurnError)


def test_a_store_that_fails_releases_nothing() -> None:
    class Broken:
        def release(self, _nonce: bytes, _result: AttestationResult) -> bytes:
            raise OSError("the disk is full")

    subject, challenge = challenged(releases=Broken())
    with pytest.raises(OSError, match="disk"):
        subject.receive(guest().answer(challenge), NOW)
    assert subject.state is State.FAILED
    assert isinstance(subject.receive(guest().answer(challenge), NOW).failure, TurnError)


OUT_OF_TURN = [
    *((State.WAITING, kind) for kind in MessageType if kind is not MessageType.REQUEST),
    *((State.CHALLENGED, kind) for kind in MessageType if kind is not MessageType.EVIDENCE),
    *(
        (State.RELEASED, kind)
        for kind in MessageType
        if kind not in {MessageType.OUTPUT, MessageType.EVENT, MessageType.EXIT}
    ),
]
LEAST = {
    MessageType.REQUEST: 0,
    MessageType.EVIDENCE: 77,
    MessageType.RELEASE: 112,
    MessageType.REFUSAL: 2,
    MessageType.SIMULATED: 5,
    MessageType.REPORT_DATA: 64,
}


@pytest.mark.parametrize(("state", "kind"), OUT_OF_TURN, ids=lambda value: value.name)
def test_a_message_out_of_turn_ends_it(state: State, kind: MessageType) -> None:
    subject = session()
    if state is not State.WAITING:
        subject = challenged()[0] if state is State.CHALLENGED else released()[0]
    turn = subject.receive(frame(kind, bytes(LEAST.get(kind, 32))), NOW)
    assert isinstance(turn.failure, TurnError)
    assert (turn.records, subject.state) == ((), State.FAILED)
    told = [reply.type for reply in frames(turn.reply)]
    assert told == ([MessageType.REFUSAL] if state is State.CHALLENGED else [])


def test_bytes_of_another_protocol_end_it() -> None:
    assert isinstance(session().receive(b"GET / HTTP/1.1\r\n", NOW).failure, FrameError)
    refused(challenged()[0], b"GET / HTTP/1.1\r\n", FrameError, 10)


@given(st.lists(st.binary(max_size=300), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_bytes_end_in_a_channel_error_or_wait(pieces: list[bytes]) -> None:
    subject = challenged()[0]
    for piece in pieces:
        turn = subject.receive(piece, NOW)
        assert turn.failure is None or isinstance(turn.failure, ChannelError)
        assert turn.records == ()


@given(st.integers(0, 5000), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_no_changed_byte_of_evidence_is_released_to(at: int, flip: int) -> None:
    """What is only beside the evidence may change what is judged by, never for whom: the release shows it."""
    subject, challenge = challenged()
    someone = guest()
    data = bytearray(someone.answer(challenge))
    data[at % len(data)] ^= flip
    turn = subject.receive(bytes(data), NOW)
    if turn.failure is None and turn.reply:
        with pytest.raises(ReleaseError):
            someone.open(turn.reply)


# Time.


@pytest.mark.parametrize(("seconds", "is_late"), [(599.9, False), (600, True)])
def test_a_guest_may_take_ten_minutes_to_boot(seconds: float, is_late: bool) -> None:  # noqa: FBT001
    turn = session().receive(REQUEST, NOW + timedelta(seconds=seconds))
    assert isinstance(turn.failure, SilenceError) is is_late
    assert bool(turn.reply) is not is_late


@pytest.mark.parametrize(("seconds", "is_late"), [(119.9, False), (120, True)])
def test_a_challenge_is_good_for_two_minutes(seconds: float, is_late: bool) -> None:  # noqa: FBT001
    subject, challenge = challenged()
    turn = subject.receive(guest().answer(challenge), NOW + timedelta(seconds=seconds))
    (reply,) = frames(turn.reply)
    assert reply.type is (MessageType.REFUSAL if is_late else MessageType.RELEASE)
    assert isinstance(turn.failure, SilenceError) is is_late


def test_drops_of_evidence_do_not_buy_time() -> None:
    subject, challenge = challenged()
    data = guest().answer(challenge)
    for second in range(119):
        assert subject.receive(data[second : second + 1], NOW + timedelta(seconds=second)).failure is None
    assert isinstance(subject.receive(data[119:], NOW + timedelta(seconds=120)).failure, SilenceError)


def test_a_program_may_be_silent_for_days_but_not_within_a_record() -> None:
    subject, someone, reply = released()
    _, records = someone.open(reply)
    day = NOW + timedelta(days=1)
    record = sealed(records, MessageType.OUTPUT, b"\1hi")
    assert subject.receive(record, day).records == (Output(1, b"hi"),)
    assert subject.receive(record[:1], day).failure is None
    assert subject.deadline == day + timedelta(seconds=30)
    assert isinstance(subject.expire(day + timedelta(seconds=30)).failure, SilenceError)


def test_a_stream_of_records_that_never_pauses_is_not_silence() -> None:
    subject, someone, reply = released()
    _, records = someone.open(reply)
    now, rest = NOW, b""
    for _ in range(10):
        data = rest + sealed(records, MessageType.OUTPUT, b"\1hi")
        rest = data[-5:]
        assert subject.receive(data[:-5], now).failure is None
        now += timedelta(seconds=20)


# The end.


def test_the_end_of_the_channel_is_no_exit() -> None:
    for subject in (session(), challenged()[0], released()[0]):
        assert isinstance(subject.close().failure, TruncatedError)
        assert subject.state is State.FAILED


def test_there_is_no_silence_behind_the_exit() -> None:
    subject, someone, reply = released()
    _, records = someone.open(reply)
    data = sealed(records, MessageType.EXIT, b"\0")
    assert subject.receive(data[:5], NOW).records == ()
    assert subject.receive(data[5:], NOW).records == (Exit(0, ""),)
    assert subject.expire(NOW + timedelta(days=1)).failure is None


def test_nothing_comes_behind_the_exit() -> None:
    subject, someone, reply = released()
    _, records = someone.open(reply)
    data = sealed(records, MessageType.EXIT, b"\0") + sealed(records, MessageType.OUTPUT, b"\1more")
    turn = subject.receive(data, NOW)
    assert turn.records == (Exit(0, ""),)
    assert isinstance(turn.failure, TurnError)


def test_records_of_another_session_do_not_open() -> None:
    subject, _, _ = released()
    _, other, reply = released()
    _, records = other.open(reply)
    assert isinstance(subject.receive(sealed(records, MessageType.EXIT, b"\0"), NOW).failure, RecordError)


def test_a_record_that_opens_and_says_nothing_ends_it() -> None:
    subject, someone, reply = released()
    _, records = someone.open(reply)
    turn = subject.receive(sealed(records, MessageType.OUTPUT, b"\5x"), NOW)
    assert isinstance(turn.failure, MessageError)


def test_what_a_guest_says_of_itself_is_shown_safely() -> None:
    subject, challenge = challenged()
    error = refused(
        subject,
        guest(lambda e: replace(e, plan_digest=b"\x1b[2J".ljust(32))).answer(challenge),
        PlanError,
        15,
    )
    assert "\x1b" not in str(error)
