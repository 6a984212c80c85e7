"""
What does a straight run of instructions do to the control flow, and which addresses does it name?

The only module beside `values` and `jumptables` that sees the disassembler.  It decides nothing about
reachability: it turns bytes at an address into a `Run`.  Runs are followed in C (native/x86_run.c); what is
asked about single instructions is asked of the disassembler.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

from iced_x86 import Code, Decoder, FlowControl, Instruction

from shim.analysis._decode import ffi, lib
from shim.analysis.runs import (
    MARK,
    MARK_LEADER,
    MARK_RUN,
    MAX_RUN,
    Abi,
    Ending,
    Reference,
    Run,
    Use,
)
from shim.elf.image import ElfImage, Segment
from shim.elf.memory import Memory

__all__ = [
    "MARK",
    "MARK_LEADER",
    "MARK_RUN",
    "MAX_RUN",
    "Abi",
    "Disassembler",
    "Ending",
    "Reference",
    "Run",
    "Use",
]

MAX_INSTRUCTION: Final = 15


class Region:
    """
    The bytes that one executable segment has in its file, and which of them have been decoded.

    `native` tells C the same, and of the image around it whether it has no choice where it is mapped, so that
    a number in its range may be an address.
    """

    __slots__ = ("_bytes", "decoder", "end", "marks", "native", "start")

    def __init__(self, image: ElfImage, segment: Segment, memory: Memory) -> None:
        code = memory.read(segment.address, segment.file_size)
        self.start = segment.address
        self.end = segment.address + len(code)
        self.decoder = Decoder(64, code, ip=segment.address)
        self.marks = bytearray(len(code) + 16)
        # C has the addresses of both, which this object keeps alive.
        self._bytes = ffi.from_buffer("uint8_t[]", code), ffi.from_buffer("uint8_t[]", self.marks)
        self.native: Any = ffi.new("struct x86_region *")
        self.native.bytes, self.native.marks = self._bytes
        self.native.size, self.native.start = len(code), self.start
        addresses = memory.range_of_addresses(image)
        self.native.lowest, self.native.highest = addresses.start, addresses.stop
        self.native.absolute = image.kind == "ET_EXEC"
        self.native.behind = int.from_bytes(memory.read(self.end, 1), "little")


# Where `struct x86_run` of native/x86_run.h begins: end, last, ending, target, and four counts.
_HEAD = 8
_ABIS = {lib.X86_SYSCALL: Abi.SYSCALL, lib.X86_INTERRUPT: Abi.INT80, lib.X86_SYSENTER: Abi.SYSENTER}


class Disassembler:
    """Decodes runs out of the executable segments of one process, each byte once."""

    def __init__(self, memory: Memory) -> None:
        self.regions = [
            Region(image, segment, memory)
            for image in memory.images
            for segment in image.segments
            if segment.executable
        ]
        self.regions.sort(key=lambda region: region.start)
        self._starts = [region.start for region in self.regions]
        self._run = ffi.new("struct x86_run *")
        self._head = ffi.cast("uint64_t *", self._run)
        self._branches = ffi.cast("uint64_t *", self._run.branches)
        self._indirect_calls = ffi.cast("uint64_t *", self._run.indirect_calls)
        self._references = ffi.cast("uint64_t *", self._run.references)
        self._kernel_entries = ffi.cast("uint64_t *", self._run.kernel_entries)
        self._instruction = Instruction()
        self._decoded = ffi.new("struct x86_instruction *")
        # What `explore` follows runs with.
        self.native_run = ffi.addressof(lib, "x86_run"), ffi.addressof(lib, "x86_run_on")

    def region(self, address: int) -> Region | None:
        """Return the region with `address` inside the bytes that the file has for it, or None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        region = self.regions[index]
        return region if address < region.end else None

    def instructions(self, start: int, end: int) -> list[Instruction]:
        """Return the instructions from `start` up to `end`."""
        region = self.region(start)
        if region is None:
            return []
        decoder = region.decoder
        decoder.ip, decoder.position = start, start - region.start
        result = []
        while decoder.can_decode and decoder.ip < end:
            result.append(decoder.decode())
        return result

    def starts(self, start: int, end: int) -> list[int]:
        """Return where the instructions from `start` up to `end` begin; none outside the file's code."""
        region = self.region(start)
        if region is None or end <= start:
            return []
        size = region.end - start
        until = min(end - start, size)
        offsets = ffi.new("uint32_t[]", until)
        count = lib.x86_starts(region.native.bytes + (start - region.start), size, until, offsets)
        return [start + offset for offset in ffi.unpack(offsets, count)]

    def behind(self, ip: int) -> int:
        """
        Return the address behind the instruction at `ip`, which was decoded before.

        Raises:
            ValueError: `ip` is in no region; the caller's bug.
        """
        region = self.region(ip)
        if region is None:
            raise ValueError(f"{ip:#x}: no code there")
        native, offset = region.native, ip - region.start
        lib.x86_decode(native.bytes + offset, native.size - offset, self._decoded)
        return ip + int(self._decoded.length)

    def faults(self, start: int) -> bool:
        """Whether code at `start` runs into bytes that are no instruction before it could jump anywhere."""
        region = self.region(start)
        if region is None:
            return True
        decoder, instruction = region.decoder, self._instruction
        decoder.ip, decoder.position = start, start - region.start
        while True:
            decoder.decode_out(instruction)
            if instruction.code == Code.INVALID:
                return True
            if instruction.flow_control != FlowControl.NEXT or region.marks[decoder.ip - region.start]:
                return False

    def inside_instruction(self, address: int) -> bool:
        """Whether an instruction that was decoded before `address` extends over it."""
        region = self.region(address)
        if region is None:
            return False
        offset = address - region.start
        low = max(offset - MAX_INSTRUCTION + 1, 0)
        before = region.marks[low:offset].rstrip(b"\0")
        if not before:
            return False
        region.decoder.ip, region.decoder.position = (
            region.start + low + len(before) - 1,
            low + len(before) - 1,
        )
        region.decoder.decode_out(self._instruction)
        return bool(self._instruction.next_ip > address)

    def run(self, start: int, returning: set[int]) -> Run:
        """
        Return the run that begins at `start`, and mark what it covers.

        It ends where control surely leaves, at a call of something that is not in `returning`, before bytes
        that were decoded already, or after `MAX_RUN` bytes.  A run into bytes that are no instruction, or out
        of the segment, ends in INVALID: the processor would fault there.
        """
        region = self.region(start)
        if region is None:
            return Run(start, start, 0, Ending.INVALID, 0, [], [], [], [], [])
        lib.x86_run(region.native, start, self._run)
        end, last, ending, target, *counts = ffi.unpack(self._head, _HEAD)
        calls = []
        while ending == Ending.CALL and target in returning:
            calls.append((last, target))
            lib.x86_run_on(region.native, self._run)
            end, last, ending, target, *counts = ffi.unpack(self._head, _HEAD)
        branches, indirect_calls, references, kernel_entries = counts
        return Run(
            start,
            end,
            last,
            ending,
            target,
            _pairs(self._branches, branches),
            calls,
            ffi.unpack(self._indirect_calls, indirect_calls) if indirect_calls else [],
            _references(self._references, references) if references else [],
            [(ip, _ABIS[way]) for ip, way in _pairs(self._kernel_entries, kernel_entries)],
        )


def _pairs(numbers: Any, count: int) -> list[tuple[int, int]]:  # noqa: ANN401  # a pointer of cffi
    if not count:
        return []
    each = iter(ffi.unpack(numbers, 2 * count))
    return list(zip(each, each, strict=True))


def _references(numbers: Any, count: int) -> list[Reference]:  # noqa: ANN401  # a pointer of cffi
    each = iter(ffi.unpack(numbers, 4 * count))
    return list(map(Reference._make, zip(each, each, each, each, strict=True)))
