"""
What does a straight run of instructions do to the control flow, and which addresses does it name?

The only module beside `values` and `jumptables` that sees the disassembler.  It decides nothing about
reachability: it turns bytes at an address into a `Block`.
"""

from __future__ import annotations

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

from shim.elf.memory import Memory


class Ending:
    """How control leaves a block.  Plain numbers: they are compared a million times in one analysis."""

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
class Block:
    """
    Instructions `start`..`end` that run in order.

    `target` is the direct target of the last instruction, or the address of the pointer it goes through
    when that is a constant, or 0.  `last` is the address of the last instruction.
    """

    start: int
    end: int
    last: int
    ending: int
    target: int
    references: list[Reference]
    kernel_entries: list[tuple[int, int]]

    def split(self, address: int) -> Block:
        """Cut the block at `address`, an instruction boundary inside it, and return the second part."""
        tail = Block(
            address,
            self.end,
            self.last,
            self.ending,
            self.target,
            [reference for reference in self.references if reference.ip >= address],
            [entry for entry in self.kernel_entries if entry[0] >= address],
        )
        self.references = [reference for reference in self.references if reference.ip < address]
        self.kernel_entries = [entry for entry in self.kernel_entries if entry[0] < address]
        self.end, self.ending, self.target, self.last = address, Ending.FALL, 0, 0
        return tail


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
_DIRECT = (Ending.JUMP, Ending.BRANCH, Ending.CALL)


class Disassembler:
    """
    Decodes blocks out of the executable segments of one program.

    What an opcode can do is asked of the disassembler once per opcode and then looked up.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._decoders = [
            (
                segment.address,
                segment.end,
                Decoder(64, memory.read(segment.address, segment.file_size), ip=segment.address),
            )
            for segment in memory.image.segments
            if segment.executable
        ]
        self._traits: dict[int, int] = {}
        self._write_only: dict[int, bool] = {}
        self._info = InstructionInfoFactory()
        self._instruction = Instruction()

    def _at(self, address: int) -> Decoder | None:
        for low, high, decoder in self._decoders:
            if low <= address < high:
                if address - low > decoder.max_position:
                    return None
                decoder.ip = address
                decoder.position = address - low
                return decoder
        return None

    def instructions(self, start: int, end: int) -> list[Instruction]:
        """Return the instructions from `start` up to `end`."""
        decoder = self._at(start)
        result = []
        while decoder is not None and decoder.can_decode and decoder.ip < end:
            result.append(decoder.decode())
        return result

    def block(self, start: int, stops: dict[int, Block]) -> Block:
        """
        Return the block that begins at `start` and ends before the next key of `stops` at the latest.

        A block that runs into bytes that are no instruction, or out of the segment, ends in INVALID: the
        processor would fault there.
        """
        decoder = self._at(start)
        block = Block(start, start, 0, Ending.INVALID, 0, [], [])
        if decoder is None:
            return block
        traits = self._traits
        instruction = self._instruction
        decode = decoder.decode_out
        while True:  # bytes that are no instruction, and the end of the segment, decode as INVALID
            decode(instruction)
            try:
                trait = traits[instruction.code]
            except KeyError:
                trait = self._learn(instruction)
            if trait:
                if trait & _MEMORY and instruction.memory_displ_size > 1:
                    self._memory_reference(instruction, block.references)
                if trait & _IMMEDIATE:
                    self._immediate_reference(instruction, trait >> _OPERAND_SHIFT & 7, block.references)
                ending = trait >> _ENDING_SHIFT
                if ending:
                    return self._finish(block, instruction, ending)
                if trait & _SPECIAL and self._special(instruction, block):
                    return block
            end = decoder.ip
            if end in stops:
                block.ending, block.end = Ending.FALL, end
                return block

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
        if not self._memory.position_independent:
            for operand in range(instruction.op_count):
                if instruction.op_kind(operand) in _IMMEDIATES:
                    trait |= _IMMEDIATE | operand << _OPERAND_SHIFT
        if any("MEM" in _OPERAND_KINDS[kind] for kind in instruction.op_code().op_kinds()):
            trait |= _MEMORY
        self._traits[code] = trait
        return trait

    def _finish(self, block: Block, instruction: Instruction, ending: int) -> Block:
        block.ending, block.last, block.end = ending, instruction.ip, instruction.next_ip
        if ending in _DIRECT:
            block.target = instruction.near_branch_target
        elif ending in (Ending.CALL_INDIRECT, Ending.JUMP_INDIRECT) and instruction.op0_kind == OpKind.MEMORY:
            block.target = self._constant_address(instruction)
        return block

    def _special(self, instruction: Instruction, block: Block) -> bool:
        """Record a kernel entry, or finish the block; return whether it is finished."""
        code = instruction.code
        if code == Code.INVALID:
            block.end = instruction.ip
            return True
        if code in _ABIS:
            block.kernel_entries.append((instruction.ip, _ABIS[code]))
        elif code == Code.INT_IMM8 and instruction.immediate8 == 0x80:
            block.kernel_entries.append((instruction.ip, Abi.INT80))
        elif instruction.mnemonic == Mnemonic.XBEGIN:
            self._finish(block, instruction, Ending.BRANCH)
            return True
        elif code == Code.INT3 and self._memory.read(instruction.next_ip, 1) == b"\xcc":
            # Padding is int3 after int3; a single one may be a breakpoint that a handler steps over.
            self._finish(block, instruction, Ending.STOP)
            return True
        return False

    def _constant_address(self, instruction: Instruction) -> int:
        if instruction.is_ip_rel_memory_operand:
            return instruction.ip_rel_memory_address
        if instruction.memory_base == Register.NONE and instruction.memory_index == Register.NONE:
            return instruction.memory_displacement if instruction.segment_prefix == Register.NONE else 0
        return 0

    def _immediate_reference(
        self, instruction: Instruction, operand: int, references: list[Reference]
    ) -> None:
        value = instruction.immediate(operand)
        if self._memory.lowest <= value < self._memory.highest:
            references.append(Reference(instruction.ip, value, Use.ADDRESS, 0))

    def _memory_reference(self, instruction: Instruction, references: list[Reference]) -> None:
        scalar = True
        if instruction.is_ip_rel_memory_operand:
            address = instruction.ip_rel_memory_address
        elif self._memory.position_independent:
            return
        else:
            address = instruction.memory_displacement
            if not self._memory.lowest <= address < self._memory.highest:
                return
            scalar = instruction.memory_base == Register.NONE and instruction.memory_index == Register.NONE
        if not self._memory.lowest <= address < self._memory.highest or instruction.mnemonic == Mnemonic.NOP:
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
