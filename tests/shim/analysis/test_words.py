"""Words that may be addresses: each number in the range at each alignment, and nothing else."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, strategies as st

from shim.analysis._decode import ffi, lib
from shim.analysis.words import Words
from shim.elf.image import parse_elf

LOWEST, HIGHEST = 0x40_0000, 0x40_1000
numbers = st.one_of(
    st.sampled_from([LOWEST - 1, LOWEST, LOWEST + 1, HIGHEST - 1, HIGHEST, HIGHEST + 1, 0, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)


def search(data: bytes, first: int, room: int) -> tuple[int, list[tuple[int, int]]]:
    offsets, values = ffi.new("uint64_t[]", room), ffi.new("uint64_t[]", room)
    count = lib.words_find(ffi.from_buffer("uint8_t[]", data), len(data), first, LOWEST, HIGHEST, offsets, values, room)  # fmt: skip
    kept = min(count, room)
    return count, list(zip(ffi.unpack(offsets, kept), ffi.unpack(values, kept), strict=True)) if kept else []


@given(st.lists(numbers, max_size=20), st.binary(max_size=9), st.integers(0, 7), st.integers(0, 8))
def test_every_word_in_the_range_is_found(words: list[int], tail: bytes, first: int, room: int) -> None:
    data = bytes(first) + struct.pack(f"<{len(words)}Q", *words) + tail
    wanted = [
        (at, word)
        for at in range(first, len(data) - 7, 8)
        for (word,) in [struct.unpack_from("<Q", data, at)]
        if LOWEST <= word < HIGHEST
    ]
    assert search(data, first, room) == (len(wanted), wanted[:room])


def test_words_of_an_image_by_alignment(assemble: Any) -> None:  # noqa: ANN401  # the fixture's own
    source = """
    .globl _start
    _start: ret
    .data
    .balign 8
    table: .quad _start, 7, table
    .long 0
    odd: .quad _start
    """
    image = parse_elf(assemble(source, "-static", "-nostdlib", "-no-pie"), "words")
    mapped = range(image.segments[0].address, image.segments[-1].end)
    start = next(s.address for s in image.sections if s.name == ".data")
    whole = range(start, start + 36)
    entry = image.entry
    aligned = [(start, entry), (start + 16, start)]
    assert Words(image, mapped, packed=False).within(whole) == aligned
    assert Words(image, mapped, packed=True).within(whole) == [*aligned, (start + 28, entry)]
    assert Words(image, mapped, packed=True).within(range(start + 1, start + 35)) == [(start + 16, start)]
    assert Words(image, range(1), packed=True).within(range(start, start)) == []
