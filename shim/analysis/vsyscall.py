"""
Which calls does a program make through the vsyscall page?

Three functions lie at addresses that never change; calling one there is a call of the kernel without an
instruction that enters it, and a filter sees it as the system call of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shim.analysis.program import Program

# gettimeofday, time and getcpu, 0x400 apart: arch/x86/entry/vsyscall/vsyscall_emu_64.S, v6.12.
_NUMBERS = {0x00: 96, 0x04: 201, 0x08: 309}
# Bytes 2 and 3 of each of their addresses: rare enough to be searched for first.
_PAGE = b"`\xff"
# The address whole, in data or as a 64-bit immediate; or as one of 32 bits that mov or push extends.
_WHOLE = re.compile(rb"\0([\x00\x04\x08])`\xff{5}")
_EXTENDED = re.compile(rb"(?:[\x48\x49]\xc7[\xc0-\xc7]|\x68)\0([\x00\x04\x08])`\xff")


def vsyscalls(program: Program) -> Iterator[tuple[int, int]]:
    """
    Yield (address, number) for each reached instruction that makes the address of a function of that page.

    An address in data counts as made at the program's entry: that a number is there by chance is next to
    impossible.
    """
    for image in program.process.images:
        if image.machine != "x86_64":
            continue
        for segment in image.segments:
            data = image.data[segment.offset : segment.offset + segment.file_size]
            for start, number in _made(data):
                address = segment.address + start if segment.executable else program.image.entry
                if program.reach.containing(address) is not None:
                    yield address, number


def _made(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (offset, number) of what makes an address of that page."""
    at = -1
    while (at := data.find(_PAGE, at + 1)) >= 0:
        for start, pattern in ((at - 2, _WHOLE), (at - 5, _EXTENDED), (at - 3, _EXTENDED)):
            match = pattern.match(data, start) if start >= 0 else None
            if match is not None:
                yield start, _NUMBERS[match[1][0]]
                break
