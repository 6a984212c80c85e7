"""
What does a straight run of AArch64 instructions do to the control flow, and which addresses does it name?

Addresses are made of parts: a page by `adrp`, the rest by an addition or by the offset of an access, which
may stand far behind and on the other side of a branch.  What registers hold of an address is therefore
carried from run to run, on the paths by which runs are found.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Final, TypeAlias

from shim.analysis.aarch64.instruction import Instruction, Mode, Op, decode
from shim.analysis.aarch64.registers import FP, SP, X16, X17, ZERO
from shim.analysis.functions import Functions
from shim.analysis.registers import NONE, WORD
from shim.analysis.runs import MARK, MARK_RUN, MAX_RUN, Abi, Ending, Reference, Run, Use
from shim.elf.image import ElfImage, Segment
from shim.elf.memory import Memory


class Holds:
    """What is known of a register: a page, a whole address, something behind one, the start of a number."""

    PAGE: Final = 1
    ADDRESS: Final = 2
    BEHIND: Final = 3
    NUMBER: Final = 4


# A register, or a slot of the frame as (base register, offset).
_Holder: TypeAlias = int | tuple[int, int]
# What holds something -> (value, what it is).
Known: TypeAlias = dict[_Holder, tuple[int, int]]


class Region:
    """The bytes that one executable segment has in its file, and which of them have been decoded."""

    __slots__ = ("absolute", "end", "highest", "lowest", "marks", "start", "words")

    def __init__(self, image: ElfImage, segment: Segment, memory: Memory) -> None:
        code = memory.read(segment.address, segment.file_size)
        skipped = -segment.address % 4
        count = max(len(code) - skipped, 0) // 4
        self.words = struct.unpack_from(f"<{count}I", code, skipped) if count else ()
        self.start = segment.address + skipped
        self.end = self.start + 4 * count
        self.marks = bytearray(4 * count + 16)
        self.lowest, self.highest = image.segments[0].address, image.segments[-1].end
        self.absolute = image.kind == "ET_EXEC"


class Disassembler:
    """Decodes runs out of the executable segments of one process, each word once."""

    def __init__(self, memory: Memory, functions: Functions) -> None:
        self.regions = [
            Region(image, segment, memory)
            for image in memory.images
            for segment in image.segments
            if segment.executable
        ]
        self.regions.sort(key=lambda region: region.start)
        self._starts = [region.start for region in self.regions]
        self._functions = functions
        self._decoded: dict[int, Instruction] = {}
        self._arriving: dict[int, Known] = {}
        self._leaving: dict[int, Known] = {}

    def region(self, address: int) -> Region | None:
        """Return the region with `address` inside the bytes that the file has for it, or None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        region = self.regions[index]
        return region if address < region.end else None

    def instructions(self, start: int, end: int) -> list[Instruction]:
        """Return the instructions from `start` up to `end`; none where `start` is no multiple of four."""
        region = self.region(start)
        if region is None or start % 4:
            return []
        return [self._at(region, ip) for ip in range(start, min(end, region.end), 4)]

    def starts(self, start: int, end: int) -> list[int]:
        """Return where the instructions from `start` up to `end` begin; none outside the file's code."""
        region = self.region(start)
        return [] if region is None or start % 4 else list(range(start, min(end, region.end), 4))

    def behind(self, ip: int) -> int:
        """Return the address behind the instruction at `ip`."""
        return ip + 4

    def faults(self, start: int) -> bool:
        """Whether code at `start` runs into words that are no instruction before it could jump anywhere."""
        region = self.region(start)
        if region is None or start % 4:
            return True
        for ip in range(start, region.end, 4):
            instruction = self._at(region, ip)
            if instruction.op in (Op.INVALID, Op.TRAP):
                return True
            if instruction.op in _LEAVES or region.marks[ip + 4 - region.start]:
                return False
        return True

    def inside_instruction(self, address: int) -> bool:
        """Whether `address` is between instructions: none is longer than the distance of two."""
        return bool(address % 4)

    def carry(self, run: Run, targets: tuple[int, ...]) -> None:
        """Take what registers hold at the end of a run along to where it jumps."""
        for target in targets:
            self._arrive(target, self._leaving.get(run.last, {}))

    def run(self, start: int, returning: set[int]) -> Run:
        """
        Return the run that begins at `start`, and mark what it covers.

        It ends as `runs.Disassembler.run` says.
        """
        run = Run(start, start, 0, Ending.INVALID, 0, [], [], [], [], [])
        region = self.region(start)
        if region is None or start % 4:
            return run
        tracker = _Tracker(region, run.references, self._arrived(region, start))
        region.marks[start - region.start] = MARK_RUN
        limit = min(start + MAX_RUN, region.end)
        ip = start
        while True:
            instruction = self._at(region, ip)
            if instruction.op == Op.INVALID:
                run.end = ip
                return run
            if instruction.op in _LEAVES and self._leaves(run, instruction, tracker, returning):
                return run
            tracker.follow(instruction)
            ip += 4
            if ip >= limit or region.marks[ip - region.start]:
                run.ending, run.end = Ending.FALL, ip
                if ip >= region.end:
                    run.ending = Ending.INVALID
                self._arrive(ip, tracker.known)
                return run
            region.marks[ip - region.start] = MARK

    def _leaves(self, run: Run, instruction: Instruction, tracker: _Tracker, returning: set[int]) -> bool:
        """Note what an instruction does to the control flow; return whether the run ends behind it."""
        ip, op, target = instruction.ip, instruction.op, instruction.immediate
        if op in (Op.BRANCH, Op.COMPARE_BRANCH, Op.TEST_BRANCH):
            run.branches.append((ip, target))
            self._arrive(target, tracker.known)
            return False
        if op == Op.SUPERVISOR:
            run.kernel_entries.append((ip, Abi.SYSCALL))
            return False
        if op == Op.CALL_REGISTER:
            run.indirect_calls.append(ip)
            return False
        if op == Op.CALL and target in returning:
            run.calls.append((ip, target))
            return False
        run.last, run.end, run.ending = ip, ip + 4, _ENDINGS[op]
        if op in (Op.JUMP, Op.CALL):
            run.target = target
            self._arrive(ip + 4 if op == Op.CALL else target, tracker.known)
        elif op == Op.JUMP_REGISTER:
            run.target = tracker.linkage_slot(instruction)
            self._leaving[ip] = dict(tracker.known)
        return True

    def _at(self, region: Region, ip: int) -> Instruction:
        instruction = self._decoded.get(ip)
        if instruction is None:
            instruction = self._decoded[ip] = decode(region.words[(ip - region.start) >> 2], ip)
        return instruction

    def _arrive(self, address: int, known: Known) -> None:
        """Add what registers hold on one path to an address; the first path to tell of a register counts."""
        before = self._arriving.get(address)
        if before is None:
            self._arriving[address] = dict(known)
        else:
            self._arriving[address] = {**known, **before}

    def _arrived(self, region: Region, start: int) -> Known:
        """
        Return what registers hold where a run begins.

        A function begins without; where no path is known (landing pads, computed jumps), what the code above
        it in the same function would leave.
        """
        if start in self._functions.starts:
            return {}
        if start in self._arriving:
            return dict(self._arriving[start])
        if not self._functions.inside_known(start):
            return {}
        above = _Tracker(region, [], {})
        for instruction in self.instructions(self._functions.extent(start).start, start):
            above.follow(instruction)
        return above.known


