"""
The same for what depends on where the kernel and the loader put things.

The words and their order are those of native/plan_moved.c.
"""

from __future__ import annotations

from shim.filter.program import Moved, Part
from shim.launch.plan import PlanFlag
from shim.launch.plan_checks import Values
from shim.launch.plan_layout import (
    INSTRUCTION_SIZE,
    MAX_FILTER,
    MAX_OBJECTS,
    MAX_STAGES,
    NUMBER,
    OBJECT,
    OBJECT_SEAL,
    PAGE,
    RELOCATION,
    SEALED,
    STAGE,
    Kind,
    fault,
)

_NO_STAGES = PlanFlag.EXEC_ALLOWED | PlanFlag.NO_EVENTS
_FIRST_OBJECT = len(Moved)


def check_entry_point(content: bytes, _values: Values) -> None:
    """Raise unless this is an address."""
    if len(content) != NUMBER.size:
        raise fault("entry-point", f"{len(content)} bytes", "8 bytes")


def check_relocations(content: bytes, _values: Values) -> None:
    """Raise unless these are whole entries."""
    if len(content) % RELOCATION.size:
        raise fault("relocations", f"{len(content)} bytes", "entries of 8 bytes")


def check_stage_relocations(content: bytes, _values: Values) -> None:
    """Raise unless these are whole entries."""
    if len(content) % RELOCATION.size:
        raise fault("stage-relocations", f"{len(content)} bytes", "entries of 8 bytes")


def check_sealed(content: bytes, _values: Values) -> None:
    """Raise unless these are pages, with gaps between."""
    if len(content) % SEALED.size:
        raise fault("sealed", f"{len(content)} bytes", "entries of 16 bytes")
    least = 0
    for place, (address, size) in enumerate(SEALED.iter_unpack(content)):
        least = _end_of_pages(address, size, least, first=place == 0)


def _end_of_pages(address: int, size: int, least: int, *, first: bool) -> int:
    if address % PAGE or (not first and address <= least):
        raise fault("sealed.address", f"{address} after {least}", "pages, increasing, with gaps")
    if size % PAGE or not 0 < size <= (1 << 64) - 1 - address:
        raise fault("sealed.size", size, "whole pages")
    return address + size


def check_objects(content: bytes, _values: Values) -> None:
    """Raise unless these are digests and pages."""
    if len(content) % OBJECT.size or len(content) > MAX_OBJECTS * OBJECT.size:
        raise fault("objects", f"{len(content)} bytes", "1 to 512 entries of 40 bytes")
    for _, address in OBJECT.iter_unpack(content):
        if address % PAGE:
            raise fault("objects.address", address, "a page")


def check_object_seals(content: bytes, values: Values) -> None:
    """Raise unless these are pages of objects that the plan has."""
    if len(content) % OBJECT_SEAL.size:
        raise fault("object-seals", f"{len(content)} bytes", "entries of 24 bytes")
    count = len(values.content(Kind.OBJECTS)) // OBJECT.size
    least = previous = 0
    for place, (index, reserved, address, size) in enumerate(OBJECT_SEAL.iter_unpack(content)):
        if not previous <= index < count or reserved:
            raise fault(
                "object-seals.object", f"{index} and {reserved}", "objects of the plan, in their order, and 0"
            )
        least = _end_of_pages(address, size, least, first=place == 0 or index != previous)
        previous = index


def check_stages(content: bytes, values: Values) -> None:
    """Raise unless there may be stages, and these are few."""
    if len(content) % STAGE.size or len(content) > MAX_STAGES * STAGE.size:
        raise fault("stages", f"{len(content)} bytes", "1 to 4 entries of 16 bytes")
    # Whoever runs another program has left its boundaries, but for that of the loader; what an audit lets
    # through need not be what the filter allows.
    lone = len(content) == STAGE.size and content[: NUMBER.size] == _entry_point(values)
    excluded = values.flags & (PlanFlag.NO_EVENTS if lone or values.flags & PlanFlag.AUDIT else _NO_STAGES)
    if excluded:
        want = "events, and with exec allowed one stage at the entry point"
        raise fault("stages", hex(excluded), want)


def _entry_point(values: Values) -> bytes:
    return values.content(Kind.ENTRY_POINT) or bytes(NUMBER.size)


def check_stage_filters(content: bytes, _values: Values) -> None:
    """Raise unless these are instructions."""
    if len(content) % INSTRUCTION_SIZE:
        raise fault("stage-filters", f"{len(content)} bytes", "instructions of 8 bytes")


def match_moved(values: Values) -> None:
    """
    Raise unless the sections fit together.

    Relocations, seals and stages need the entry point, and nothing else does; objects need a stage there.
    """
    content = values.content
    moved = any(content(kind) for kind in (Kind.RELOCATIONS, Kind.SEALED, Kind.STAGES))
    if moved != bool(content(Kind.ENTRY_POINT)):
        want = "one with relocations, seals or stages, none without"
        raise fault("entry-point", "none" if moved else "one", want)
    begun = bool(content(Kind.STAGES)) and content(Kind.STAGES)[: NUMBER.size] == content(Kind.ENTRY_POINT)
    if content(Kind.OBJECTS) and not begun:
        raise fault("objects", "none", "a stage that begins at the entry point")
    _match_relocations(
        content(Kind.RELOCATIONS), len(content(Kind.FILTER)) // INSTRUCTION_SIZE, _FIRST_OBJECT
    )
    _match_stages(values)


def _match_relocations(content: bytes, instructions: int, moved_kinds: int) -> None:
    least = 0
    for index, moved, part in RELOCATION.iter_unpack(content):
        if index < least:
            raise fault("relocations.index", f"{index} after {least - 1}", "instructions, increasing")
        if index >= instructions:
            found = f"{index} in a filter of {instructions}"
            raise fault("relocations.index", found, "instructions of the filter")
        if moved >= moved_kinds or part >= len(Part):
            raise fault(
                "relocations.part",
                f"{part} of {moved}",
                "low (0), high (1) or size (2) of program (0), vdso (1) or an object that is there",
            )
        least = index + 1


def _match_stages(values: Values) -> None:
    filters = len(values.content(Kind.STAGE_FILTERS)) // INSTRUCTION_SIZE
    entries = values.content(Kind.STAGE_RELOCATIONS)
    relocations = len(entries) // RELOCATION.size
    objects = len(values.content(Kind.OBJECTS)) // OBJECT.size
    used = used_relocations = 0
    for _, instructions, count in STAGE.iter_unpack(values.content(Kind.STAGES)):
        if not 0 < instructions <= min(MAX_FILTER, filters - used):
            found = f"{instructions} of {filters - used}"
            raise fault("stages.instructions", found, "1 to 4096 that are there")
        if count > relocations - used_relocations:
            found = f"{count} of {relocations - used_relocations}"
            raise fault("stages.relocations", found, "as many as are there")
        start = used_relocations * RELOCATION.size
        _match_relocations(
            entries[start : start + count * RELOCATION.size], instructions, _FIRST_OBJECT + objects
        )
        used += instructions
        used_relocations += count
    if used != filters:
        raise fault("stage-filters", f"{filters} where stages have {used}", "those of the stages")
    if used_relocations != relocations:
        found = f"{relocations} where stages have {used_relocations}"
        raise fault("stage-relocations", found, "those of the stages")
