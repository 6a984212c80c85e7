"""
Which whole functions can no instruction of the process reach?

Less than what never runs: only what the plain reachability did not find counts, without what constants or
assumptions about calls take out, and only functions whose extent the compiler wrote down (`.eh_frame`).  A
function of which one byte is reached, or into which reached code or data points, is kept whole.

A profile can do without a function that leads to no system call; here none may be missing.  So whatever can
be found by a name counts as reached too: see `found_by_name`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from shim.analysis.lookups import found_by_name
from shim.analysis.program import Program
from shim.elf.image import ElfImage, Segment
from shim.profile.footprint import Unreachable

# What assemblers put between functions: int3, and the no-operations of Intel SDM 2B, "NOP", Table 4-12.
_PADDING = re.compile(
    rb"(?:\xcc|\x66*\x90|\x66*\x2e?\x0f\x1f(?:\x00|\x40\x00|\x44\x00\x00|\x80\x00{4}|\x84\x00\x00{4}))*"
)
_LONGEST_PADDING = 64
_STUBS = ".plt"


def unreachable(program: Program) -> tuple[Unreachable, ...]:
    """
    Return for each object of a process the places of functions that nothing reaches, in bytes of its file.

    None for the loader, for an object whose code it changes, for the stubs of a linkage table, and for all
    if a jump could not be followed.  Reaches more of `program` than was reached before.

    Not checked:
        That the profile is complete.  That no function of a library is looked up under a name which neither
        the code nor data that it uses has: `declared-modules` says that.
        Tables that lie between the instructions of such a function, and are read by an address that is
        computed from another one.
    """
    if program.reach.unresolved or program.image.machine != "x86_64":
        return ()
    found_by_name(program)
    if program.reach.unresolved:
        return ()
    reached = _Reached(program)
    left_out = {*program.modules.unmapped, *_interpreter(program)}
    return tuple(
        Unreachable(image.path, image.sha256, tuple(_places(program, image, reached)))
        for image in program.process.images
        if image.path not in left_out and not image.relocates_text
    )


def _interpreter(program: Program) -> tuple[str, ...]:
    """
    Return the path of the loader, which is kept whole.

    It runs before it has bound its own calls for good: until then those that the C library takes over lead to
    functions of its own (glibc 2.36, elf/rtld.c: _dl_start, then _dl_relocate_object of the loader itself).
    """
    loader = program.process.interpreter
    return () if loader is None else (loader.path,)


class _Reached:
    """What is executed, and where reached code and data point."""

    def __init__(self, program: Program) -> None:
        spans = sorted(program.reach.spans())
        self._starts = [start for start, _ in spans]
        self._ends = list(accumulate((end for _, end in spans), max))
        reach = program.reach
        named = {reference.address for reference in reach.references_of_all()}
        self._named = sorted(named | reach.named_data | reach.pointed | reach.pointer_reads.keys())

    def touches(self, extent: range) -> bool:
        """Whether an instruction in `extent` is reached, or something points into it."""
        last = bisect_left(self._starts, extent.stop) - 1
        if last >= 0 and self._ends[last] > extent.start:
            return True
        following = bisect_left(self._named, extent.start)
        return following < len(self._named) and self._named[following] < extent.stop


def _places(program: Program, image: ElfImage, reached: _Reached) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of what may go, in order, padding between two such functions included."""
    for segment in image.segments:
        if not segment.executable or segment.writable:
            continue
        offset = segment.offset - segment.address
        start = end = 0
        for extent in _functions(program, image, segment):
            if reached.touches(extent):
                continue
            if end and _is_padding(program, reached, range(end, extent.start)):
                end = max(end, extent.stop)
                continue
            if end:
                yield start + offset, end - start
            start, end = extent.start, extent.stop
        if end:
            yield start + offset, end - start


def _functions(program: Program, image: ElfImage, segment: Segment) -> Iterator[range]:
    """Yield the functions that a segment holds whole, in order, without stubs of a linkage table."""
    stubs = [
        range(section.address, section.address + section.size)
        for section in image.sections
        if section.name.startswith(_STUBS)
    ]
    frames, extent_of = program.functions.frames, program.functions.extent
    limit = segment.address + segment.file_size
    for start in sorted(start for start in frames if segment.address <= start < limit):
        extent = range(start, max(frames[start].end, extent_of(start).stop))
        if extent.stop <= limit and not any(_overlap(extent, stub) for stub in stubs):
            yield extent


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _is_padding(program: Program, reached: _Reached, gap: range) -> bool:
    """Whether a gap between two functions holds nothing but what assemblers fill it with."""
    if len(gap) == 0:
        return True
    if len(gap) >= _LONGEST_PADDING or reached.touches(gap):
        return False
    return _PADDING.fullmatch(program.memory.read(gap.start, len(gap))) is not None
