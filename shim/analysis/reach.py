"""
Which instructions can the program execute?

From the entry and everything the startup code runs, over direct calls and jumps, jump tables, code
addresses that reachable code takes, and code pointers in data that reachable code can touch.  A call
continues behind the call only once the callee is seen to return, so code after `abort()` is not reached.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from shim.analysis.decode import Block, Disassembler, Ending, Reference, Use
from shim.analysis.functions import Functions
from shim.analysis.jumptables import ComputedJumpError, JumpTables
from shim.analysis.objects import DataObjects
from shim.elf.image import SHF_EXECINSTR
from shim.elf.memory import Memory
from shim.elf.unwind import landing_pads

MAX_BLOCK = 8192
# Marks in the map of decoded bytes: the first byte of a block, and any other.
_START = 2
_INSIDE = b"\x01"
MAX_COMPUTED_EXTENT = 65536


@dataclass(slots=True)
class Function:
    """
    What is known of a reached function.

    `waiting` are (address behind a call, calling function) that go on when this one returns;
    `returns_into` the functions that return when this one does, because they end by jumping to it.
    """

    entry: int
    returns: bool = False
    waiting: list[tuple[int, Function]] = field(default_factory=list)
    returns_into: list[Function] = field(default_factory=list)


class Edge(NamedTuple):
    """How `target` is reached: from the code at `ip` (0 for data and roots), with a word for people."""

    source: int
    target: int
    ip: int
    how: str


class Reach:
    """
    The reachable code of one program; filled by `run`.

    Attributes:
        blocks: Reachable blocks by start address.
        functions: Reached functions by entry.
        owner: The function that first reached each block.
        jump_targets: Resolved targets by block that ends in an indirect jump.
        address_taken: Code addresses that exist as values, with what makes them: ips, and 0 for data.
        unresolved: Jumps that could not be followed, as (address, reason).
        edges: How each function and data object was reached, first discovery first.
    """

    def __init__(
        self, memory: Memory, functions: Functions, disassembler: Disassembler, objects: DataObjects
    ) -> None:
        self._memory = memory
        self._known = functions
        self._disassembler = disassembler
        self._objects = objects
        self.blocks: dict[int, Block] = {}
        self._decoded = bytearray(memory.highest_code - memory.lowest)
        self.functions: dict[int, Function] = {}
        self.owner: dict[int, Function] = {}
        self._came_from: dict[int, int] = {}
        self.jump_targets: dict[int, tuple[int, ...]] = {}
        self.address_taken: dict[int, set[int]] = {}
        self.roots: list[int] = []
        self.edges: list[Edge] = []
        self.unresolved: list[tuple[int, str]] = []
        self._by_owner: dict[int, list[Block]] = {}
        self._queue: deque[tuple[int, Function, int]] = deque()
        self._seen_objects: set[int] = set()
        self._joined: set[tuple[int, int]] = set()
        self._boundaries: dict[int, frozenset[int]] = {}
        self._decodable: dict[int, bool] = {}
        self._tables = JumpTables(memory, disassembler, self.parent, functions.extent, objects.named)
        self._code = sorted(
            (section.address, section.address + section.size)
            for section in memory.image.sections
            if section.flags & SHF_EXECINSTR
        ) or [(segment.address, segment.end) for segment in memory.image.segments if segment.executable]

    def root(self, address: int, why: str) -> None:
        """Declare that the kernel or the startup code enters the program at `address`."""
        self.roots.append(address)
        self.edges.append(Edge(0, address, 0, why))
        self._enter(address)

    def root_data(self, extent: range, why: str) -> None:
        """Declare that the pointers in `extent` are used from the start."""
        self._touch(extent, 0, why)

    def run(self) -> None:
        """Follow everything that the roots can reach."""
        while self._queue:
            address, function, came_from = self._queue.popleft()
            self._explore(address, function, came_from)

    def block_at(self, address: int) -> Block:
        """Return the block that starts at `address`, decoding or splitting as needed."""
        block = self.blocks.get(address)
        if block is not None:
            return block
        offset = address - self._memory.lowest
        mapped = 0 <= offset < len(self._decoded)
        before = self._around(address) if mapped and self._decoded[offset] else None
        if before is not None and self._is_boundary(before, address):
            block = before.split(address)
            if before.start in self.owner:
                self.owner[address] = self.owner[before.start]
                self._came_from[address] = address - 1
            if before.start in self.jump_targets:
                self.jump_targets[address] = self.jump_targets.pop(before.start)
        else:
            block = self._disassembler.block(address, self.blocks)
        self.blocks[address] = block
        if mapped:
            if before is None:
                self._mark(offset, offset + block.end - address)
            self._decoded[offset] = _START
        return block

    def _mark(self, low: int, high: int) -> None:
        """Mark bytes as decoded, without forgetting blocks that start among them."""
        if self._decoded.find(_START, low, high) < 0:
            self._decoded[low:high] = _INSIDE * (high - low)
        else:
            self._decoded[low:high] = bytes(mark or 1 for mark in self._decoded[low:high])

    def _around(self, address: int) -> Block | None:
        """Return the block with `address` inside whose start is nearest, or None."""
        low = self._memory.lowest
        end = address - low + 1
        lowest = max(end - MAX_BLOCK, 0)
        while (offset := self._decoded.rfind(_START, lowest, end)) >= 0:
            block = self.blocks[offset + low]
            if address < block.end:
                return block
            end = offset
        return None

    def containing(self, address: int) -> Block | None:
        """Return a reachable block with `address` inside, or None."""
        block = self._around(address)
        return block if block is not None and block.start in self.owner else None

    def blocks_of(self, entry: int) -> list[Block]:
        """Return the blocks that were first reached from the function at `entry`."""
        if not self._by_owner:
            for start, function in self.owner.items():
                self._by_owner.setdefault(function.entry, []).append(self.blocks[start])
        return self._by_owner.get(entry, [])

    def parent(self, block: Block) -> Block | None:
        """Return the block from which `block` was first reached, or None at an entry."""
        came_from = self._came_from.get(block.start, 0)
        return self.containing(came_from) if came_from else None

    def _is_boundary(self, block: Block, address: int) -> bool:
        return any(
            instruction.ip == address
            for instruction in self._disassembler.instructions(block.start, block.end)
        )

    def _enter(self, entry: int) -> Function:
        function = self.functions.get(entry)
        if function is None:
            function = self.functions[entry] = Function(entry)
            self._queue.append((entry, function, 0))
            frame = self._known.frames.get(entry)
            if frame is not None and frame.lsda:
                for pad in landing_pads(frame, self._memory):
                    self._queue.append((pad, function, 0))
                if frame.personality:
                    self._take_code(frame.personality, entry, 0, "personality routine")
        return function

    def _explore(self, address: int, function: Function, came_from: int) -> None:
        """Follow one path inside `function` until it meets known blocks or ends."""
        while True:
            owner = self.owner.get(address)
            if owner is not None:
                if owner is not function:
                    self._returns_with(function, owner)
                block = self.blocks[address]
                if (
                    block.ending == Ending.JUMP_INDIRECT
                    and came_from
                    and (address, came_from) not in self._joined
                ):
                    self._joined.add((address, came_from))
                    self._jump_indirect(block, owner, self.containing(came_from))
                return
            block = self.block_at(address)
            if address in self.owner:
                continue
            self.owner[address] = function
            self._came_from[address] = came_from
            for reference in block.references:
                self._refer(reference, function, block)
            follow = self._leave(block, function)
            if follow is None:
                return
            address, came_from = follow, block.end - 1

    def _leave(self, block: Block, function: Function) -> int | None:
        """Apply the end of a block; return the address that control goes on to in the same function."""
        ending = block.ending
        if ending == Ending.FALL:
            return block.end
        if ending == Ending.BRANCH:
            self._jump(block.target, block, function)
            return block.end
        if ending == Ending.JUMP:
            self._jump(block.target, block, function)
        elif ending == Ending.CALL:
            return self._call(block.target, block, function)
        elif ending == Ending.CALL_INDIRECT:
            target = self.constant_pointer(block)
            return block.end if target is None else self._call(target, block, function)
        elif ending == Ending.RETURN:
            self._set_returns(function)
        elif ending == Ending.JUMP_INDIRECT:
            self._jump_indirect(block, function)
        return None

    def _call(self, target: int, block: Block, function: Function) -> int | None:
        if target == block.end:  # `call next; pop` reads the instruction pointer
            return block.end
        if target not in self.functions and not self._memory.executable(target):
            return None  # a weak symbol that nobody defines: the guarded call would fault
        self.edges.append(Edge(function.entry, target, block.last, "calls"))
        callee = self._enter(target)
        if callee.returns:
            return block.end
        callee.waiting.append((block.end, function))
        return None

    def _jump(self, target: int, block: Block, function: Function) -> None:
        if target in self._known.starts and target != function.entry:
            self.edges.append(Edge(function.entry, target, block.last, "jumps to"))
            self._returns_with(function, self._enter(target))
        else:
            self._queue.append((target, function, block.end - 1))

    def _jump_indirect(self, block: Block, function: Function, came_from: Block | None = None) -> None:
        """Follow an indirect jump; `came_from` is a further block that leads to one already followed."""
        target = self.constant_pointer(block)
        if target is not None:
            self._jump(target, block, function)
            return
        try:
            resolved = self._tables.resolve(block, came_from)
        except ComputedJumpError:
            targets = self._anywhere_in(block)
            if not targets:
                self.unresolved.append(
                    (block.last, "a jump whose target is computed, in a function of unknown extent")
                )
        else:
            if resolved is None:
                self._set_returns(function)
                return
            targets = resolved
        known = dict.fromkeys(self.jump_targets.get(block.start, ()))
        new = [target for target in dict.fromkeys(targets) if target not in known]
        self.jump_targets[block.start] = (*known, *new)
        for destination in new:
            self._jump(destination, block, function)

    def _anywhere_in(self, block: Block) -> tuple[int, ...]:
        """Return every instruction of the known function around `block`: a computed jump stays inside it."""
        extent = self._known.extent(block.start)
        if not self._known.inside_known(block.start) or len(extent) > MAX_COMPUTED_EXTENT:
            return ()
        return tuple(
            instruction.ip for instruction in self._disassembler.instructions(extent.start, extent.stop)
        )

    def constant_pointer(self, block: Block) -> int | None:
        """Return where a call or jump through a pointer goes, if the program cannot change that pointer."""
        if block.target == 0 or not self._memory.constant(block.target):
            return None
        if block.target in self._memory.relocations.resolvers:
            return None
        value = self._memory.word(block.target, 8)
        return value if value and self._memory.executable(value) else None

    def _set_returns(self, function: Function) -> None:
        pending = [function]
        while pending:
            current = pending.pop()
            if current.returns:
                continue
            current.returns = True
            pending += current.returns_into
            for behind, caller in current.waiting:
                self._queue.append((behind, caller, behind - 1))
            current.waiting.clear()

    def _returns_with(self, function: Function, other: Function) -> None:
        if other.returns:
            self._set_returns(function)
        elif not function.returns:
            other.returns_into.append(function)

    def _refer(self, reference: Reference, function: Function, block: Block) -> None:
        address = reference.address
        if self._is_code(address) and reference.use == Use.ADDRESS:
            self._take_code(address, function.entry, reference.ip, "takes the address of")
        elif reference.use == Use.READ:
            self._read_slot(reference, function, block)
        elif reference.use != Use.WRITE:
            for extent in self._objects.reachable_from(address):
                self._touch(extent, function.entry, "uses data that points to")

    def _read_slot(self, reference: Reference, function: Function, block: Block) -> None:
        """A scalar read reaches what the slot points to, not the rest of the object that holds the slot."""
        slot = range(reference.address, reference.address + reference.size)
        if reference.ip == block.last and self.constant_pointer(block) is not None:
            return
        for value in self._objects.pointers(slot):
            if self._is_code(value):
                self._take_code(value, function.entry, reference.ip, "reads a pointer to")
            elif self._memory.segment(value) is not None:
                for extent in self._objects.reachable_from(value):
                    self._touch(extent, function.entry, "reads a pointer to data that points to")

    def _is_code(self, address: int) -> bool:
        """
        Whether a value is taken for a code address.

        Known functions need not cover all code (busybox is built without unwind tables, next to a libc that
        has them), so an address in a gap counts unless the processor would fault before the first jump.
        Inside a known function a number in data is an address only if an instruction begins there.
        """
        if not any(low <= address < high for low, high in self._code):
            return False
        if address in self._known.starts or address in self.blocks:
            return True
        if address not in self._decodable:
            whole = self._disassembler.block(address, self.blocks).ending != Ending.INVALID
            self._decodable[address] = whole and self._begins_instruction(address)
        return self._decodable[address]

    def _begins_instruction(self, address: int) -> bool:
        """Whether an instruction of the known function around `address` begins there; outside any, it may."""
        if not self._known.inside_known(address):
            return True
        extent = self._known.extent(address)
        if extent.start not in self._boundaries:
            instructions = self._disassembler.instructions(extent.start, extent.stop)
            self._boundaries[extent.start] = frozenset(instruction.ip for instruction in instructions)
        return address in self._boundaries[extent.start]

    def _take_code(self, address: int, source: int, ip: int, how: str) -> None:
        if address not in self.address_taken:
            self.edges.append(Edge(source, address, ip, how))
        self.address_taken.setdefault(address, set()).add(ip)
        self._enter(address)

    def _touch(self, extent: range, source: int, how: str) -> None:
        if extent.start in self._seen_objects:
            return
        self._seen_objects.add(extent.start)
        self._pointers(extent, source, how)

    def _pointers(self, extent: range, source: int, how: str) -> None:
        pending = [extent]
        while pending:
            for value in self._objects.pointers(pending.pop()):
                if self._is_code(value):
                    self._take_code(value, source, 0, how)
                elif self._memory.segment(value) is not None:
                    for target in self._objects.reachable_from(value):
                        if target.start not in self._seen_objects:
                            self._seen_objects.add(target.start)
                            pending.append(target)
