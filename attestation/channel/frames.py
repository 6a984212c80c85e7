"""
Where does one message end and the next begin?

    0  "SHIM"
    4  version, 1
    5  type
    6  reserved, two zero bytes
    8  size of the body, four bytes, big-endian
   12  body
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from attestation.channel.errors import FrameError

MAGIC = b"SHIM"
VERSION = 1
HEADER_SIZE = 12
TAG_SIZE = 16
MAX_EVIDENCE = 1 << 20
MAX_SECRET = 65536
MAX_OUTPUT = 16384
MAX_EVENT = 8192
MAX_REASON = 255
MIN_CREDENTIAL = 6
MAX_CREDENTIAL = 1024
PROOF_SIZE = 32
EVIDENCE_HEAD = 76
RELEASE_HEAD = 96
_HEADER = struct.Struct(">4sBBHI")


class MessageType(enum.IntEnum):
    """What a frame carries."""

    REQUEST = 1
    CHALLENGE = 2
    EVIDENCE = 3
    RELEASE = 4
    REFUSAL = 5
    OUTPUT = 6
    EVENT = 7
    EXIT = 8
    CREDENTIAL = 9
    PROOF = 10
    PLAIN_OUTPUT = 14
    PLAIN_EVENT = 15
    PLAIN_EXIT = 16
    REPORT_DATA = 32
    SIMULATED = 33


# The least and the most bytes that the body of each type has.
SIZES: Mapping[MessageType, tuple[int, int]] = {
    MessageType.REQUEST: (0, 0),
    MessageType.CHALLENGE: (32, 32),
    MessageType.EVIDENCE: (EVIDENCE_HEAD + 1, MAX_EVIDENCE),
    MessageType.RELEASE: (RELEASE_HEAD + TAG_SIZE, RELEASE_HEAD + TAG_SIZE + MAX_SECRET),
    MessageType.REFUSAL: (2, 2),
    MessageType.OUTPUT: (2 + TAG_SIZE, 1 + MAX_OUTPUT + TAG_SIZE),
    MessageType.EVENT: (1 + TAG_SIZE, MAX_EVENT + TAG_SIZE),
    MessageType.EXIT: (1 + TAG_SIZE, 1 + MAX_REASON + TAG_SIZE),
    MessageType.CREDENTIAL: (MIN_CREDENTIAL, MAX_CREDENTIAL),
    MessageType.PROOF: (PROOF_SIZE, PROOF_SIZE),
    MessageType.PLAIN_OUTPUT: (2, 1 + MAX_OUTPUT),
    MessageType.PLAIN_EVENT: (1, MAX_EVENT),
    MessageType.PLAIN_EXIT: (1, 1 + MAX_REASON),
    MessageType.REPORT_DATA: (64, 64),
    MessageType.SIMULATED: (5, MAX_EVIDENCE),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it travels."""

    type: MessageType
    body: bytes

    @property
    def header(self) -> bytes:
        """The 12 bytes before the body; a sealed record is bound to them."""
        return header(self.type, len(self.body))


def header(kind: MessageType, size: int) -> bytes:
    """
    Return the header before a body of `size` bytes.

    Raises:
        ValueError: messages of this type never have so many or so few; the caller's bug.
    """
    least, most = SIZES[kind]
    if not least <= size <= most:
        raise ValueError(f"{kind.name}: found {size} bytes, want {least} to {most}")
    return _HEADER.pack(MAGIC, VERSION, kind, 0, size)


def encode(frame: Frame) -> bytes:
    """
    Return the frame's bytes.

    Raises:
        ValueError: its body has a size that its type cannot have; the caller's bug.
    """
    return frame.header + frame.body


def read_header(data: bytes) -> tuple[MessageType, int]:
    """
    Return type and size of the body that follows a header of 12 bytes.

    Raises:
        FrameError: another magic, version, type or reserved field, or a size that the type cannot have.
    """
    magic, version, kind, reserved, size = _HEADER.unpack(data)
    if magic != MAGIC:
        raise FrameError("frame.magic", magic.hex(), MAGIC.hex())
    if version != VERSION:
        raise FrameError("frame.version", str(version), str(VERSION))
    if reserved:
        raise FrameError("frame.reserved", str(reserved), "0")
    if kind not in MessageType.__members__.values():
        raise FrameError("frame.type", str(kind), "a type of version 1")
    known = MessageType(kind)
    least, most = SIZES[known]
    if not least <= size <= most:
        raise FrameError("frame.size", f"{size} bytes of {known.name}", f"{least} to {most}")
    return known, size


class FrameReader:
    """
    Takes frames off a stream that arrives in pieces of any size.

    It never holds more than one frame and what was fed with its last byte: a header that promises too much
    is refused before its body is waited for.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_between_frames(self) -> bool:
        """True when no frame has begun that is not whole."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Yield the frames that `data` completes.

        Raises:
            FrameError: as `read_header`; nothing that follows can then be read any more.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            kind, size = read_header(bytes(self._buffer[:HEADER_SIZE]))
            end = HEADER_SIZE + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER_SIZE:end])
            del self._buffer[:end]
            yield Frame(kind, body)
