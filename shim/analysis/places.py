"""
Where is something in a stack frame, whatever the instruction set?
"""

from __future__ import annotations

from dataclasses import dataclass

# A place in a frame: (base, offset). The base is the address of the function's entry, where the offset 0 is
# the stack pointer on entry, or minus the address of an instruction that aligned the stack pointer.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    Where the stack pointer and the frame pointer stand; None where a register is no known place in the frame.

    `next_sp` is a register in which the next stack pointer is computed, and that.
    """

    sp: Place | None
    fp: Place | None
    next_sp: tuple[int, Place] | None = None


def moved(place: Place | None, distance: int) -> Place | None:
    """Return the place `distance` bytes above another; None if that is unknown."""
    return None if place is None else (place[0], place[1] + distance)
