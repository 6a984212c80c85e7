"""A relying party with real keys, the simulated TEE's policy, and a guest in Python that can be made to lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.binding import report_data
from attestation.channel import messages, release
from attestation.channel.frames import Frame, FrameReader, MessageType, encode
from attestation.channel.hpke import Sealing
from attestation.channel.messages import Evidence
from attestation.channel.releases import MemoryReleases
from attestation.channel.session import Session, Terms
from attestation.endorsements import Endorsements
from attestation.policy import Policy, load
from attestation.simulated import collect as simulated
from attestation.simulated.chain import PEM

NOW = datetime(2031, 1, 1, tzinfo=UTC)
PLAN = bytes(range(32))
SECRET = b"the key of the database"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"relying party".ljust(32, b"."))
POLICY_FILE = Path(__file__).resolve().parents[2] / "attestation" / "examples" / "policy-simulated.toml"


def policy(old: str = "", new: str = "") -> Policy:
    """Return the example's policy with one value changed."""
    text = POLICY_FILE.read_text()
    assert old in text
    return load(text.replace(old, new, 1), POLICY_FILE.name)


POLICY = policy()
OTHER_MEASUREMENT = policy("65468baf", "00000000")


def terms(**others: object) -> Terms:
    usual = Terms(POLICY, Endorsements(), frozenset({PLAN}), SIGNING_KEY, MemoryReleases(SECRET))
    return replace(usual, **others)  # type: ignore[arg-type]


def session(**others: object) -> Session:
    return Session(terms(**others), NOW, os.urandom)


def frames(data: bytes) -> list[Frame]:
    reader = FrameReader()
    found = list(reader.feed(data))
    assert reader.is_between_frames
    return found


def frame(kind: MessageType, body: bytes = b"") -> bytes:
    return encode(Frame(kind, body))


@dataclass
class PythonGuest:
    """Answers a challenge as a guest does; `change` is applied to its evidence message before it is sent."""

    private_key: X25519PrivateKey
    change: Callable[[Evidence], Evidence] = lambda evidence: evidence
    nonce: bytes = b""
    body: bytes = b""

    @property
    def public_key(self) -> bytes:
        return self.private_key.public_key().public_bytes_raw()

    def answer(self, challenge: bytes) -> bytes:
        (received,) = frames(challenge)
        assert received.type is MessageType.CHALLENGE
        self.nonce = received.body
        evidence, _ = simulated.collect(report_data(self.nonce, self.public_key, PLAN))
        said = self.change(Evidence(self.public_key, PLAN, evidence, endorsements=PEM))
        self.body = said.to_frame().body
        return encode(said.to_frame())

    def open(self, reply: bytes) -> tuple[bytes, Sealing]:
        (received,) = frames(reply)
        assert received.type is MessageType.RELEASE
        bound = release.Bound(self.nonce, messages.digest(self.body))
        return release.open_release(received.body, bound, self.private_key, SIGNING_KEY.public_key())


def guest(change: Callable[[Evidence], Evidence] = lambda evidence: evidence) -> PythonGuest:
    return PythonGuest(X25519PrivateKey.generate(), change)


def sealed(records: Sealing, kind: MessageType, text: bytes) -> bytes:
    """One record as a guest seals it."""
    header = b"SHIM\1" + bytes([kind]) + b"\0\0" + (len(text) + 16).to_bytes(4)
    return header + records.seal(text, header)
