"""What arguments of refused calls say, and that nothing in a foreign memory can harm who reads it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from shim.launch.decode import PATHS, SOCKET_ADDRESSES, decoded, socket_address

MEMORY = {
    0x1000: b"/etc/passwd\0behind",
    0x2000: b'\x1b[2J"quoted\\\0',
    0x3000: b"/" + b"a" * 4096,
    0x4000: struct.pack("=H", 2) + (443).to_bytes(2, "big") + bytes((127, 0, 0, 1)) + bytes(8),
    0x5000: struct.pack("=H", 10) + (80).to_bytes(2, "big") + bytes(4) + bytes(15) + b"\1" + bytes(4),
    0x6000: struct.pack("=H", 1) + b"/run/socket\0",
    0x7000: struct.pack("=H", 1) + b"\0abstract",
}


def read(address: int, size: int) -> bytes:
    return MEMORY.get(address, b"")[:size]


CASES = {
    ("open", 0x1000, 0): {0: '"/etc/passwd"'},
    ("open", 0x2000, 0): {0: '"\\x1b[2J\\x22quoted\\x5c"'},
    ("open", 0x3000, 0): {0: '"/' + "a" * 199 + '"...'},
    ("open", 0x9999, 0): {},
    ("openat", (1 << 64) - 100, 0x1000): {0: "AT_FDCWD", 1: '"/etc/passwd"'},
    ("openat", 0xFFFF_FF9C, 0x1000): {0: "AT_FDCWD", 1: '"/etc/passwd"'},
    ("openat", 3, 0x1000): {1: '"/etc/passwd"'},
    ("rename", 0x1000, 0x9999): {0: '"/etc/passwd"'},
    ("connect", 3, 0x4000, 16): {1: "127.0.0.1:443"},
    ("connect", 3, 0x5000, 28): {1: "[::1]:80"},
    ("bind", 3, 0x6000, 110): {1: '"/run/socket"'},
    ("bind", 3, 0x7000, 11): {1: '@"abstract"'},
    ("connect", 3, 0x4000, 1): {},
    ("connect", 3, 0x9999, 16): {},
    ("socket", 17, 3, 0): {0: "AF_PACKET"},
    ("socket", 99, 3, 0): {},
    ("mprotect", 0x1000, 4096, 7): {2: "PROT_READ|PROT_WRITE|PROT_EXEC"},
    ("mmap", 0, 4096, 0): {2: "PROT_NONE"},
    ("getpid",): {},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{len(case)}")
def test_arguments(case: tuple[str, int]) -> None:
    name, *arguments = case
    assert decoded(name, (*arguments, 0, 0, 0, 0, 0, 0)[:6], read) == CASES[case]


@given(
    st.sampled_from([*PATHS, *SOCKET_ADDRESSES]),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
    st.binary(max_size=300),
)
def test_whatever_is_read_is_plain_text(name: str, arguments: list[int], content: bytes) -> None:
    for text in decoded(name, arguments, lambda _, size: content[:size]).values():
        assert text.isascii()
        assert text.isprintable()


@given(st.binary(max_size=140))
def test_no_socket_address_is_too_strange(content: bytes) -> None:
    text = socket_address(content)
    assert text is None or text.isprintable()
