"""
Which functions of a program and its shared objects can run, by name?

The analysis behind a profile, asked about functions.  A function counts as one that can run as soon as one
byte of it can, however control gets there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator

from shim.analysis.assumptions import DEFAULT, Assumption
from shim.analysis.dead import Dead
from shim.analysis.narrow import narrowed, surviving
from shim.analysis.numbers import KernelEntry, kernel_entries
from shim.analysis.program import Program, load_program
from shim.analysis.refute import refuted
from shim.analysis.uses import Remaining
from shim.elf.files import FileSource
from shim.elf.gocopies import go_copied
from shim.elf.image import ElfImage, parse_elf
from shim.elf.process import load_process
from shim.elf.symbols import names_local_functions
from shim.profile.execute_path import ExecutePath, ObjectFunctions


def execute_path(
    data: bytes,
    path: str,
    *,
    files: FileSource | None = None,
    modules: tuple[str, ...] = (),
    assume: Collection[Assumption] = DEFAULT,
) -> ExecutePath:
    """
    Return which functions of a program and of what it loads can run.

    Args:
        data: The whole file.
        path: How messages call it.
        files: Where the loader finds the libraries of a dynamic program; None refuses one.
        modules: Paths or names of shared objects that the program may open while it runs.
        assume: The assumptions that may be made; those that were needed are in the result.

    Raises:
        BinaryError: a file is no x86-64 or AArch64 ELF whose headers are consistent, or is missing.

    Not checked:
        Code that the program writes at run time.  That a function has not been copied into another one, but
        for Go: `ObjectFunctions.copied`.
    """
    image = parse_elf(data, path, machines=("x86_64", "aarch64"))
    program = load_program(load_process(image, files, modules), assume)
    found = kernel_entries(program, assume=assume)
    dead, used = narrowed(program, found, assume)
    living = program.uses.without(dead).live
    dead = refuted(program, surviving(program, found, living, dead), dead)
    remaining = program.uses.without(dead)
    live = _LiveCode(program, remaining)
    return ExecutePath(
        tuple(_object(program, one, live) for one in program.process.images),
        tuple(_incomplete(program, surviving(program, found, remaining.live, dead))),
        tuple(sorted(map(str, {*used, *program.modules.assumed}))),
    )


class _LiveCode:
    """The ranges of addresses whose code can run, in order and without overlaps."""

    def __init__(self, program: Program, remaining: Remaining) -> None:
        reach = program.reach
        spans = sorted(
            (run.start, run.end)
            for entry in remaining.live
            if entry in reach.functions
            for run in reach.functions[entry].runs
            if not _never(remaining.dead, run.start, run.end)
        )
        self.spans: list[tuple[int, int]] = []
        for start, end in spans:
            if self.spans and start <= self.spans[-1][1]:
                self.spans[-1] = (self.spans[-1][0], max(end, self.spans[-1][1]))
            else:
                self.spans.append((start, end))
        self._starts = [start for start, _ in self.spans]

    def within(self, extent: range) -> list[tuple[int, int]]:
        """Return the live ranges that overlap an extent, cut to it."""
        first = max(bisect_right(self._starts, extent.start) - 1, 0)
        found = []
        for start, end in self.spans[first:]:
            if start >= extent.stop:
                break
            if end > extent.start:
                found.append((max(start, extent.start), min(end, extent.stop)))
        return found


def _never(dead: Dead, start: int, end: int) -> bool:
    """Whether all of a run lies in one range that never runs."""
    index = bisect_right(dead.ranges, (start, 1 << 64)) - 1
    return index >= 0 and end <= dead.ranges[index][1]


def _object(program: Program, image: ElfImage, live: _LiveCode) -> ObjectFunctions:
    named = _named(program, image)
    whole = range(image.segments[0].address, image.segments[-1].end)
    return ObjectFunctions(
        image.path,
        image.sha256,
        frozenset(name for name, _ in named),
        frozenset(name for (name, _), extent in named.items() if live.within(extent)),
        go_copied(image) if image is program.image else None,
        _nameless(program, image, live, {address for _, address in named}),
        bool(live.within(whole)),
    )


def _named(program: Program, image: ElfImage) -> dict[tuple[str, int], range]:
    """Return the extent of each function of an object by name and address."""
    functions, memory = program.functions, program.memory
    names = {
        (symbol.name, symbol.address)
        for symbol in functions.symbols
        if symbol.is_function and memory.executable(symbol.address) and memory.image(symbol.address) is image
    }
    if image is program.image:
        names |= {(function.name, function.start) for function in functions.go}
    return {(name, address): functions.extent(address) for name, address in names}


def _nameless(program: Program, image: ElfImage, live: _LiveCode, named: Collection[int]) -> bool:
    """
    Whether the symbols of an object may leave out a function that can run.

    Unwind tables list what the compiler made, parts and copies of functions included.
    """
    if image is program.image and program.functions.go:
        return False  # the line table has every function
    if not names_local_functions(image):
        return True
    stubs = [section for section in image.sections if section.name.startswith(".plt")]
    return any(
        start not in named and live.within(range(start, frame.end))
        for start, frame in program.functions.frames.items()
        if program.memory.image(start) is image
        and not any(stub.address <= start < stub.address + stub.size for stub in stubs)
    )


def _incomplete(program: Program, entries: list[KernelEntry]) -> Iterator[str]:
    for address, reason in program.reach.unresolved:
        yield f"{program.path(address)} at {program.memory.in_file(address):#x}: {reason}"
    for entry in entries:
        if entry.unresolved or entry.foreign:
            where = f"{program.path(entry.address)} at {program.memory.in_file(entry.address):#x}"
            yield f"{where}: {entry.unresolved or entry.foreign}"
    for image in program.process.images:
        if any(segment.executable and segment.writable for segment in image.segments):
            yield f"{image.path}: code in a writable segment, which the program can replace"
