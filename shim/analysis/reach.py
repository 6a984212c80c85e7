"""
Which instructions can the process execute?

From the entries and everything the startup code runs, over direct calls and jumps, jump tables, code
addresses that reachable code takes, and code pointers in data that reachable code can touch.  A call
continues behind the call only once the callee is seen to return, so code after `abort()` is not reached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from shim.analysis.architecture import Architecture, Surroundings
from shim.analysis.explore import Exploration, Function, Owners, Runs
from shim.analysis.functions import Functions
from shim.analysis.jumptables import ComputedJumpError
from shim.analysis.objects import DataObjects
from shim.analysis.runs import Disassembler, Reference, Run, Use
from shim.elf.image import SHF_EXECINSTR
from shim.elf.memory import Memory
from shim.elf.unwind import landing_pads

__all__ = ["Function", "Reach"]

MAX_COMPUTED_EXTENT = 65536
# Paths to jumps through tables that one function can have: LLVM's largest has 9510.
MAX_PATHS = 100_000


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
        pointer_reads: For each data address that code reads out of a slot, where it does.
        pointed: Data addresses that reached data holds.
        named_data: Data addresses that reachable code or reachable data names.
        holds: For each data object that reachable code touches, by its start, what it points to: entries of
            functions and starts of other objects.
        roots: What the kernel, the loader or the startup code enters, with a word for people.
        root_objects: Data that they walk, likewise.
    """

    def __init__(
        self,
        memory: Memory,
        functions: Functions,
        disassembler: Disassembler,
        objects: DataObjects,
        architecture: Architecture,
    ) -> None:
        self._memory = memory
        self._known = functions
        self._disassembler = disassembler
        self._objects = objects
        unwound = {entry for entry, frame in functions.frames.items() if frame.lsda}
        self._exploration = Exploration(disassembler, functions.starts, unwound, self)
        self.runs: Mapping[int, Run] = Runs(self._exploration)
        self.owner: Mapping[int, Function] = Owners(self._exploration)
        self.functions: dict[int, Function] = self._exploration.functions
        self.callers: dict[int, list[int]] = self._exploration.callers
        self.entered: dict[int, list[int]] = self._exploration.entered
        self.jump_targets: dict[int, tuple[int, ...]] = {}
        self.address_taken: dict[int, set[int]] = {}
        self.roots: dict[int, str] = {}
        self.root_objects: dict[int, str] = {}
        self.holds: dict[int, list[int]] = {}
        self.unresolved: list[tuple[int, str]] = []
        self.named_data: set[int] = set()
        self.pointer_reads: dict[int, list[int]] = {}
        self.pointed: set[int] = set()
        # For each named data address the objects around it that hold pointers.
        self._pointing: dict[int, tuple[int, ...]] = {}
        # For each indirect jump what the last path to it gave.
        self._led_to: dict[int, tuple[int, ...]] = {}
        self._paths: dict[int, int] = {}
        self._starts: dict[int, tuple[int, ...]] = {}
        self._joined: set[tuple[int, int]] = set()
        self._boundaries: dict[int, frozenset[int]] = {}
        self._decodable: dict[int, bool] = {}
        self._tables = architecture.jump_tables(
            Surroundings(
                memory,
                disassembler,
                self.containing,
                self.came_from,
                functions.extent,
                self._begins_instruction,
                objects.named,
            )
        )
        self._code = _code_ranges(memory)
        self._code_starts = [low for low, _ in self._code]

    def root(self, address: int, why: str) -> None:
        """Declare that the kernel, the loader or the startup code enters the process at `address`."""
        self.roots.setdefault(address, why)
        self._exploration.enter(address)

    def root_data(self, extent: range, why: str) -> None:
        """Declare that the pointers in `extent` are used from the start."""
        self.root_objects.setdefault(extent.start, why)
        self._touch(extent)

    def root_object(self, address: int, why: str) -> None:
        """Declare that the pointers in the object at `address` are used from the start."""
        for extent in self._objects.reachable_from(address):
            self.root_data(extent, why)

    def run(self) -> None:
        """Follow everything that the roots can reach."""
        self._exploration.go()

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of every reachable run, in no order; some overlap."""
        return self._exploration.spans()

    def containing(self, address: int) -> Run | None:
        """Return a reachable run with an instruction at `address`, or around it; None where there is none."""
        return self._exploration.containing(address)

    def owner_of(self, address: int) -> int:
        """Return the entry of the function that first reached the code at `address`, 0 for none."""
        return self._exploration.owner_of(address)

    def blocks_of(self, function: Function) -> list[int]:
        """Return, in one list, (start, end, last, ending, target, start of its run) of each block."""
        return self._exploration.blocks_of(function)

    def edges_of(self, function: Function) -> list[int]:
        """Return, in one list, (number of the block, target, `Edge`, owner's entry) of each edge."""
        return self._exploration.edges_of(function)

    def references_of_all(self) -> list[Reference]:
        """Return what all reachable code names."""
        return self._exploration.all_references()

    def kernel_entries(self) -> list[tuple[int, int]]:
        """Return the address of every reachable instruction that enters the kernel, with its `Abi`."""
        return self._exploration.kernel_entries()

    def came_from(self, run: Run) -> int:
        """Return the address from which `run` was first reached, or 0 at an entry."""
        return self._exploration.came_from(run.start)

    def came_from_outside(self, start: int) -> bool:
        """Whether a run begins at `start` that no code of its function leads to: an entry, a landing pad."""
        return start in self.runs and not self._exploration.came_from(start)

    def begins(self, run: int, address: int) -> bool:
        """Whether an instruction of a run begins at `address`."""
        instructions = self._disassembler.instructions(self._exploration.head(run).start, address + 1)
        return bool(instructions) and instructions[-1].ip == address

    def executable(self, address: int) -> bool:
        """Whether code at `address` can run."""
        return self._memory.executable(address)

    def pointer(self, slot: int) -> int:
        """Return where a call through the pointer at `slot` goes, 0 if the program can change it."""
        return self.constant_pointer(slot) or 0

    def unwind(self, function: int) -> None:
        """Follow where unwinding through a new function goes on."""
        entry = self._exploration.entry(function)
        frame = self._known.frames[entry]
        for pad in landing_pads(frame, self._memory):
            self._exploration.later(pad, function, 0)
        if frame.personality:
            self._exploration.use(function, entry, frame.personality)
            self._take_code(frame.personality, 0)

    def references(self, run: int) -> None:
        """Look at what a new run names."""
        head = self._exploration.head(run)
        function, last, target = head.function, head.last, head.target
        each = iter(self._exploration.references(run))
        for ip, address, use, size in zip(each, each, each, each, strict=True):
            if use == Use.READ:
                if ip != last or self.constant_pointer(target) is None:
                    self._read_slot(range(address, address + size), ip, function)
            elif use == Use.ADDRESS and self._is_code(address):
                self._exploration.use(function, ip, address)
                self._take_code(address, ip)
            elif use != Use.WRITE:
                self._use_data(address, ip, function)

    def computed(self, run: int, start: int, came_from: int) -> None:
        """Follow an indirect jump on the path that came from `came_from` to `start` in its run."""
        head = self._exploration.head(run)
        if start != head.start:
            if (start, came_from) in self._joined:
                return
            self._joined.add((start, came_from))
        slot, last, function = head.target, head.last, head.function
        target = self.constant_pointer(slot)
        if target is None:
            self._jump_indirect(self._exploration.run(run), function, start, came_from)
            return
        self.jump_targets[last] = (target,)
        if slot in self._memory.relocations.bound:
            self._exploration.tail(target, last, function)
        else:
            self._exploration.jump(target, last, function)

    def _jump_indirect(self, run: Run, function: int, start: int, came_from: int) -> None:
        self._paths[function] = paths = self._paths.get(function, 0) + 1
        if paths > MAX_PATHS:
            if paths == MAX_PATHS + 1:
                why = f"more than {MAX_PATHS} paths lead to the jumps through tables of this function"
                self.unresolved.append((run.last, why))
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
                self._exploration.returns(function)
                return
            targets = resolved
        if targets is self._led_to.get(run.last):
            return
        self._led_to[run.last] = targets
        known = dict.fromkeys(self.jump_targets.get(run.last, ()))
        new = [target for target in dict.fromkeys(targets) if target not in known]
        self.jump_targets[run.last] = (*known, *new)
        for destination in new:
            self._exploration.jump(destination, run.last, function)

    def _anywhere_in(self, run: Run) -> tuple[int, ...]:
        """Return every instruction of the known function around `run`: a computed jump stays inside it."""
        extent = self._known.extent(run.last)
        if not self._known.inside_known(run.last) or len(extent) > MAX_COMPUTED_EXTENT:
            return ()
        return self._instructions(extent)

    def _instructions(self, extent: range) -> tuple[int, ...]:
        """Return where the instructions of a known function begin."""
        if extent.start not in self._starts:
            self._starts[extent.start] = tuple(self._disassembler.starts(extent.start, extent.stop))
        return self._starts[extent.start]

    def constant_pointer(self, slot: int) -> int | None:
        """Return where a call or jump through the pointer at `slot` goes, if the program cannot change it."""
        if slot == 0 or not self._memory.constant(slot):
            return None
        if slot in self._memory.relocations.resolvers:
            return None
        value = self._memory.word(slot, 8)
        return value if value and self._memory.executable(value) else None

    def _read_slot(self, slot: range, ip: int, function: int) -> None:
        """A scalar read reaches what the slot points to, not the rest of the object that holds the slot."""
        for value in self._objects.pointers(slot):
            if self._is_code(value):
                self._exploration.use(function, ip, value)
                self._take_code(value, ip)
            elif self._memory.segment(value) is not None:
                self.pointer_reads.setdefault(value, []).append(ip)
                self._use_data(value, ip, function)

    def _use_data(self, address: int, ip: int, function: int) -> None:
        pointing = self._pointing.get(address)
        if pointing is None:
            self.named_data.add(address)
            extents = self._objects.reachable_from(address)
            for extent in extents:
                self._touch(extent)
            pointing = tuple(extent.start for extent in extents if self.holds[extent.start])
            self._pointing[address] = pointing
        for start in pointing:
            self._exploration.use(function, ip, start)

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
            self._boundaries[extent.start] = frozenset(self._instructions(extent))
        return address in self._boundaries[extent.start]

    def _take_code(self, address: int, ip: int) -> None:
        self.address_taken.setdefault(address, set()).add(ip)
        self._exploration.enter(address)

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
                    self.pointed.add(value)
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
