"""Items that two readers could read in two ways are refused, and everything that a good writer writes is not."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, strategies as st

from attestation import cbor, cose
from attestation.errors import EvidenceFormatError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=30) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 30) | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_what_a_writer_writes_is_read(value: object) -> None:
    data = cbor2.dumps(value, canonical=True)
    assert cose.tagged_cbor(data, "it", frozenset()) == value
    for size in range(len(data)):
        with pytest.raises(EvidenceFormatError):
            cbor.check(data[:size], "it", frozenset())


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "nothing"),
        (b"\x00\x00", "1 bytes behind it"),
        (b"\x18\x17", "a number that is longer than it needs to be"),
        (b"\x19\x00\xff", "a number that is longer than it needs to be"),
        (b"\x1a\x00\x00\xff\xff", "a number that is longer than it needs to be"),
        (b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff", "a number that is longer than it needs to be"),
        (b"\x58\x01a", "a number that is longer than it needs to be"),
        (b"\x18", "head 0x18"),
        (b"\x1c", "head 0x1c"),
        (b"\x5f\x41a\xff", "head 0x5f"),
        (b"\x9f\xff", "head 0x9f"),
        (b"\xbf\xff", "head 0xbf"),
        (b"\x42a", "a string that breaks off"),
        (b"\xa2\x00\x01\x00\x02", "a map with the same name twice"),
        (b"\xa2\x61a\x01\x61a\x01", "a map with the same name twice"),
        (b"\x81\xa2\x00\x01\x00\x02", "a map with the same name twice"),
        (b"\xc2\x41\x01", "2"),
        (b"\xd8\x23\x61a", "35"),
        (b"\x81" * 33 + b"\x00", "deeper nesting"),
        (b"\x81" * 100000, "deeper nesting"),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "nothing"),
    ],
)
def test_what_is_refused(data: bytes, found: str) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        cbor.check(data, "it", frozenset({1}))
    assert caught.value.found == found


@pytest.mark.parametrize(
    "data",
    [b"\x18\x18", b"\x19\x01\x00", b"\x1a\x00\x01\x00\x00", b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", b"\xc1\x00", b"\xf9\x00\x00", b"\x81" * 32 + b"\x00", b"\xa2\x00\x01\x01\x01"],
)  # fmt: skip
def test_what_is_right_at_the_edge(data: bytes) -> None:
    cbor.check(data, "it", frozenset({1}))