_ENDINGS: Final = {
    Op.JUMP: Ending.JUMP,
    Op.CALL: Ending.CALL,
    Op.JUMP_REGISTER: Ending.JUMP_INDIRECT,
    Op.RETURN: Ending.RETURN,
    Op.TRAP: Ending.STOP,
}
_LEAVES: Final = frozenset(
    {*_ENDINGS, Op.BRANCH, Op.COMPARE_BRANCH, Op.TEST_BRANCH, Op.SUPERVISOR, Op.CALL_REGISTER}
)


class _Tracker:
    """
    Follows parts of addresses through registers, and notes every address that is made or accessed.

    A call leaves everything as it was: a register that it may have changed is not read behind it, unless the
    compiler knows that it did not.
    """

    def __init__(self, region: Region, references: list[Reference], known: Known) -> None:
        self._region = region
        self._references = references
        self.known = known
        self._slot = (0, 0)

    def linkage_slot(self, jump: Instruction) -> int:
        """Return the slot that the code of a linkage table jumps through; 0 for any other jump."""
        loaded, slot = self._slot
        return slot if jump.first == X17 and loaded == jump.ip - 8 else 0

    def follow(self, instruction: Instruction) -> None:
        """Apply one instruction."""
        op, known = instruction.op, self.known
        if op in (Op.LOAD, Op.STORE) or instruction.variant == "memory":
            self._access(instruction)
            return
        if op == Op.CALL or not instruction.written:
            return
        held = None
        if op in (Op.ADD, Op.SUB) and instruction.width == 8:
            held = self._moved(instruction)
        elif op == Op.CONSTANT:
            held = self._made(instruction)
        elif op == Op.KEEP and instruction.first in known:
            value, what = known[instruction.first]
            value = value & ~(0xFFFF << instruction.shift) | instruction.immediate
            held = self._number(instruction.ip, value) if what in {Holds.NUMBER, Holds.ADDRESS} else None
        elif op == Op.OR and instruction.first == ZERO and instruction.width == 8:
            copied = instruction.shift == 0 and not instruction.variant
            held = known.get(instruction.second) if copied else None
        self._forget(instruction)
        if held is not None and instruction.destination not in {SP, ZERO}:
            known[instruction.destination] = held

    def _forget(self, instruction: Instruction) -> None:
        """Forget what is in the registers that an instruction writes, and in slots that move with them."""
        for register in instruction.written:
            self.known.pop(register, None)
            if register in _FRAME:
                for holder in [key for key in self.known if isinstance(key, tuple) and key[0] == register]:
                    del self.known[holder]

    def _made(self, instruction: Instruction) -> tuple[int, int]:
        value = instruction.immediate
        if instruction.name == "adrp":
            return value, Holds.PAGE
        if instruction.name == "adr":
            if self._is_behind_call(value):
                return value, Holds.NUMBER
            self._name(instruction.ip, value, Use.ADDRESS, 0)
            return value, Holds.ADDRESS
        return self._number(instruction.ip, value)

    def _is_behind_call(self, address: int) -> bool:
        """
        Whether control gets to an address by a return: Go passes its copying routines such addresses.
        """
        index = (address - self._region.start >> 2) - 1
        words = self._region.words
        return 0 <= index < len(words) and words[index] >> 26 == _BL

    def _number(self, ip: int, value: int) -> tuple[int, int]:
        """Take a number for an address where the image has no choice and it is one of its addresses."""
        if self._region.absolute and self._region.lowest <= value < self._region.highest:
            self._name(ip, value, Use.ADDRESS, 0)
            return value, Holds.ADDRESS
        return value, Holds.NUMBER

    def _moved(self, instruction: Instruction) -> tuple[int, int] | None:
        """Return what an addition leaves: the other part of an address, or something behind it."""
        held = self.known.get(instruction.first)
        if instruction.second != NONE:
            if instruction.op == Op.ADD and (held is None or held[1] == Holds.NUMBER):
                held = self.known.get(instruction.second)
            return None if held is None or held[1] == Holds.NUMBER else (held[0], Holds.BEHIND)
        if held is None or held[1] == Holds.NUMBER:
            return None
        distance = instruction.immediate if instruction.op == Op.ADD else -instruction.immediate
        value = held[0] + distance & WORD
        if held[1] == Holds.BEHIND:
            self._name(instruction.ip, value, Use.INDEXED, 0)
            return value, Holds.BEHIND
        self._name(instruction.ip, value, Use.ADDRESS, 0)
        return value, Holds.ADDRESS

    def _access(self, instruction: Instruction) -> None:
        ip, known = instruction.ip, self.known
        held = known.get(instruction.first)
        offset = instruction.immediate if instruction.mode != Mode.POST else 0
        if instruction.first == NONE:
            self._name(ip, instruction.immediate, Use.READ, instruction.size)
        elif held is not None and held[1] != Holds.NUMBER:
            value = held[0] + offset & WORD
            if held[1] == Holds.BEHIND or instruction.second != NONE:
                self._name(ip, value, Use.INDEXED, 0)
            else:
                self._accesses(instruction, value)
            if instruction.first == X16 and instruction.transfers == (X17,):
                self._slot = (ip, value)
        slots = self._slots(instruction)
        kept = [known.get(slot if instruction.op == Op.LOAD else register) for slot, register in slots]
        self._forget(instruction)
        for (slot, register), what in zip(slots, kept, strict=True):
            holder: _Holder = register if instruction.op == Op.LOAD else slot
            if what is None or holder == ZERO:
                known.pop(holder, None)
            else:
                known[holder] = what
        if (
            held is not None
            and instruction.mode != Mode.OFFSET
            and instruction.first not in instruction.transfers
        ):
            known[instruction.first] = (held[0] + instruction.immediate & WORD, held[1])

    def _slots(self, instruction: Instruction) -> list[tuple[tuple[int, int], int]]:
        """Return the slots of the frame that whole registers are stored to or loaded from, with these."""
        plain = instruction.mode == Mode.OFFSET and instruction.second == NONE and instruction.size == 8
        if instruction.first not in _FRAME or not plain or instruction.op == Op.OPAQUE:
            return []
        return [
            ((instruction.first, instruction.immediate + 8 * place), register)
            for place, register in enumerate(instruction.transfers)
        ]

    def _accesses(self, instruction: Instruction, address: int) -> None:
        """Note an access to known memory: one for each register of a pair, one for vectors."""
        use = Use.WRITE if instruction.op == Op.STORE else Use.READ
        size = instruction.size
        if not instruction.transfers:
            self._name(instruction.ip, address, use, 2 * size if instruction.name in {"ldp", "stp"} else size)
        for place in range(len(instruction.transfers)):
            self._name(instruction.ip, address + place * size, use, size)

    def _name(self, ip: int, address: int, use: int, size: int) -> None:
        if self._region.lowest <= address < self._region.highest:
            self._references.append(Reference(ip, address, use, size))


