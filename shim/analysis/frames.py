"""
Where do the stack pointer and the frame pointer stand at an instruction, relative to the function's entry?

Follows one path from the entry; compilers keep the stack depth the same on every path to a place.
"""

from __future__ import annotations

from dataclasses import dataclass

from iced_x86 import Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register

from shim.analysis.blocks import Block, Blocks
from shim.analysis.decode import Disassembler, Ending
from shim.analysis.reach import Function
from shim.analysis.registers import FULL, NONE, R11, RAX, RBP, RCX, RSP, signed

# A place in a frame: (base, offset). The base is the address of the function's entry, where the offset 0 is
# the stack pointer on entry, or minus the address of an instruction that aligned the stack pointer.
Place = tuple[int, int]
REACH_OF_ADDRESS = 256


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known of rsp and rbp; None where a register is no known place in the frame."""

    rsp: Place | None
    rbp: Place | None


@dataclass(slots=True)
class Listing:
    """The instructions of a block, the full registers each writes, and the frame before each."""

    block: Block
    instructions: list[Instruction]
    writes: list[frozenset[int]]
    frames: list[Frame]

    def index_of(self, ip: int) -> int:
        """
        Return the index of the instruction at `ip`.

        Raises:
            ValueError: no instruction of the block begins there; the caller's bug.
        """
        return [instruction.ip for instruction in self.instructions].index(ip)

    @property
    def last_index(self) -> int:
        """The index of what ends the block; the number of instructions if it falls through."""
        return len(self.instructions) - (1 if self.block.last else 0)


# Their first operand is read; Go's functions begin by comparing rsp with a limit.
_ONLY_READ = frozenset(
    {
        Mnemonic.CMP,
        Mnemonic.TEST,
        Mnemonic.PUSH,
        Mnemonic.CALL,
        Mnemonic.JMP,
        Mnemonic.BT,
        Mnemonic.MUL,
        Mnemonic.DIV,
    }
)
_STRING_TARGETS = (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI, OpKind.MEMORY_ESDI)
_STORES = (OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)
_LOADS = (OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)
_KERNEL_CLOBBERS = frozenset({RAX, RCX, R11})


class Listings:
    """Instructions with their frames, decoded again only where a question is asked, and then kept."""

    def __init__(self, blocks: Blocks, disassembler: Disassembler) -> None:
        self._blocks = blocks
        self._disassembler = disassembler
        self._listings: dict[int, Listing] = {}
        self._outgoing: dict[int, Frame] = {}
        self._taken: dict[int, set[Place]] = {}
        self._info = InstructionInfoFactory()

    def listing(self, block: Block) -> Listing:
        """Return the listing of a reachable block."""
        known = self._listings.get(block.start)
        if known is None:
            known = self._make(block)
            self._listings[block.start] = known
        return known

    def reads(self, instruction: Instruction, register: int) -> bool:
        """Whether `instruction` reads any part of the full register `register`."""
        return any(
            used.access in _LOADS and FULL[used.register] == register
            for used in self._info.info(instruction).used_registers()
        )

    def stores_to_memory(self, instruction: Instruction) -> bool:
        """Whether the first operand of `instruction` is memory that it writes."""
        if instruction.op_count and instruction.op0_kind in _STRING_TARGETS:
            return True
        if instruction.op_count == 0 or instruction.op0_kind != OpKind.MEMORY:
            return False
        return self._info.info(instruction).op0_access in _STORES

    def address_taken(self, function: Function, place: Place) -> bool:
        """
        Whether `function` computes an address from which `place` may be reached.

        An object extends upward from the address that is taken of it, so an address counts if it is the place
        or lies below it by less than `REACH_OF_ADDRESS` bytes.
        """
        taken = self._taken.get(function.entry)
        if taken is None:
            taken = set()
            for block in self._blocks.of(function):
                listing = self.listing(block)
                for instruction, frame in zip(listing.instructions, listing.frames, strict=True):
                    if instruction.mnemonic == Mnemonic.LEA and instruction.op0_register not in (
                        RSP,
                        RBP,
                    ):
                        named = place_of_memory(frame, instruction)
                        if named is not None:
                            taken.add(named)
            self._taken[function.entry] = taken
        return any(base == place[0] and 0 <= place[1] - offset < REACH_OF_ADDRESS for base, offset in taken)

    def _make(self, block: Block) -> Listing:
        instructions = self._disassembler.instructions(block.start, block.end)
        writes = []
        frames = []
        frame = self._incoming(block)
        for instruction in instructions:
            writes.append(self._written(instruction))
            frames.append(frame)
            frame = step(frame, instruction)
        return Listing(block, instructions, writes, frames)

    def _written(self, instruction: Instruction) -> frozenset[int]:
        if instruction.mnemonic in (Mnemonic.SYSCALL, Mnemonic.INT, Mnemonic.SYSENTER):
            return _KERNEL_CLOBBERS
        return frozenset(
            FULL[used.register]
            for used in self._info.info(instruction).used_registers()
            if used.access in _STORES
        )

    def _incoming(self, block: Block) -> Frame:
        """Return the frame at the start of `block`: what its first discoverer left, from the entry on."""
        chain, seen = [block], {block.start}
        while (parent := self._blocks.parent(chain[-1])) is not None and parent.start not in self._outgoing:
            if parent.start in seen:
                return Frame(
                    None, None
                )  # damaged code can overlap itself so that its discovery runs in a circle
            seen.add(parent.start)
            chain.append(parent)
        frame = Frame((chain[-1].start, 0), None) if parent is None else self._outgoing[parent.start]
        for current in reversed(chain[1:]):
            for instruction in self._disassembler.instructions(current.start, current.end):
                if instruction.ip == current.last and current.ending in (Ending.CALL, Ending.CALL_INDIRECT):
                    break  # the callee takes its return address off the stack again
                frame = step(frame, instruction)
            self._outgoing[current.start] = frame
        return frame


def step(frame: Frame, instruction: Instruction) -> Frame:
    """Return the frame after `instruction`, which is no call."""
    mnemonic = instruction.mnemonic
    rsp, rbp = frame.rsp, frame.rbp
    destination: int = NONE
    if instruction.op_count and instruction.op0_kind == OpKind.REGISTER and mnemonic not in _ONLY_READ:
        destination = instruction.op0_register
    if mnemonic == Mnemonic.LEAVE:
        return Frame(_moved(rbp, 8), None)
    if destination == RBP:
        return Frame(_moved(rsp, instruction.stack_pointer_increment), _assigned(frame, instruction))
    if destination == RSP:
        if mnemonic == Mnemonic.AND:
            return Frame((-instruction.ip, 0), rbp)
        return Frame(_assigned(frame, instruction), rbp)
    if instruction.stack_pointer_increment:
        return Frame(_moved(rsp, instruction.stack_pointer_increment), rbp)
    return frame


def _moved(place: Place | None, distance: int) -> Place | None:
    return None if place is None else (place[0], place[1] + distance)


def _assigned(frame: Frame, instruction: Instruction) -> Place | None:
    """Return what an instruction with rsp or rbp as destination leaves there."""
    mnemonic = instruction.mnemonic
    own = frame.rsp if instruction.op0_register == RSP else frame.rbp
    if mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
        return _place_of(frame, instruction.op1_register)
    if mnemonic == Mnemonic.LEA and instruction.memory_index == NONE:
        return _moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))
    if mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and instruction.op1_kind != OpKind.REGISTER:
        if instruction.op1_kind == OpKind.MEMORY:
            return None
        distance = signed(instruction.immediate(1))
        return _moved(own, distance if mnemonic == Mnemonic.ADD else -distance)
    return None


def _place_of(frame: Frame, register: int) -> Place | None:
    if register == RSP:
        return frame.rsp
    return frame.rbp if register == RBP else None


def place_of_memory(frame: Frame, instruction: Instruction) -> Place | None:
    """Return the place in the frame that the memory operand of `instruction` names, or None."""
    if instruction.memory_index != NONE or instruction.segment_prefix in (Register.FS, Register.GS):
        return None
    return _moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))


def indexed_place(frame: Frame, instruction: Instruction) -> Place | None:
    """Return where an array of the frame begins that the memory operand indexes, or None."""
    if instruction.memory_index == NONE:
        return None
    return _moved(_place_of(frame, instruction.memory_base), signed(instruction.memory_displacement))


def is_absolute(instruction: Instruction) -> bool:
    """Whether the memory operand is a variable or thread-local, so that it is in no frame."""
    if instruction.op0_kind in _STRING_TARGETS:
        return False
    named = instruction.memory_base == NONE and instruction.memory_index == NONE
    return (
        named
        or instruction.is_ip_rel_memory_operand
        or instruction.segment_prefix in {Register.FS, Register.GS}
    )
