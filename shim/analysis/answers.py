"""What is asked about values, and what the answers look like: the vocabulary of `values` and `loads`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from shim.analysis.blocks import Block
from shim.analysis.places import Place
from shim.analysis.registers import WORD

MAX_VALUES = 1024


@dataclass(frozen=True, slots=True)
class Slot:
    """`size` bytes of a stack frame at `place`."""

    place: Place
    size: int


# A full register, or bytes of a frame.
Location: TypeAlias = int | Slot


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a place in a frame, as a value; memory behind it is wanted as of (`block`, `index`)."""

    place: Place
    block: int
    index: int


@dataclass(slots=True)
class Answer:
    """
    What a location can hold: numbers and frame addresses, each with the instructions that make it.

    `unknown` holds (address, reason) of what could not be bounded; a non-empty one means the set is not all.
    `entry` are locations at the entry of the function that the question stopped at.  No value comes of what
    `nothing` holds: loads that can only fault because their pointer is null, functions that nobody calls.
    """

    values: dict[int, set[int]] = field(default_factory=dict)
    addresses: set[Address] = field(default_factory=set)
    unknown: list[tuple[int, str]] = field(default_factory=list)
    entry: set[tuple[Location, int]] = field(default_factory=set)
    nothing: set[int] = field(default_factory=set)

    def add(self, number: int, origin: int) -> None:
        """Add one number that the instruction at `origin` makes."""
        self.values.setdefault(number, set()).add(origin)

    def fail(self, address: int, reason: str) -> None:
        """Record that something at `address` cannot be bounded."""
        self.unknown.append((address, reason))

    def join(self, other: Answer) -> None:
        """Add everything that `other` holds."""
        for number, origins in other.values.items():
            self.values.setdefault(number, set()).update(origins)
        self.addresses |= other.addresses
        self.unknown += other.unknown
        self.entry |= other.entry
        self.nothing |= other.nothing

    def only_numbers(self) -> bool:
        """Whether the location holds numbers and nothing else."""
        return not self.unknown and not self.addresses and not self.entry


@dataclass(frozen=True, slots=True)
class Step:
    """
    Where to look next: `location` before instruction `index` of `block`, as far as `mask` goes.

    `point` is the (block, instruction) at which memory behind a frame address is wanted: the load itself, or
    the call that handed the address over.
    """

    block: Block
    index: int
    location: Location
    mask: int = WORD
    point: tuple[int, int] | None = None


@dataclass(slots=True)
class Question:
    """
    One question in progress.

    With `stop_at`, locations at the entry of that function stay open in the answer; `seen` are the block
    starts that the search has passed; `depth` counts questions inside questions.
    """

    stop_at: int
    depth: int
    answer: Answer = field(default_factory=Answer)
    seen: set[tuple[int, Location, int]] = field(default_factory=set)