_FRAME: Final = frozenset({SP, FP})
_BL: Final = 0x25
_ADRP, _ADR, _ADD = 0x9000_0000, 0x1000_0000, 0x9100_0000


def named_addresses(memory: Memory) -> set[int]:
    """
    Return the 4-byte aligned addresses that code, reached or not, puts into registers.

    Only what stands close together; what is not found only makes objects and jump tables larger.
    """
    named: set[int] = set()
    for image in memory.images:
        lowest, highest = image.segments[0].address, image.segments[-1].end
        for segment in image.segments:
            if segment.executable:
                named |= {
                    address
                    for address in _pairs(Region(image, segment, memory))
                    if not address & 3 and lowest <= address < highest
                }
    return named


def _pairs(region: Region) -> set[int]:
    """Return what `adr`, and `adrp` with an `add` of the same register, make in one stretch of code."""
    found: set[int] = set()
    pages: dict[int, int] = {}
    ip = region.start - 4
    for word in region.words:
        ip += 4
        kind = word & 0x9F00_0000
        if kind == _ADRP:
            pages[word & 31] = decode(word, ip).immediate
        elif kind == _ADR:
            target = decode(word, ip).immediate
            if region.start <= target < region.end:  # elsewhere it may as well be data between functions
                found.add(target)
            pages.pop(word & 31, None)
        elif pages:
            if word & 0xFFC0_0000 == _ADD and word >> 5 & 31 in pages:
                found.add(pages[word >> 5 & 31] + (word >> 10 & 0xFFF))
            pages.pop(word & 31, None)
            if word & 0x7C00_0000 == 0x1400_0000 or word & 0xFE00_0000 == 0xD600_0000:
                pages.clear()
    return found
