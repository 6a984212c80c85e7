"""
What does one instruction put into one register, or into one stack slot?

A small vocabulary for `values`: a constant, a copy, a load, a merge of low bits, an operation on operands, or
opaque with the reason.  Each architecture says it in these words; an instruction it does not list is opaque.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from shim.analysis.places import Place
from shim.analysis.registers import WORD

# What fits into so many bytes.
BITS = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: WORD}


@dataclass(frozen=True, slots=True)
class Value:
    """A constant, of which the bits of `mask` are used."""

    number: int
    mask: int = WORD


@dataclass(frozen=True, slots=True)
class Copy:
    """The old contents of any of `registers`, of which the bits of `mask` are used, zero-extended."""

    registers: tuple[int, ...]
    mask: int = WORD


@dataclass(frozen=True, slots=True)
class Flag:
    """A processor flag as an operand: 0 or 1."""


FLAG = Flag()


@dataclass(frozen=True, slots=True)
class Load:
    """`size` bytes of memory, zero-extended; `place` if they are in the frame; `opaque` if thread-local."""

    base: int
    index: int
    scale: int
    displacement: int
    size: int
    place: Place | None
    opaque: bool


@dataclass(frozen=True, slots=True)
class Merge:
    """New low bits under `mask`; the other bits of the register stay."""

    low: Value | Copy | Load | Opaque | Operation
    mask: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that is not followed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Operation:
    """
    `function` of all operands, cut to `mask`; `place` if the result is an address in the frame.

    `bound` lists all results where the operands do not matter or an operand limits them.
    """

    operands: tuple[Copy | Load | Value | Flag, ...]
    function: Callable[..., int]
    mask: int = WORD
    place: Place | None = None
    bound: tuple[int, ...] = field(default=())

    def combine(self, operands: list[set[int]], limit: int) -> set[int] | None:
        """Return the results for all combinations of operands, or None if there are more than `limit`."""
        combinations = 1
        for values in operands:
            combinations *= max(len(values), 1)
        if combinations > limit:
            return None
        return {self.function(*values) & self.mask for values in itertools.product(*operands)}

    @property
    def fixed(self) -> bool:
        """Whether the results are those of `bound`, because there is no operand to ask about."""
        return bool(self.bound) and not self.operands


Effect: TypeAlias = Value | Copy | Load | Merge | Opaque | Operation


@dataclass(frozen=True, slots=True)
class Stored:
    """`size` bytes written to `place`, and what they are."""

    place: Place
    size: int
    effect: Effect


def part_of(effect: Effect, skipped: int) -> Effect:
    """Return what a stored value leaves in memory from its byte number `skipped` on."""
    if skipped == 0 or isinstance(effect, Opaque):
        return effect
    if isinstance(effect, (Merge, Operation)):
        return Opaque("part of a computed value")
    return Operation((effect,), lambda value: value >> 8 * skipped)


def subsets(bits: int) -> tuple[int, ...]:
    """Return every number whose set bits are among those of `bits`."""
    found = [0]
    subset = bits
    while subset:
        found.append(subset)
        subset = (subset - 1) & bits
    return tuple(sorted(found))


def extend(value: int, size: int) -> int:
    """Return the low `size` bytes of a number, sign-extended to 64 bits."""
    sign = 1 << (8 * size - 1)
    value &= BITS[size]
    return (value ^ sign) - sign & WORD
