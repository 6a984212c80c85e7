"""
What does a straight run of instructions do to the control flow, and which addresses does it name?

The only module beside `values` and `jumptables` that sees the disassembler.  It decides nothing about
reachability: it turns bytes at an address into a `Run`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from iced_x86 import (
    Code,
    Decoder,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    OpCodeOperandKind,
    OpKind,
    Register,
)

from shim.elf.image import ElfImage, Segment
from shim.elf.memory import Memory


class Ending:
    """How control leaves a run or a block.  Plain numbers: they are compared a million times in one analysis."""

    FALL: Final = 1
    JUMP: Final = 2
    BRANCH: Final = 3
    CALL: Final = 4
    CALL_INDIRECT: Final = 5
    JUMP_INDIRECT: Final = 6
    RETURN: Final = 7
    STOP: Final = 8
    INVALID: Final = 9


class Use:
    """How an instruction names an address: itself, by a scalar access, or by one with a register in it."""

    ADDRESS: Final = 1
    READ: Final = 2
    WRITE: Final = 3
    INDEXED: Final = 4


class Abi:
    """Which way into the kernel an instruction takes."""

    SYSCALL: Final = 1
    INT80: Final = 2
    SYSENTER: Final = 3


@dataclass(slots=True)
class Reference:
    """Instruction `ip` names `address`; `size` in bytes for scalar accesses, else 0."""

    ip: int
    address: int
    use: int
    size: int


@dataclass(slots=True)
class Run:
    """
    Instructions `start`..`end` that follow one another, conditional branches and calls that return included.

    `target` is the direct target of the last instruction, or the address of the pointer it goes through
    when that is a constant, or 0.  `last` is the address of the last instruction, 0 if the run falls through.
    `branches` are (address, target) of conditional branches, `calls` (address, callee) of direct calls whose
    callee was known to return, `indirect_calls` addresses of calls through registers and computed pointers.
    """

    start: int
    end: int
    last: int
    ending: int
    target: int
    branches: list[tuple[int, int]]
    calls: list[tuple[int, int]]
    indirect_calls: list[int]
    references: list[Reference]
    kernel_entries: list[tuple[int, int]]


# What `Region.marks` holds for a byte: nothing decoded begins there, an instruction, one that something jumps to,
# the first of a run.
MARK: Final = 1
MARK_LEADER: Final = 2
MARK_RUN: Final = 3
MAX_RUN: Final = 4096
MAX_INSTRUCTION: Final = 15


class Region:
    """
    The bytes that one executable segment has in its file, and which of them have been decoded.

    `lowest`..`highest` is its image; with `absolute` the image has no choice where it is mapped, so that a number
    in that range may be an address.
    """

    __slots__ = ("absolute", "decoder", "end", "highest", "lowest", "marks", "start")

    def __init__(self, image: ElfImage, segment: Segment, decoder: Decoder) -> None:
        self.start = segment.address
        self.end = segment.address + segment.file_size
        self.lowest = image.segments[0].address
        self.highest = image.segments[-1].end
        self.absolute = image.kind == "ET_EXEC"
        self.decoder = decoder
        self.marks = bytearray(segment.file_size + 16)


_ENDINGS = {
    FlowControl.UNCONDITIONAL_BRANCH: Ending.JUMP,
    FlowControl.INDIRECT_BRANCH: Ending.JUMP_INDIRECT,
    FlowControl.CONDITIONAL_BRANCH: Ending.BRANCH,
    FlowControl.RETURN: Ending.RETURN,
    FlowControl.CALL: Ending.CALL,
    FlowControl.INDIRECT_CALL: Ending.CALL_INDIRECT,
    FlowControl.EXCEPTION: Ending.STOP,
}
_ABIS = {Code.SYSCALL: Abi.SYSCALL, Code.SYSENTER: Abi.SYSENTER}
_IMMEDIATES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)
_WRITES = (OpAccess.WRITE, OpAccess.COND_WRITE)

# What an opcode can be, as bits: one that `_special` looks at (kernel entries, padding), one with an
# address-sized immediate (its operand number in the bits above), one that may have a memory operand; and in
# the bits from 8 up the `Ending` that it makes.
_SPECIAL, _IMMEDIATE, _MEMORY, _OPERAND_SHIFT, _ENDING_SHIFT = 1, 2, 4, 3, 8
_OPERAND_KINDS = {value: name for name, value in vars(OpCodeOperandKind).items() if isinstance(value, int)}


class Disassembler:
    """
    Decodes runs out of the executable segments of one process, each byte once.

    What an opcode can do is asked of the disassembler once per opcode and then looked up.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.regions = [
            Region(
                image,
                segment,
                Decoder(64, memory.read(segment.address, segment.file_size), ip=segment.address),
            )
            for image in memory.images
            for segment in image.segments
            if segment.executable
        ]
        self.regions.sort(key=lambda region: region.start)
        self._starts = [region.start for region in self.regions]
        self._traits: dict[int, int] = {}
        self._write_only: dict[int, bool] = {}
        self._info = InstructionInfoFactory()
        self._instruction = Instruction()

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

        It ends where control surely leaves, at a call of something that is not in `returning`, before bytes that were
        decoded already, or after `MAX_RUN` bytes.  A run into bytes that are no instruction, or out of the segment,
        ends in INVALID: the processor would fault there.
        """
        run = Run(start, start, 0, Ending.INVALID, 0, [], [], [], [], [])
        region = self.region(start)
        if region is None:
            return run
        decoder, marks, low = region.decoder, region.marks, region.start
        decoder.ip, decoder.position = start, start - low
        traits, instruction, decode = self._traits, self._instruction, decoder.decode_out
        wanted = ~0 if region.absolute else ~_IMMEDIATE
        limit = min(start + MAX_RUN, region.end)
        marks[start - low] = MARK_RUN
        while True:  # bytes that are no instruction, and the end of the segment, decode as INVALID
            decode(instruction)
            try:
                trait = traits[instruction.code] & wanted
            except KeyError:
                trait = self._learn(instruction) & wanted
            if trait:
                if trait & _MEMORY and instruction.memory_displ_size > 1:
                    self._memory_reference(instruction, region, run.references)
                if trait & _IMMEDIATE:
                    self._immediate_reference(
                        instruction, region, trait >> _OPERAND_SHIFT & 7, run.references
                    )
                ending = trait >> _ENDING_SHIFT
                if ending == Ending.BRANCH:
                    run.branches.append((instruction.ip, instruction.near_branch_target))
                elif ending and self._leaves(run, instruction, ending, returning):
                    return run
                elif trait & _SPECIAL and self._special(instruction, run):
                    return run
            end = decoder.ip
            if end >= limit or marks[end - low]:
                run.ending, run.end = Ending.FALL, end
                return run
            marks[end - low] = MARK

    def _learn(self, instruction: Instruction) -> int:
        """Look one opcode up."""
        code, flow = instruction.code, instruction.flow_control
        trait = 0
        if instruction.mnemonic == Mnemonic.HLT:
            trait = Ending.STOP << _ENDING_SHIFT
        elif (
            code in _ABIS
            or code == Code.INVALID
            or flow in (FlowControl.INTERRUPT, FlowControl.XBEGIN_XABORT_XEND)
        ):
            trait = _SPECIAL
        elif flow != FlowControl.NEXT:
            trait = _ENDINGS[flow] << _ENDING_SHIFT
        for operand in range(instruction.op_count):
            if instruction.op_kind(operand) in _IMMEDIATES:
                trait |= _IMMEDIATE | operand << _OPERAND_SHIFT
        if any("MEM" in _OPERAND_KINDS[kind] for kind in instruction.op_code().op_kinds()):
            trait |= _MEMORY
        self._traits[code] = trait
        return trait

    def _leaves(self, run: Run, instruction: Instruction, ending: int, returning: set[int]) -> bool:
        """Record a call that goes on behind itself, or finish the run; return whether it is finished."""
        target = 0
        if ending in {Ending.JUMP, Ending.CALL}:
            target = instruction.near_branch_target
            if ending == Ending.CALL:
                if target == instruction.next_ip:  # `call next; pop` reads the instruction pointer
                    return False
                if target in returning:
                    run.calls.append((instruction.ip, target))
                    return False
        elif ending in {Ending.JUMP_INDIRECT, Ending.CALL_INDIRECT} and instruction.op0_kind == OpKind.MEMORY:
            target = self._constant_address(instruction)
        if ending == Ending.CALL_INDIRECT and not target:
            run.indirect_calls.append(instruction.ip)
            return False
        self._finish(run, instruction, ending, target)
        return True

    def _finish(self, run: Run, instruction: Instruction, ending: int, target: int) -> None:
        run.ending, run.last, run.end, run.target = ending, instruction.ip, instruction.next_ip, target

    def _special(self, instruction: Instruction, run: Run) -> bool:
        """Record a kernel entry, or finish the run; return whether it is finished."""
        code = instruction.code
        if code == Code.INVALID:
            run.end = instruction.ip
            return True
        if code in _ABIS:
            run.kernel_entries.append((instruction.ip, _ABIS[code]))
        elif code == Code.INT_IMM8 and instruction.immediate8 == 0x80:
            run.kernel_entries.append((instruction.ip, Abi.INT80))
        elif instruction.mnemonic == Mnemonic.XBEGIN:
            run.branches.append((instruction.ip, instruction.near_branch_target))
        elif code == Code.INT3 and self._memory.read(instruction.next_ip, 1) == b"\xcc":
            # Padding is int3 after int3; a single one may be a breakpoint that a handler steps over.
            self._finish(run, instruction, Ending.STOP, 0)
            return True
        return False

    def _constant_address(self, instruction: Instruction) -> int:
        if instruction.is_ip_rel_memory_operand:
            return instruction.ip_rel_memory_address
        if instruction.memory_base == Register.NONE and instruction.memory_index == Register.NONE:
            return instruction.memory_displacement if instruction.segment_prefix == Register.NONE else 0
        return 0

    def _immediate_reference(
        self, instruction: Instruction, region: Region, operand: int, references: list[Reference]
    ) -> None:
        value = instruction.immediate(operand)
        if region.lowest <= value < region.highest:
            references.append(Reference(instruction.ip, value, Use.ADDRESS, 0))

    def _memory_reference(
        self, instruction: Instruction, region: Region, references: list[Reference]
    ) -> None:
        scalar = True
        if instruction.is_ip_rel_memory_operand:
            address = instruction.ip_rel_memory_address
        elif not region.absolute:
            return
        else:
            address = instruction.memory_displacement
            scalar = instruction.memory_base == Register.NONE and instruction.memory_index == Register.NONE
        if not region.lowest <= address < region.highest or instruction.mnemonic == Mnemonic.NOP:
            return
        if instruction.mnemonic == Mnemonic.LEA:
            use, size = Use.ADDRESS, 0
        elif not scalar:
            use, size = Use.INDEXED, 0
        else:
            size = MemorySizeExt.size(instruction.memory_size)
            use = Use.WRITE if self._is_write_only(instruction) else Use.READ
        references.append(Reference(instruction.ip, address, use, size))

    def _is_write_only(self, instruction: Instruction) -> bool:
        code = instruction.code
        known = self._write_only.get(code)
        if known is None:
            known = (
                instruction.op0_kind == OpKind.MEMORY and self._info.info(instruction).op0_access in _WRITES
            )
            self._write_only[code] = known
        return known
