"""
What does glibc only do when one of its tunables was set from outside?

A library hands `__tunable_get_val` a function to call with the value; that happens where the tunable was set,
in GLIBC_TUNABLES, which the launcher does not pass on (glibc 2.36, elf/dl-tunables.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shim.analysis.blocks import Block
from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program
from shim.analysis.registers import WORD

# The names of tunables begin the entries of one table (glibc 2.36, elf/dl-tunable-types.h, struct _tunable);
# a few have a variable of their own, whose name stands in the same entry.
_NAME = re.compile(rb"glibc\.[a-z0-9_]+\.[a-z0-9_]+\0")
_VARIABLE = re.compile(rb"[A-Z][A-Z_]{3,}\0")
_ID_MASK = 0xFFFF_FFFF
MIN_ENTRIES = 8


def untuned(program: Program, _: Iterable[KernelEntry]) -> set[int]:
    """
    Return the functions that are only called because a tunable was set that nothing but GLIBC_TUNABLES sets.
    """
    found: set[int] = set()
    for image in program.process.images:
        for segment in image.segments:
            if segment.writable:
                data = program.memory.read_file(segment.address, segment.memory_size)
                table = _table(data, segment.address)
                if table is not None:
                    found |= _called_back(program, table, data[table.start - segment.address :])
    return found


def _table(data: bytes, start: int) -> range | None:
    """Return the addresses of the entries of the table in a segment that begins at `start`."""
    places = [match.start() for match in _NAME.finditer(data)]
    if len(places) < MIN_ENTRIES:
        return None
    table = range(start + places[0], start + places[-1] + 1, places[1] - places[0])
    return table if [start + place for place in places] == list(table) else None


def _called_back(program: Program, table: range, entries: bytes) -> set[int]:
    """Return the functions that the one that reads the table is given, and that nothing else calls."""
    only_by_name = {
        number
        for number, at in enumerate(range(0, len(table) * table.step, table.step))
        if not _VARIABLE.search(entries, at, at + table.step)
    }
    whole = range(table.start, table.stop - 1 + table.step)
    readers = program.questions.naming(whole)
    asked: dict[int, set[int]] = {}
    made: dict[int, set[int]] = {}
    elsewhere: set[int] = set()
    for reader in readers & program.reach.functions.keys():
        for site in program.questions.graph.call_sites(reader):
            numbers = set(_argument(program, site, 0, _ID_MASK))
            callbacks = _argument(program, site, 2, WORD)
            if not callbacks.keys() & program.reach.functions.keys():
                elsewhere |= numbers
            for callback, makers in callbacks.items():
                asked.setdefault(callback, set()).update(numbers or {-1})
                made.setdefault(callback, set()).update(ip for ip in makers if site.start <= ip < site.end)
    return {
        callback
        for callback, numbers in asked.items()
        if callback in program.reach.functions
        and numbers <= only_by_name - elsewhere
        and program.reach.address_taken.get(callback) == made[callback]
        and not program.questions.graph.callers(callback)
    }


def _argument(program: Program, site: Block, position: int, mask: int) -> dict[int, set[int]]:
    """Return what a call passes as an argument, each with its makers; nothing where that is not known."""
    register = program.architecture.conventions.arguments[position]
    answer = program.values.before(site, site.last, register, mask)
    return answer.values if answer.only_numbers() else {}
