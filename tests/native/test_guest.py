"""The whole handshake: the guest in C, the relying party in Python, a host between them that may do anything."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings, strategies as st

from attestation.channel import messages, release
from attestation.channel.errors import (
    NonceError,
    PlanError,
    RecordError,
    TruncatedError,
    TurnError,
)
from attestation.channel.frames import Frame, MessageType, encode
from attestation.channel.messages import Event, Exit, Output
from attestation.channel.releases import MemoryReleases
from attestation.errors import AppraisalError
from attestation.verdict import Verdict
from tests.fakes.channel import (
    NOW,
    OTHER_MEASUREMENT,
    SECRET,
    SIGNING_KEY,
    frame,
    guest as python_guest,
    session,
)
from tests.native.simulating import Host, Run, ends, passes_on, reports, says

EVENT = b'{"event":"violation"}'
STORY = (says(1, b"hello\n"), says(2, b"warning\n"), reports(EVENT), ends(7, b"main: done"))
TOLD = (Output(1, b"hello\n"), Output(2, b"warning\n"), Event(EVENT.decode()), Exit(7, "main: done"))


@pytest.fixture(scope="module")
def simulator(guest_build: Callable[[str], Path]) -> Path:
    return guest_build("guest") / "guest-simulator"


def only(kind: MessageType, change: Callable[[Frame], Iterable[bytes]]) -> Host:
    """A host that does something to messages of one type."""

    def host(seen: Frame) -> Iterable[bytes]:
        return change(seen) if seen.type is kind else passes_on(seen)

    return host


def flipped(kind: MessageType, at: int) -> Host:
    def change(seen: Frame) -> Iterable[bytes]:
        body = bytearray(seen.body)
        body[at] ^= 1
        yield encode(Frame(kind, bytes(body)))

    return only(kind, change)


def test_a_good_guest_gets_the_secret_and_tells_its_story(simulator: Path) -> None:
    done = Run(simulator, session())(*STORY)
    assert (done.exit_code, done.secret, done.error, done.failure) == (0, SECRET, "", None)
    assert done.records == TOLD
    assert done.session.result is not None
    assert done.session.result.verdict is Verdict.AFFIRMING


def test_the_host_sees_neither_secret_nor_output(simulator: Path) -> None:
    done = Run(simulator, session())(*STORY)
    for text in (SECRET, b"hello", b"warning", b"violation", b"main: done"):
        assert text not in done.relayed


def test_plain_output_is_what_the_plan_says(simulator: Path) -> None:
    done = Run(simulator, session(plain_output=True), mode="plain")(*STORY)
    assert (done.exit_code, done.secret, done.records) == (0, SECRET, TOLD)
    assert b"hello" in done.relayed
    assert SECRET not in done.relayed


@pytest.mark.parametrize(("plain", "mode"), [(False, "plain"), (True, "sealed")])
def test_the_other_kind_of_output_is_refused(simulator: Path, plain: bool, mode: str) -> None:  # noqa: FBT001
    done = Run(simulator, session(plain_output=plain), mode=mode)(*STORY)
    assert isinstance(done.failure, TurnError)
    assert done.records == ()


@pytest.mark.parametrize("secret", [b"", b"\0" * 65536], ids=len)
def test_the_least_and_the_largest_secret(simulator: Path, secret: bytes) -> None:
    assert Run(simulator, session(releases=MemoryReleases(secret)))(ends(0)).secret == secret


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.one_of(st.binary(min_size=1, max_size=50), st.integers(16383, 40000).map(bytes)),
        ),
        max_size=6,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_output_arrives_whole_and_in_order(simulator: Path, pieces: list[tuple[int, bytes]]) -> None:
    done = Run(simulator, session())(*(says(*piece) for piece in pieces), ends(0))
    assert done.records[-1] == Exit(0, "")
    for stream in (1, 2):
        got = b"".join(r.data for r in done.records if isinstance(r, Output) and r.stream == stream)
        assert got == b"".join(data for one, data in pieces if one == stream)


# What the relying party refuses.


def test_another_measurement_gets_nothing(simulator: Path) -> None:
    done = Run(simulator, session(policy=OTHER_MEASUREMENT))(*STORY)
    assert isinstance(done.failure, AppraisalError)
    assert done.failure.result.verdict is Verdict.POLICY_MISMATCH
    assert (done.exit_code, done.secret, done.records) == (125, b"", ())
    assert done.error == "shim: refusal: found 17, want a release\n"


def test_another_plan_gets_nothing(simulator: Path) -> None:
    done = Run(simulator, session(), plan=bytes(32))(*STORY)
    assert isinstance(done.failure, PlanError)
    assert (done.exit_code, done.secret, done.error) == (
        125,
        b"",
        "shim: refusal: found 15, want a release\n",
    )


def test_evidence_for_another_nonce_gets_nothing(simulator: Path) -> None:
    """The host gives the guest a challenge of its own, or one that it has seen before."""
    old = frame(MessageType.CHALLENGE, b"n" * 32)
    done = Run(simulator, session(), down=only(MessageType.CHALLENGE, lambda _: [old]))(*STORY)
    assert isinstance(done.failure, AppraisalError)
    assert done.failure.result.verdict is Verdict.WRONG_BINDING
    assert (done.exit_code, done.secret) == (125, b"")


def test_a_nonce_that_was_spent_elsewhere_gets_nothing(simulator: Path) -> None:
    releases = MemoryReleases(SECRET)
    replayed = Run(simulator, session(releases=releases))
    replayed.session._randomness = bytes  # the same nonce each time
    assert replayed(ends(0)).secret == SECRET
    again = Run(simulator, session(releases=releases))
    again.session._randomness = bytes
    done = again(ends(0))
    assert isinstance(done.failure, NonceError)
    assert (done.exit_code, done.secret) == (125, b"")


# Of the body: the key, the plan's digest, the sizes, the report's measurement, its signature, the chain.
@pytest.mark.parametrize("at", [0, 31, 32, 67, 71, 75, 76 + 0x90, 76 + 0x2A0, 76 + 1184 + 100])
def test_evidence_that_was_changed_on_its_way_gets_nothing(simulator: Path, at: int) -> None:
    done = Run(simulator, session(), up=flipped(MessageType.EVIDENCE, at))(*STORY)
    assert done.failure is not None
    assert (done.exit_code, done.secret, done.records) == (125, b"", ())


def test_a_key_that_the_host_put_in_gets_nothing(simulator: Path) -> None:
    """The host would read the secret itself: the key is bound by report_data."""
    own = X25519PrivateKey.generate().public_key().public_bytes_raw()
    up = only(MessageType.EVIDENCE, lambda seen: [encode(Frame(seen.type, own + seen.body[32:]))])
    done = Run(simulator, session(), up=up)(*STORY)
    assert isinstance(done.failure, AppraisalError)
    assert done.failure.result.verdict is Verdict.WRONG_BINDING
    assert done.secret == b""


# What the guest refuses.


class Forger:
    """A host that knows everything on the wire and makes a release of its own."""

    def __init__(self, signing_key: Ed25519PrivateKey, **others: bytes) -> None:
        self.signing_key, self.others, self.nonce, self.body = signing_key, others, b"", b""

    def up(self, seen: Frame) -> Iterable[bytes]:
        if seen.type is MessageType.EVIDENCE:
            self.body = seen.body
        yield encode(seen)

    def down(self, seen: Frame) -> Iterable[bytes]:
        if seen.type is MessageType.CHALLENGE:
            self.nonce = seen.body
        if seen.type is not MessageType.RELEASE:
            return passes_on(seen)
        said = messages.read_evidence(self.body)
        parts = {
            "nonce": self.nonce,
            "evidence": messages.digest(self.body),
            "key": said.public_key,
            **self.others,
        }
        bound = release.Bound(parts["nonce"], parts["evidence"])
        forged, _ = release.seal(
            b"forged", bound, parts["key"], self.signing_key, X25519PrivateKey.generate()
        )
        return [encode(forged)]


def forged(simulator: Path, forger: Forger) -> str:
    done = Run(simulator, session(), up=forger.up, down=forger.down)(*STORY)
    assert (done.exit_code, done.secret, done.records) == (125, b"", ())
    return done.error


def test_a_release_of_the_hosts_own_is_refused(simulator: Path) -> None:
    assert "release.signature" in forged(simulator, Forger(Ed25519PrivateKey.generate()))


@pytest.mark.parametrize("part", ["nonce", "evidence"])
def test_a_release_for_something_else_is_refused(simulator: Path, part: str) -> None:
    """Even one that the relying party has signed: from another boot, or for another guest."""
    assert "release.signature" in forged(simulator, Forger(SIGNING_KEY, **{part: b"x" * 32}))


def test_a_release_to_another_guest_is_refused(simulator: Path) -> None:
    other = X25519PrivateKey.generate().public_key().public_bytes_raw()
    assert "release.ciphertext" in forged(simulator, Forger(SIGNING_KEY, key=other))


def test_a_secret_of_the_hosts_behind_a_true_signature_is_refused(simulator: Path) -> None:
    """The signature of the real release, taken off it; everything else as the relying party would make it."""
    forger = Forger(SIGNING_KEY)

    def down(seen: Frame) -> Iterable[bytes]:
        (made,) = forger.down(seen)
        forged_body = made[12:]
        yield (
            made
            if seen.type is MessageType.CHALLENGE
            else encode(Frame(seen.type, forged_body[:32] + seen.body[32:96] + forged_body[96:]))
        )

    done = Run(simulator, session(), up=forger.up, down=down)(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert "release.signature" in done.error


def test_a_release_by_the_relying_party_would_be_accepted(simulator: Path) -> None:
    """The forger is good enough: with the right key its release opens."""
    forger = Forger(SIGNING_KEY)
    assert Run(simulator, session(), up=forger.up, down=forger.down)(ends(0)).secret == b"forged"


def test_the_release_of_another_session_is_refused(simulator: Path) -> None:
    other, someone = session(), python_guest()
    reply = other.receive(someone.answer(other.receive(frame(MessageType.REQUEST), NOW).reply), NOW).reply
    done = Run(simulator, session(), down=only(MessageType.RELEASE, lambda _: [reply]))(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert "release.signature" in done.error


@pytest.mark.parametrize("at", [0, 31, 32, 95, 96, -1])
def test_a_release_that_was_changed_on_its_way_is_refused(simulator: Path, at: int) -> None:
    done = Run(simulator, session(), down=flipped(MessageType.RELEASE, at))(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert "release.signature" in done.error


def test_a_guest_without_a_tpm_takes_no_credential(simulator: Path) -> None:
    asked = frame(MessageType.CREDENTIAL, b"\0\1i\0\1s")
    done = Run(simulator, session(), down=only(MessageType.RELEASE, lambda _: [asked]))(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert done.error == "shim: frame.type: found 9, want the message whose turn it is\n"


NONCE = frame(MessageType.CHALLENGE, b"n" * 32)
WRONG_CHALLENGES = {
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "frame.magic: found 'HTTP', want 'SHIM'"),
    "version 2": (b"SHIM\2" + NONCE[5:], "frame.version: found 2, want 1"),
    "reserved bits": (NONCE[:6] + b"\0\1" + NONCE[8:], "frame.reserved: found 1, want 0"),
    "unknown type": (b"SHIM\1\x63\0\0" + bytes(4), "frame.type: found 99, want a type of version 1"),
    "short nonce": (
        b"SHIM\1\2\0\0\0\0\0\x1f" + bytes(31),
        "frame.size: found 31, want what its type may have",
    ),
    "oversized": (
        b"SHIM\1\2\0\0\xff\xff\xff\xff",
        "frame.size: found 4294967295, want what its type may have",
    ),
    "a refusal": (
        frame(MessageType.REFUSAL, b"\0\x11"),
        "frame.type: found 5, want the message whose turn it is",
    ),
    "a release": (
        frame(MessageType.RELEASE, bytes(112)),
        "frame.type: found 4, want the message whose turn it is",
    ),
    "a credential for a TPM": (
        frame(MessageType.CREDENTIAL, b"\0\1i\0\1s"),
        "frame.type: found 9, want the message whose turn it is",
    ),
    "its own request": (frame(MessageType.REQUEST), "frame.type: found 1, want the message whose turn it is"),
}


@pytest.mark.parametrize("name", WRONG_CHALLENGES)
def test_what_is_no_challenge_is_refused(simulator: Path, name: str) -> None:
    data, error = WRONG_CHALLENGES[name]
    done = Run(simulator, session(), down=only(MessageType.CHALLENGE, lambda _: [data]))(*STORY)
    assert (done.exit_code, done.secret, done.error) == (125, b"", f"shim: {error}\n")


def test_a_challenge_that_is_repeated_is_no_release(simulator: Path) -> None:
    done = Run(simulator, session(), down=only(MessageType.CHALLENGE, lambda seen: [encode(seen) * 2]))(
        *STORY
    )
    assert (done.exit_code, done.secret) == (125, b"")
    assert done.error == "shim: frame.type: found 2, want the message whose turn it is\n"


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (MessageType.CHALLENGE, 0),
        (MessageType.RELEASE, 130),
    ],
)
def test_a_message_that_ends_too_early_is_refused(simulator: Path, kind: MessageType, size: int) -> None:
    """The rest does not come, and the guest waits for it only so long."""
    done = Run(simulator, session(), down=only(kind, lambda seen: [encode(seen)[:size]]), seconds=1)(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert done.error == "shim: channel: found silence, want the other side within its time\n"


def test_messages_in_single_bytes_are_understood(simulator: Path) -> None:
    def down(seen: Frame) -> Iterable[bytes]:
        return (bytes([byte]) for byte in encode(seen))

    assert Run(simulator, session(), down=down)(ends(0)).secret == SECRET


def test_what_follows_the_release_is_not_read(simulator: Path) -> None:
    done = Run(
        simulator, session(), down=only(MessageType.RELEASE, lambda seen: [encode(seen) + b"x" * 10000])
    )(*STORY)
    assert (done.exit_code, done.secret, done.records) == (0, SECRET, TOLD)


@pytest.mark.parametrize("body", [(0).to_bytes(4) + b"x", (2).to_bytes(4) + b"x", b"\xff" * 5])
def test_a_simulated_tee_that_lies_about_sizes_is_refused(simulator: Path, body: bytes) -> None:
    done = Run(simulator, session(), tee=lambda _: [frame(MessageType.SIMULATED, body)])(*STORY)
    assert (done.exit_code, done.secret) == (125, b"")
    assert "simulated.size" in done.error


# Records on their way.


def reordered() -> Host:
    kept: list[bytes] = []

    def up(seen: Frame) -> Iterable[bytes]:
        if seen.type is MessageType.OUTPUT and not kept:
            kept.append(encode(seen))
            return []
        return [encode(seen), *kept.copy()] if kept else passes_on(seen)

    return up


RECORD_ATTACKS: dict[str, Host] = {
    "changed": flipped(MessageType.OUTPUT, 0),
    "tag changed": flipped(MessageType.OUTPUT, -1),
    "repeated": only(MessageType.OUTPUT, lambda seen: [encode(seen) * 2]),
    "left out": only(MessageType.OUTPUT, lambda _: []),
    "event left out": only(MessageType.EVENT, lambda _: []),
    "reordered": reordered(),
    "called an event": only(MessageType.OUTPUT, lambda seen: [encode(Frame(MessageType.EVENT, seen.body))]),
    "cut": only(MessageType.OUTPUT, lambda seen: [encode(Frame(seen.type, seen.body[:-1]))]),
    "put in": only(MessageType.EVENT, lambda seen: [frame(MessageType.OUTPUT, bytes(20)), encode(seen)]),
}


@pytest.mark.parametrize("name", RECORD_ATTACKS)
def test_records_that_were_tampered_with_are_refused(simulator: Path, name: str) -> None:
    done = Run(simulator, session(), up=RECORD_ATTACKS[name])(*STORY)
    assert isinstance(done.failure, RecordError)
    assert done.records == TOLD[: len(done.records)]
    assert done.session.exit is None


def test_an_exit_that_is_left_out_shows(simulator: Path) -> None:
    done = Run(simulator, session(), up=only(MessageType.EXIT, lambda _: []))(*STORY)
    assert isinstance(done.failure, TruncatedError)
    assert done.records == TOLD[:-1]


def test_plain_output_in_place_of_sealed_is_refused(simulator: Path) -> None:
    """The host cannot pass off words of its own as the guest's."""
    up = only(MessageType.OUTPUT, lambda _: [frame(MessageType.PLAIN_OUTPUT, b"\1forged")])
    done = Run(simulator, session(), up=up)(*STORY)
    assert isinstance(done.failure, TurnError)
    assert done.records == ()


