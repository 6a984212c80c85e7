"""
Which instructions can the process execute?

From the entries and everything the startup code runs, over direct calls and jumps, jump tables, code
addresses that reachable code takes, and code pointers in data that reachable code can touch.  A call
continues behind the call only once the callee is seen to return, so code after `abort()` is not reached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

from shim.analysis.decode import (
    MARK,
    MARK_LEADER,
    MARK_RUN,
    MAX_RUN,
    Disassembler,
    Ending,
    Reference,
    Run,
    Use,
)
from shim.analysis.functions import Functions
from shim.analysis.jumptables import ComputedJumpError, JumpTables
from shim.analysis.objects import DataObjects
from shim.elf.image import SHF_EXECINSTR
from shim.elf.memory import Memory
from shim.elf.unwind import landing_pads

MAX_COMPUTED_EXTENT = 65536
_MARK_RUN = bytes((MARK_RUN,))


@dataclass(slots=True)
class Function:
    """
    What is known of a reached function.

    `waiting` are (address behind a call, calling function) that go on when this one returns;
    `returns_into` the functions that return when this one does, because they end by jumping to it;
    `runs` what was first reached from its entry; `uses` (address, target) of what its code calls, jumps to,
    takes the address of or reads: entries of functions, and starts of data objects in `Reach.holds`.
    """

    entry: int
    returns: bool = False
    waiting: list[tuple[int, Function]] = field(default_factory=list)
    returns_into: list[Function] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    uses: list[tuple[int, int]] = field(default_factory=list)


class Reach:
    """
    The reachable code of one process; filled by `run`.

    Attributes:
        runs: Reachable runs by start address.
        owner: The function that first reached each run.
        functions: Reached functions by entry.
        callers: For each function entry the addresses of instructions that call it, jump to it or fall into
        it.
        entered: For each address inside a function that another function jumps to, the jumps.
        jump_targets: Resolved targets by the address of an indirect jump.
        address_taken: Code addresses that exist as values, with what makes them: ips, and 0 for data.
        unresolved: Jumps that could not be followed, as (address, reason).
        named_data: Data addresses that reachable code or reachable data names.
        holds: For each data object that reachable code touches, by its start, what it points to: entries of
            functions and starts of other objects.
        roots: What the kernel, the loader or the startup code enters, with a word for people.
        root_objects: Data that they walk, likewise.
    """

    def __init__(
        self, memory: Memory, functions: Functions, disassembler: Disassembler, objects: DataObjects
    ) -> None:
        self._memory = memory
        self._known = functions
        self._disassembler = disassembler
        self._objects = objects
        self.runs: dict[int, Run] = {}
        self.owner: dict[int, Function] = {}
        self.functions: dict[int, Function] = {}
        self.callers: dict[int, list[int]] = {}
        self.entered: dict[int, list[int]] = {}
        self.jump_targets: dict[int, tuple[int, ...]] = {}
        self.address_taken: dict[int, set[int]] = {}
        self.roots: dict[int, str] = {}
        self.root_objects: dict[int, str] = {}
        self.holds: dict[int, list[int]] = {}
        self.unresolved: list[tuple[int, str]] = []
        self.named_data: set[int] = set()
        self._returning: set[int] = set()
        self._came_from: dict[int, int] = {}
        self._overlapping: set[int] = set()
        self._queue: deque[tuple[int, Function, int]] = deque()
        self._joined: set[tuple[int, int]] = set()
        self._boundaries: dict[int, frozenset[int]] = {}
        self._decodable: dict[int, bool] = {}
        self._tables = JumpTables(
            memory, disassembler, self.containing, self.came_from, functions.extent, objects.named
        )
        self._code = _code_ranges(memory)
        self._code_starts = [low for low, _ in self._code]

    def root(self, address: int, why: str) -> None:
        """Declare that the kernel, the loader or the startup code enters the process at `address`."""
        self.roots.setdefault(address, why)
        self._enter(address)

    def root_data(self, extent: range, why: str) -> None:
        """Declare that the pointers in `extent` are used from the start."""
        self.root_objects.setdefault(extent.start, why)
        self._touch(extent)

    def run(self) -> None:
        """Follow everything that the roots can reach."""
        while self._queue:
            address, function, came_from = self._queue.popleft()
            self._explore(address, function, came_from)

    def containing(self, address: int) -> Run | None:
        """Return a reachable run with an instruction at `address`, or around it; None where there is none."""
        region = self._disassembler.region(address)
        if region is None:
            return None
        end = address - region.start + 1
        lowest = max(end - MAX_RUN - 16, 0)
        around = None
        while (offset := region.marks.rfind(_MARK_RUN, lowest, end)) >= 0:
            run = self.runs.get(offset + region.start)
            if run is not None and address < run.end:
                if run.start not in self._overlapping or self._has_instruction(run, address):
                    return run
                around = around or run
            end = offset
        return around

    def came_from(self, run: Run) -> int:
        """Return the address from which `run` was first reached, or 0 at an entry."""
        return self._came_from.get(run.start, 0)

    def came_from_outside(self, start: int) -> bool:
        """Whether a run begins at `start` that no code of its function leads to: an entry, a landing pad."""
        return start in self.runs and not self._came_from.get(start, 0)

    def _has_instruction(self, run: Run, address: int) -> bool:
        instructions = self._disassembler.instructions(run.start, address + 1)
        return bool(instructions) and instructions[-1].ip == address

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
                    function.uses.append((entry, frame.personality))
                    self._take_code(frame.personality, 0)
        return function

    def _explore(self, address: int, function: Function, came_from: int) -> None:
        """Follow one path inside `function` until it meets known code or ends."""
        while True:
            region = self._disassembler.region(address)
            if region is not None and region.marks[address - region.start]:
                if region.marks[address - region.start] == MARK:
                    region.marks[address - region.start] = MARK_LEADER
                self._meet(address, function, came_from)
                return
            if self._disassembler.inside_instruction(address):
                around = self.containing(address)
                self._overlapping |= {address} if around is None else {address, around.start}
            run = self._disassembler.run(address, self._returning)
            self.runs[address] = run
            self.owner[address] = function
            function.runs.append(run)
            self._came_from[address] = came_from
            for reference in run.references:
                self._refer(reference, function, run)
            queue, last = self._queue, run.end - 1
            for ip, target in run.branches:
                if target in self._known.starts and target != function.entry:
                    self._tail(target, ip, function)
                else:
                    queue.append((target, function, ip))
            for ip, target in run.calls:
                function.uses.append((ip, target))
                self.callers.setdefault(target, []).append(ip)
            follow = self._leave(run, function)
            if follow is None:
                return
            address, came_from = follow, last

    def _meet(self, address: int, function: Function, came_from: int) -> None:
        """Join a path with code that is known already."""
        run = self.containing(address)
        if run is None:
            return
        owner = self.owner[run.start]
        if owner is not function:
            self._returns_with(function, owner)
            function.uses.append((came_from, owner.entry))
            if came_from and address not in self.functions:
                self.entered.setdefault(address, []).append(came_from)
        if came_from and address in self.functions:
            self.callers.setdefault(address, []).append(came_from)
        if (
            run.ending == Ending.JUMP_INDIRECT
            and came_from
            and (address, came_from) not in self._joined
            and not any(ip >= address for ip, _ in run.branches)
        ):
            self._joined.add((address, came_from))
            self._jump_indirect(run, owner, address, came_from)

    def _leave(self, run: Run, function: Function) -> int | None:
        """Apply the end of a run; return the address that control goes on to in the same function."""
        ending = run.ending
        if ending == Ending.FALL:
            if run.end in self.functions:
                self.callers.setdefault(run.end, []).append(run.end - 1)
            return run.end
        if ending == Ending.JUMP:
            self._jump(run.target, run.last, function)
        elif ending == Ending.CALL:
            return self._call(run.target, run, function)
        elif ending == Ending.CALL_INDIRECT:
            target = self.constant_pointer(run.target)
            if target is None:
                run.indirect_calls.append(run.last)
                return run.end
            return self._call(target, run, function)
        elif ending == Ending.RETURN:
            self._set_returns(function)
        elif ending == Ending.JUMP_INDIRECT:
            self._jump_indirect(run, function, run.start, self._came_from[run.start])
        return None

    def _call(self, target: int, run: Run, function: Function) -> int | None:
        if target not in self.functions and not self._memory.executable(target):
            return None  # a weak symbol that nobody defines: the guarded call would fault
        function.uses.append((run.last, target))
        self.callers.setdefault(target, []).append(run.last)
        callee = self._enter(target)
        if callee.returns:
            return run.end
        callee.waiting.append((run.end, function))
        return None

    def _jump(self, target: int, ip: int, function: Function) -> None:
        if target in self._known.starts and target != function.entry:
            self._tail(target, ip, function)
        else:
            self._queue.append((target, function, ip))

    def _tail(self, target: int, ip: int, function: Function) -> None:
        """Follow a jump to the start of another function."""
        function.uses.append((ip, target))
        self.callers.setdefault(target, []).append(ip)
        self._returns_with(function, self._enter(target))

    def _jump_indirect(self, run: Run, function: Function, start: int, came_from: int) -> None:
        """Follow an indirect jump on the path that came from `came_from` to `start` in its run."""
        target = self.constant_pointer(run.target)
        if target is not None:
            self.jump_targets[run.last] = (target,)
            if run.target in self._memory.relocations.bound:
                self._tail(target, run.last, function)
            else:
                self._jump(target, run.last, function)
            return
        try:
            resolved = self._tables.resolve(run, start, came_from)
        except ComputedJumpError:
            targets = self._anywhere_in(run)
            if not targets:
                self.unresolved.append(
                    (run.last, "a jump whose target is computed, in a function of unknown extent")
                )
        else:
            if resolved is None:
                self._set_returns(function)
                return
            targets = resolved
        known = dict.fromkeys(self.jump_targets.get(run.last, ()))
        new = [target for target in dict.fromkeys(targets) if target not in known]
        self.jump_targets[run.last] = (*known, *new)
        for destination in new:
            self._jump(destination, run.last, function)

    def _anywhere_in(self, run: Run) -> tuple[int, ...]:
        """Return every instruction of the known function around `run`: a computed jump stays inside it."""
        extent = self._known.extent(run.last)
        if not self._known.inside_known(run.last) or len(extent) > MAX_COMPUTED_EXTENT:
            return ()
        return tuple(
            instruction.ip for instruction in self._disassembler.instructions(extent.start, extent.stop)
        )

    def constant_pointer(self, slot: int) -> int | None:
        """Return where a call or jump through the pointer at `slot` goes, if the program cannot change it."""
        if slot == 0 or not self._memory.constant(slot):
            return None
        if slot in self._memory.relocations.resolvers:
            return None
        value = self._memory.word(slot, 8)
        return value if value and self._memory.executable(value) else None

    def _set_returns(self, function: Function) -> None:
        pending = [function]
        while pending:
            current = pending.pop()
            if current.returns:
                continue
            current.returns = True
            self._returning.add(current.entry)
            pending += current.returns_into
            for behind, caller in current.waiting:
                self._queue.append((behind, caller, behind - 1))
            current.waiting.clear()

    def _returns_with(self, function: Function, other: Function) -> None:
        if other.returns:
            self._set_returns(function)
        elif not function.returns:
            other.returns_into.append(function)

    def _refer(self, reference: Reference, function: Function, run: Run) -> None:
        address = reference.address
        if reference.use == Use.READ:
            self._read_slot(reference, function, run)
        elif reference.use == Use.ADDRESS and self._is_code(address):
            function.uses.append((reference.ip, address))
            self._take_code(address, reference.ip)
        elif reference.use != Use.WRITE:
            self._use_data(address, reference.ip, function)

    def _read_slot(self, reference: Reference, function: Function, run: Run) -> None:
        """A scalar read reaches what the slot points to, not the rest of the object that holds the slot."""
        slot = range(reference.address, reference.address + reference.size)
        if reference.ip == run.last and self.constant_pointer(run.target) is not None:
            return
        for value in self._objects.pointers(slot):
            if self._is_code(value):
                function.uses.append((reference.ip, value))
                self._take_code(value, reference.ip)
            elif self._memory.segment(value) is not None:
                self._use_data(value, reference.ip, function)

    def _use_data(self, address: int, ip: int, function: Function) -> None:
        self.named_data.add(address)
        for extent in self._objects.reachable_from(address):
            self._touch(extent)
            if self.holds[extent.start]:
                function.uses.append((ip, extent.start))

    def _is_code(self, address: int) -> bool:
        """
        Whether a value is taken for a code address.

        Known functions need not cover all code (busybox is built without unwind tables, next to a libc that
        has them), so an address in a gap counts unless the processor would fault before the first jump.
        Inside a known function a number in data is an address only if an instruction begins there.
        """
        index = bisect_right(self._code_starts, address) - 1
        if index < 0 or address >= self._code[index][1]:
            return False
        if address in self._known.starts or address in self.runs:
            return True
        if address not in self._decodable:
            faults = self._disassembler.faults(address)
            self._decodable[address] = not faults and self._begins_instruction(address)
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

    def _take_code(self, address: int, ip: int) -> None:
        self.address_taken.setdefault(address, set()).add(ip)
        self._enter(address)

    def _touch(self, extent: range) -> None:
        """Follow every pointer in a data object, and in what it points to."""
        pending = [extent]
        while pending:
            current = pending.pop()
            if current.start in self.holds:
                continue
            held = self.holds[current.start] = []
            for value in self._objects.pointers(current):
                if self._is_code(value):
                    held.append(value)
                    self._take_code(value, 0)
                elif self._memory.segment(value) is not None:
                    self.named_data.add(value)
                    for target in self._objects.reachable_from(value):
                        held.append(target.start)
                        pending.append(target)


def _code_ranges(memory: Memory) -> list[tuple[int, int]]:
    """
    Return where code is: the executable sections of each image, or its executable segments if it has none.
    """
    ranges = []
    for image in memory.images:
        sections = [
            (section.address, section.address + section.size)
            for section in image.sections
            if section.flags & SHF_EXECINSTR
        ]
        ranges += sections or [(part.address, part.end) for part in image.segments if part.executable]
    return sorted(ranges)
