"""What do the bodies of frames say?  Each reader takes all bytes or refuses them."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TypeAlias

from attestation.channel.errors import MessageError
from attestation.channel.frames import EVIDENCE_HEAD, Frame, MessageType

_HEAD = struct.Struct(">32s32sIII")
_STREAMS = (1, 2)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    A guest's answer to a challenge.

    Attributes:
        public_key: Its X25519 key, made for this one challenge.
        plan_digest: SHA-256 of the plan that it will launch.
        evidence: In the format of its kind.
        event_log: What explains registers, or empty.
        endorsements: What the host adds, as `attestation.endorsements.parse` reads it, or empty.
    """

    public_key: bytes
    plan_digest: bytes
    evidence: bytes
    event_log: bytes = b""
    endorsements: bytes = b""

    def to_frame(self) -> Frame:
        """Return the message."""
        sizes = (len(self.evidence), len(self.event_log), len(self.endorsements))
        head = _HEAD.pack(self.public_key, self.plan_digest, *sizes)
        body = head + self.evidence + self.event_log + self.endorsements
        return Frame(MessageType.EVIDENCE, body)


@dataclass(frozen=True, slots=True)
class Output:
    """What the program wrote to standard output (1) or standard error (2)."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One line of JSON about the launch, as text; that it is JSON is for its reader to see."""

    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The guest's last word: its exit code, as `shim run` has them, and a reason or ""."""

    status: int
    reason: str


Record: TypeAlias = Output | Event | Exit


def digest(body: bytes) -> bytes:
    """Return SHA-256 of the body of an evidence message: what a release is bound to."""
    return hashlib.sha256(body).digest()


def read_evidence(body: bytes) -> Evidence:
    """
    Return what an evidence message says.

    Raises:
        MessageError: sizes that are not those of the parts, or no evidence.
    """
    if len(body) < EVIDENCE_HEAD:
        raise MessageError("evidence", f"{len(body)} bytes", f"{EVIDENCE_HEAD} and more")
    public_key, plan_digest, *sizes = _HEAD.unpack_from(body)
    if sum(sizes) != len(body) - EVIDENCE_HEAD:
        raise MessageError("evidence.sizes", f"{sum(sizes)} in all", f"{len(body) - EVIDENCE_HEAD}")
    if sizes[0] == 0:
        raise MessageError("evidence.evidence", "none", "some")
    log, endorsements = EVIDENCE_HEAD + sizes[0], EVIDENCE_HEAD + sizes[0] + sizes[1]
    return Evidence(
        public_key, plan_digest, body[EVIDENCE_HEAD:log], body[log:endorsements], body[endorsements:]
    )


def refusal(code: int) -> Frame:
    """Return a refusal; why is not for the host to read."""
    return Frame(MessageType.REFUSAL, code.to_bytes(2))


def read_record(kind: MessageType, body: bytes) -> Record:
    """
    Return what a record says; `kind` without its sealing, `body` opened.

    Raises:
        MessageError: no such stream, or text that is not UTF-8.
    """
    if kind is MessageType.OUTPUT:
        if body[0] not in _STREAMS:
            raise MessageError("output.stream", str(body[0]), "1 or 2")
        return Output(body[0], body[1:])
    if kind is MessageType.EVENT:
        return Event(_text(body, "event"))
    return Exit(body[0], _text(body[1:], "exit.reason"))


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MessageError(where, repr(data[:40]), "UTF-8") from error
