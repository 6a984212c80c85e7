"""
Which runs and functions were found from the entries of a process, in which order?

The bookkeeping of `reach` is followed in C (native/explore.c), because it takes a step for every branch of a
process; what needs a decision is asked through `Questions`.  Nothing here knows what an address means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Protocol

from shim.analysis._decode import ffi, lib
from shim.analysis.decode import Disassembler as NativeDisassembler
from shim.analysis.runs import Abi, Disassembler, Reference, Region, Run

NONE = (1 << 64) - 1
# Ways into the kernel as C reports them.
_WAYS = {Abi.SYSCALL: lib.X86_SYSCALL, Abi.INT80: lib.X86_INTERRUPT, Abi.SYSENTER: lib.X86_SYSENTER}
_ABIS = {way: abi for abi, way in _WAYS.items()}


class Edge:
    """Where a jump leads: into its function, to the entry of one, or elsewhere into another; as in C."""

    INSIDE: Final = int(lib.EXPLORE_INSIDE)
    ENTRY: Final = int(lib.EXPLORE_ENTRY)
    ELSEWHERE: Final = int(lib.EXPLORE_ELSEWHERE)


class Questions(Protocol):
    """What the exploration asks about what it found; runs and functions are numbers."""

    def references(self, run: int) -> None:
        """Look at what a new run names."""

    def unwind(self, function: int) -> None:
        """Add where unwinding through a new function goes on."""

    def pointer(self, slot: int) -> int:
        """Return where the pointer at `slot` leads; 0 if that can change."""

    def executable(self, address: int) -> bool:
        """Return whether code at `address` can run."""

    def computed(self, run: int, start: int, came_from: int) -> None:
        """Follow the indirect jump at the end of a run, on the path that came from there to `start`."""

    def begins(self, run: int, address: int) -> bool:
        """Return whether an instruction of the run begins at `address`."""


class Function:
    """
    What is known of a reached function.

    `uses` are (address, target) of what its code calls, jumps to, takes the address of or reads: entries of
    functions, and starts of data objects in `Reach.holds`.
    """

    __slots__ = ("_exploration", "entry", "number", "returns", "uses")

    def __init__(self, entry: int, exploration: Exploration, number: int) -> None:
        self.entry = entry
        self.returns = False
        self.uses: list[tuple[int, int]] = []
        self._exploration = exploration
        self.number = number

    @property
    def runs(self) -> list[Run]:
        """What was first reached from its entry."""
        return [self._exploration.run(number) for number in self._exploration.runs_of(self.number)]


class Exploration:
    """
    What was reached so far; filled by `go`.

    Attributes:
        functions: Reached functions by entry.
        callers: For each function entry the instructions that call it, jump to it or fall into it.
        entered: For each address inside a function that another function jumps to, the jumps.
    """

    def __init__(
        self,
        disassembler: Disassembler,
        starts: Collection[int],
        unwound: Collection[int],
        questions: Questions,
    ) -> None:
        self.functions: dict[int, Function] = {}
        self.callers: dict[int, list[int]] = {}
        self.entered: dict[int, list[int]] = {}
        self.error: BaseException | None = None
        self.questions = questions
        self._entries_that_return: set[int] = set()
        self._seen_to_return = 0
        self._numbered: list[Function] = []
        self._made: dict[int, Run] = {}
        self._held: list[Any] = []
        regions = [self._region(region) for region in disassembler.regions]
        self._regions = ffi.new("struct x86_region *[]", regions)
        self._disassembler = disassembler
        self._handle = ffi.new_handle(self)
        self._native: Any = ffi.gc(ffi.new("struct explore *"), lib.explore_release)
        native = self._native
        native.regions, native.region_count = self._regions, len(disassembler.regions)
        if isinstance(disassembler, NativeDisassembler):
            native.decoder.run, native.decoder.run_on = disassembler.native_run
        native.who = self._handle
        for question in ("references", "unwind", "pointer", "executable", "computed", "decode", "begins"):
            setattr(native.ask, question, getattr(lib, f"explore_{question}"))
        for address in starts:
            lib.explore_start(native, address, address in unwound)

    def _region(self, region: Region) -> Any:  # noqa: ANN401  # a structure of cffi
        """Return a region as C sees it."""
        if hasattr(region, "native"):
            return region.native
        native = ffi.new("struct x86_region *")
        native.marks = ffi.from_buffer("uint8_t[]", region.marks)
        native.start, native.size = region.start, region.end - region.start
        self._held += [native, native.marks]
        return native

    def decode(self, address: int) -> None:
        """Hand over the run at `address`, from a disassembler that is not in C."""
        overlapped = self._disassembler.inside_instruction(address)
        run = self._disassembler.run(address, self._returning())
        for ip, target in run.calls:
            lib.explore_call(self._native, ip, target)
        native = self._native.run
        native.end, native.last, native.ending, native.target = run.end, run.last, run.ending, run.target
        native.overlapped = overlapped
        native.branch_count = len(run.branches)
        native.branches[0 : len(run.branches)] = run.branches
        native.indirect_call_count = len(run.indirect_calls)
        native.indirect_calls[0 : len(run.indirect_calls)] = run.indirect_calls
        native.reference_count = len(run.references)
        native.references[0 : len(run.references)] = run.references
        ways = [(ip, _WAYS[abi]) for ip, abi in run.kernel_entries]
        native.kernel_entry_count = len(ways)
        native.kernel_entries[0 : len(ways)] = ways

    def _returning(self) -> set[int]:
        """Return the entries of functions that were seen to return."""
        log, functions = self._native.returned, self._native.functions
        for at in range(self._seen_to_return, log.count):
            self._entries_that_return.add(functions[log.numbers[at]].entry)
        self._seen_to_return = log.count
        return self._entries_that_return

    def enter(self, entry: int) -> int:
        """Enter the process at `entry`; return the number of the function."""
        number: int = lib.explore_enter(self._native, entry)
        self._read_functions()
        return number

    def later(self, address: int, function: int, came_from: int) -> None:
        """Follow `address` as part of a function, in its turn."""
        lib.explore_later(self._native, address, function, came_from)

    def use(self, function: int, ip: int, target: int) -> None:
        """Note that the instruction at `ip` of a function uses `target`."""
        lib.explore_use(self._native, function, ip, target)

    def jump(self, target: int, ip: int, function: int) -> None:
        """Follow a jump, inside the function or to another."""
        lib.explore_jump(self._native, target, ip, function)

    def tail(self, target: int, ip: int, function: int) -> None:
        """Follow a jump to another function."""
        lib.explore_tail(self._native, target, ip, function)

    def returns(self, function: int) -> None:
        """Note that a function returns."""
        lib.explore_returns(self._native, function)

    def go(self) -> None:
        """
        Follow everything that waits.

        Raises:
            MemoryError: there is not enough.
        """
        lib.explore_all(self._native)
        if self.error is not None:
            raise self.error
        if self._native.stopped:
            raise MemoryError
        self._read_functions()
        self._read_logs()

    def stop(self, error: BaseException) -> None:
        """Make `go` end with this error."""
        self.error = error
        self._native.stopped = 1

    def containing(self, address: int) -> Run | None:
        """Return a run with an instruction at `address`, or around it; None where there is none."""
        number = lib.explore_containing(self._native, address)
        return None if number == NONE else self.run(number)

    def owner_of(self, address: int) -> int:
        """Return the entry of the function that first reached the code at `address`, 0 for none."""
        number = lib.explore_containing(self._native, address)
        if number == NONE:
            return 0
        return int(self._native.functions[self._native.runs[number].function].entry)

    def number_at(self, start: int) -> int:
        """Return the number of the run that begins at `start`; NONE where none does."""
        number: int = lib.explore_run_at(self._native, start)
        return number

    def count(self) -> int:
        """Return how many runs there are."""
        return int(self._native.run_count)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where each run begins and ends."""
        for number in range(self.count()):
            head = self._native.runs[number]
            yield int(head.start), int(head.end)

    def run(self, number: int) -> Run:
        """Return a run that has been followed to its end."""
        run = self._made.get(number)
        if run is None:
            run = self._made[number] = self._make(self._native.runs[number])
        return run

    def head(self, number: int) -> Any:  # noqa: ANN401  # a structure of cffi
        """Return a run as `struct explore_run`, to be read at once."""
        return self._native.runs[number]

    def entry(self, function: int) -> int:
        """Return where a function begins."""
        return int(self._native.functions[function].entry)

    def came_from(self, start: int) -> int:
        """Return the address from which the run at `start` was first reached, or 0 at an entry."""
        number = self.number_at(start)
        return 0 if number == NONE else int(self._native.runs[number].came_from)

    def owner(self, number: int) -> Function:
        """Return the function that first reached a run."""
        return self._numbered[int(self._native.runs[number].function)]

    def runs_of(self, function: int) -> Iterator[int]:
        """Yield the numbers of the runs that a function was the first to reach."""
        number = self._native.functions[function].runs
        while number != NONE:
            yield number
            number = self._native.runs[number].next

    def blocks_of(self, function: Function) -> list[int]:
        """Return, in one list, (start, end, last, ending, target, start of its run) of each block."""
        lib.explore_cut(self._native, function.number)
        return _taken(self._native.blocks)

    def edges_of(self, function: Function) -> list[int]:
        """Return, in one list, (number of the block, target, `Edge`, owner's entry) of each edge."""
        lib.explore_connect(self._native, function.number)
        return _taken(self._native.edges)

    def references(self, number: int) -> list[int]:
        """Return what a run names, four numbers each."""
        head = self._native.runs[number]
        return ffi.unpack(self._native.references.numbers + head.references, 4 * head.reference_count)  # type: ignore[no-any-return]

    def all_references(self) -> list[Reference]:
        """Return what all runs name."""
        return _references(self._native.references.numbers, self._native.references.count // 4)

    def kernel_entries(self) -> list[tuple[int, int]]:
        """Return (address, way into the kernel) of all runs."""
        return _ways(self._native.kernel_entries.numbers, self._native.kernel_entries.count // 2)

    def _make(self, head: Any) -> Run:  # noqa: ANN401  # a structure of cffi
        native = self._native
        indirect_calls, count = native.indirect_calls.numbers, head.indirect_call_count
        return Run(
            head.start,
            head.end,
            head.last,
            head.ending,
            head.target,
            _pairs(native.branches.numbers + head.branches, head.branch_count),
            _pairs(native.calls.numbers + head.calls, head.call_count),
            ffi.unpack(indirect_calls + head.indirect_calls, count) if count else [],
            _references(native.references.numbers + head.references, head.reference_count),
            _ways(native.kernel_entries.numbers + head.kernel_entries, head.kernel_entry_count),
        )

    def _read_functions(self) -> None:
        for number in range(len(self._numbered), self._native.function_count):
            entry = self._native.functions[number].entry
            function = self.functions[entry] = Function(entry, self, number)
            self._numbered.append(function)

    def _read_logs(self) -> None:
        """Take over what C has noted since the last time."""
        native, functions = self._native, self._numbered
        self._returning()
        self._seen_to_return = 0
        for number in _taken(native.returned):
            functions[number].returns = True
        each = iter(_taken(native.callers))
        for entry, ip in zip(each, each, strict=True):
            self.callers.setdefault(entry, []).append(ip)
        each = iter(_taken(native.inside))
        for address, ip in zip(each, each, strict=True):
            self.entered.setdefault(address, []).append(ip)
        each = iter(_taken(native.uses))
        for number, ip, target in zip(each, each, each, strict=True):
            functions[number].uses.append((ip, target))


class Runs(Mapping[int, Run]):
    """The runs of an exploration by where they begin."""

    def __init__(self, exploration: Exploration) -> None:
        self._exploration = exploration

    def __getitem__(self, start: int) -> Run:
        number = self._exploration.number_at(start)
        if number == NONE:
            raise KeyError(start)
        return self._exploration.run(number)

    def __iter__(self) -> Iterator[int]:
        return (self._exploration.head(number).start for number in range(len(self)))

    def __len__(self) -> int:
        return self._exploration.count()

    def __contains__(self, start: object) -> bool:
        return isinstance(start, int) and self._exploration.number_at(start) != NONE


class Owners(Mapping[int, Function]):
    """The function that first reached each run, by where the run begins."""

    def __init__(self, exploration: Exploration) -> None:
        self._exploration = exploration

    def __getitem__(self, start: int) -> Function:
        number = self._exploration.number_at(start)
        if number == NONE:
            raise KeyError(start)
        return self._exploration.owner(number)

    def __iter__(self) -> Iterator[int]:
        return (self._exploration.head(number).start for number in range(len(self)))

    def __len__(self) -> int:
        return self._exploration.count()

    def __contains__(self, start: object) -> bool:
        return isinstance(start, int) and self._exploration.number_at(start) != NONE


def _taken(log: Any) -> list[int]:  # noqa: ANN401  # a structure of cffi
    """Return the numbers of a log, and empty it."""
    numbers: list[int] = ffi.unpack(log.numbers, log.count) if log.count else []
    log.count = 0
    return numbers


def _pairs(numbers: Any, count: int) -> list[tuple[int, int]]:  # noqa: ANN401  # a pointer of cffi
    each = iter(ffi.unpack(numbers, 2 * count) if count else ())
    return list(zip(each, each, strict=True))


def _references(numbers: Any, count: int) -> list[Reference]:  # noqa: ANN401  # a pointer of cffi
    each = iter(ffi.unpack(numbers, 4 * count) if count else ())
    return list(map(Reference._make, zip(each, each, each, each, strict=True)))


def _ways(numbers: Any, count: int) -> list[tuple[int, int]]:  # noqa: ANN401  # a pointer of cffi
    return [(ip, _ABIS[way]) for ip, way in _pairs(numbers, count)]


def _stop(_kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401  # as cffi calls it
    """Keep what an answer raised until C has returned."""
    ffi.from_handle(trace.tb_frame.f_locals["who"]).stop(error)


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_references(who: Any, run: int) -> None:  # noqa: ANN401
    """Pass the question on."""
    ffi.from_handle(who).questions.references(run)


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_unwind(who: Any, function: int) -> None:  # noqa: ANN401
    """Pass the question on."""
    ffi.from_handle(who).questions.unwind(function)


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_pointer(who: Any, slot: int) -> int:  # noqa: ANN401
    """Pass the question on."""
    return int(ffi.from_handle(who).questions.pointer(slot))


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_executable(who: Any, address: int) -> int:  # noqa: ANN401
    """Pass the question on."""
    return int(ffi.from_handle(who).questions.executable(address))


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_computed(who: Any, run: int, start: int, came_from: int) -> None:  # noqa: ANN401
    """Pass the question on."""
    ffi.from_handle(who).questions.computed(run, start, came_from)


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_decode(who: Any, address: int) -> None:  # noqa: ANN401
    """Pass the question on."""
    ffi.from_handle(who).decode(address)


@ffi.def_extern(onerror=_stop)  # type: ignore[untyped-decorator]
def explore_begins(who: Any, run: int, address: int) -> int:  # noqa: ANN401
    """Pass the question on."""
    return int(ffi.from_handle(who).questions.begins(run, address))