def test_an_event_is_json_that_stays_json(simulator: Path) -> None:
    done = Run(simulator, session())(reports(EVENT), ends(0))
    (event, _) = done.records
    assert isinstance(event, Event)
    assert json.loads(event.text) == {"event": "violation"}


@pytest.mark.parametrize("size", [0, 8193])
def test_an_event_of_another_size_ends_the_guest(simulator: Path, size: int) -> None:
    done = Run(simulator, session())(reports(b"x" * size), ends(0))
    assert (done.exit_code, done.error) == (125, f"shim: event: found {size}, want 1 to 8192 bytes\n")
    assert isinstance(done.failure, TruncatedError)


def test_a_long_reason_is_cut(simulator: Path) -> None:
    done = Run(simulator, session())(ends(125, b"r" * 300))
    assert done.records == (Exit(125, "r" * 255),)


def test_nothing_is_sent_behind_the_exit(simulator: Path) -> None:
    done = Run(simulator, session())(ends(0), says(1, b"late"))
    assert done.exit_code == 125
    assert done.error == "shim: guest.state: found 4, want the state before this step\n"
    assert (done.records, done.failure) == ((Exit(0, ""),), None)


def sanitized(guest_build: Callable[[str], Path]) -> Path:
    return guest_build("sanitized-guest") / "guest-sanitized"


@pytest.mark.parametrize("data", [b"", b"\0" * 60, b"\3", b"\3\1\20\1", b"\4\1\0\1", b"\1\31" * 30])
def test_a_guest_under_sanitizers(guest_build: Callable[[str], Path], data: bytes) -> None:
    done = subprocess.run([sanitized(guest_build)], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_any_host_under_sanitizers(guest_build: Callable[[str], Path]) -> None:
    """Frames and releases that are almost good: the guest takes none that was changed, and keeps nothing secret."""
    command = [sanitized(guest_build), "--generate", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.split()[0]) > 100
