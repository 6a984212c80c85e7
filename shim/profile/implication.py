"""
When do conditions on arguments allow whatever other conditions allow?

Decided exactly for conditions on one argument each; over several alternatives it may miss a cover that only
several of them make up together, and then says that there is none.  Whoever asks whether a profile grew is
told too much rather than too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shim.profile.profile import ArgumentCondition

ALL_BITS = 0xFFFF_FFFF_FFFF_FFFF
_SPLIT = 256
"""Ranges of so many values are tried value by value against the alternatives."""

Conjunction = tuple[ArgumentCondition, ...]


def holds(condition: ArgumentCondition, value: int) -> bool:
    """Return whether an argument of this value, 64 bits unsigned, meets the condition."""
    match condition.operator:
        case "eq":
            return value == condition.value
        case "ne":
            return value != condition.value
        case "lt":
            return value < condition.value
        case "le":
            return value <= condition.value
        case "gt":
            return value > condition.value
        case "ge":
            return value >= condition.value
        case "masked_eq":
            return value & condition.mask == condition.value


def covers(wider: Sequence[Conjunction], narrower: Sequence[Conjunction]) -> bool:
    """
    Return whether a rule with the conditions `wider` surely allows what one with `narrower` does.

    No conjunctions at all allow every argument.
    """
    if not wider:
        return True
    return all(_covered(wider, conjunction) for conjunction in narrower or ((),))


def _covered(wider: Sequence[Conjunction], conjunction: Conjunction) -> bool:
    ranges = {index: _Range.of(conjunction, index) for index in sorted({c.index for c in conjunction})}
    if any(known.empty for known in ranges.values()):
        return True
    if any(all(_implied(ranges, condition) for condition in candidate) for candidate in wider):
        return True
    for index, known in ranges.items():
        if 1 < known.high - known.low + 1 <= _SPLIT:
            values = range(known.low, known.high + 1)
            pinned = (ArgumentCondition(index, "eq", value) for value in values)
            return all(_covered(wider, (*conjunction, condition)) for condition in pinned)
    return False


def _implied(ranges: dict[int, _Range], condition: ArgumentCondition) -> bool:
    return ranges.get(condition.index, _ANYTHING).implies(condition)


@dataclass(frozen=True, slots=True)
class _Range:
    """What is known of one argument: bounds, bits that are fixed, values it does not have."""

    low: int = 0
    high: int = ALL_BITS
    mask: int = 0
    bits: int = 0
    holes: frozenset[int] = frozenset()
    empty: bool = False

    @classmethod
    def of(cls, conjunction: Conjunction, index: int) -> _Range:
        conditions = [condition for condition in conjunction if condition.index == index]
        low, high, mask, bits, clash = 0, ALL_BITS, 0, 0, False
        for condition in conditions:
            value = condition.value
            match condition.operator:
                case "ge":
                    low = max(low, value)
                case "gt":
                    low = max(low, value + 1)
                case "le":
                    high = min(high, value)
                case "lt":
                    high = min(high, value - 1)
                case "eq" | "masked_eq":
                    clash |= bool((bits ^ value) & mask & condition.mask)
                    mask, bits = mask | condition.mask, bits | value
        low, high = max(low, bits), min(high, bits | (ALL_BITS ^ mask))
        holes = frozenset(condition.value for condition in conditions if condition.operator == "ne")
        empty = clash or low > high or (low == high and not all(holds(c, low) for c in conditions))
        return cls(low, high, mask, bits, holes, empty)

    def implies(self, condition: ArgumentCondition) -> bool:
        """Whether every value in the range meets `condition`."""
        if self.low == self.high:
            return holds(condition, self.low)
        value = condition.value
        match condition.operator:
            case "eq":
                return False
            case "masked_eq":
                return not condition.mask & ~self.mask and self.bits & condition.mask == value
            case "ne":
                outside = not self.low <= value <= self.high
                return outside or value in self.holes or value & self.mask != self.bits
            case "lt":
                return self.high < value
            case "le":
                return self.high <= value
            case "gt":
                return self.low > value
            case "ge":
                return self.low >= value


_ANYTHING = _Range()
