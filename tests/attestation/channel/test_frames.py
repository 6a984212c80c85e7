"""Frames in any pieces, and bytes that are none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from attestation.channel import messages
from attestation.channel.errors import FrameError, MessageError
from attestation.channel.frames import SIZES, Frame, FrameReader, MessageType, encode, header
from attestation.channel.messages import Event, Evidence, Exit, Output

SMALL = [kind for kind, (least, _) in SIZES.items() if least < 200]


@st.composite
def whole_frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(SMALL))
    least, most = SIZES[kind]
    return Frame(kind, draw(st.binary(min_size=least, max_size=min(most, least + 40))))


@given(st.lists(whole_frames(), max_size=5), st.integers(1, 50))
@settings(deadline=None)
def test_frames_in_pieces_of_any_size(sent: list[Frame], size: int) -> None:
    data = b"".join(map(encode, sent))
    reader = FrameReader()
    found = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert found == sent
    assert reader.is_between_frames


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_frames_or_a_frame_error(data: bytes) -> None:
    reader = FrameReader()
    try:
        for frame in reader.feed(data):
            assert data.startswith(encode(frame))
            data = data[len(encode(frame)) :]
    except FrameError:
        pass


GOOD = encode(Frame(MessageType.REFUSAL, b"\0\x0a"))


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (0, 0x53 ^ 1, "frame.magic: found 5248494d, want 5348494d"),
        (4, 0, "frame.version: found 0, want 1"),
        (4, 2, "frame.version: found 2, want 1"),
        (5, 0, "frame.type: found 0, want a type of version 1"),
        (5, 11, "frame.type: found 11, want a type of version 1"),
        (5, 255, "frame.type: found 255, want a type of version 1"),
        (6, 1, "frame.reserved: found 256, want 0"),
        (7, 1, "frame.reserved: found 1, want 0"),
        (8, 255, "frame.size: found 4278190082 bytes of REFUSAL, want 2 to 2"),
        (11, 1, "frame.size: found 1 bytes of REFUSAL, want 2 to 2"),
        (11, 3, "frame.size: found 3 bytes of REFUSAL, want 2 to 2"),
    ],
)
def test_each_field_of_a_header(at: int, value: int, text: str) -> None:
    data = bytearray(GOOD)
    data[at] = value
    with pytest.raises(FrameError) as caught:
        list(FrameReader().feed(bytes(data)))
    assert str(caught.value) == f"{text} (docs/protocol.md)"


def test_a_body_that_is_too_large_is_refused_before_it_comes() -> None:
    with pytest.raises(FrameError, match=r"frame\.size"):
        list(FrameReader().feed(b"SHIM\1\3\0\0" + (2**20 + 1).to_bytes(4)))


@pytest.mark.parametrize("kind", MessageType)
def test_nobody_can_write_what_nobody_would_read(kind: MessageType) -> None:
    least, most = SIZES[kind]
    for size in {least - 1, most + 1, 2**40}:
        with pytest.raises(ValueError, match=kind.name):
            header(kind, size)


EVIDENCE = Evidence(b"k" * 32, b"p" * 32, b"evidence", b"log", b"chain")


def test_evidence_is_read_back() -> None:
    frame = EVIDENCE.to_frame()
    assert messages.read_evidence(frame.body) == EVIDENCE
    assert encode(frame).endswith(b"evidencelogchain")


@pytest.mark.parametrize("at", [64, 67, 71, 75])
def test_sizes_that_are_not_those_of_the_parts(at: int) -> None:
    body = bytearray(EVIDENCE.to_frame().body)
    body[at] ^= 1
    with pytest.raises(MessageError, match=r"evidence\.sizes"):
        messages.read_evidence(bytes(body))


def test_sizes_whose_sum_would_fit_in_32_bits() -> None:
    """Three numbers that add up to the right size modulo 2^32."""
    sizes = (0xFFFFFFFF).to_bytes(4) + (0xFFFFFFFF).to_bytes(4) + (18).to_bytes(4)
    body = EVIDENCE.to_frame().body
    with pytest.raises(MessageError, match=r"evidence\.sizes"):
        messages.read_evidence(body[:64] + sizes + body[76:])


@pytest.mark.parametrize("size", [0, 75])
def test_evidence_without_its_head(size: int) -> None:
    with pytest.raises(MessageError, match="want 76 and more"):
        messages.read_evidence(bytes(size))


def test_no_evidence_at_all() -> None:
    body = EVIDENCE.to_frame().body
    with pytest.raises(MessageError, match="none"):
        messages.read_evidence(body[:64] + bytes(4) + body[68:72] + (13).to_bytes(4) + body[76:])


def test_records_are_read() -> None:
    assert messages.read_record(MessageType.OUTPUT, b"\2x") == Output(2, b"x")
    assert messages.read_record(MessageType.EVENT, b"{}") == Event("{}")
    assert messages.read_record(MessageType.EXIT, b"\x9f") == Exit(159, "")
    assert messages.read_record(MessageType.EXIT, b"\x7dno") == Exit(125, "no")


@pytest.mark.parametrize(
    ("kind", "body", "where"),
    [
        (MessageType.OUTPUT, b"\0x", "output.stream"),
        (MessageType.OUTPUT, b"\3x", "output.stream"),
        (MessageType.EVENT, b"\xff", "event"),
        (MessageType.EXIT, b"\0\xc3", "exit.reason"),
    ],
)
def test_records_that_say_nothing(kind: MessageType, body: bytes, where: str) -> None:
    with pytest.raises(MessageError) as caught:
        messages.read_record(kind, body)
    assert caught.value.where == where


def test_the_document_has_the_same_types_and_sizes() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text()
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert [tuple(map(int, row)) for row in rows] == [(kind, *SIZES[kind]) for kind in MessageType]
