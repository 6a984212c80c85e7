"""
Damage, one named kind per function.

Each takes good evidence and gives every broken version of it; whatever is applied to, nothing may accept it.
"""

from __future__ import annotations

from collections.abc import Iterator


def one_bit_in_each_byte(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield a copy with one bit flipped, for each byte of `start` to `end`; the bit wanders."""
    for position in range(start, end):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        yield bytes(damaged)


def every_proper_prefix(data: bytes) -> Iterator[bytes]:
    """Yield every prefix that is shorter than `data`, the empty one included."""
    for size in range(len(data)):
        yield data[:size]
