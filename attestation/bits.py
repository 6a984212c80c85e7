"""What do the single bits of a number mean?  Which they are is each vendor's own."""

from __future__ import annotations

from collections.abc import Mapping


def flags(value: int, names: Mapping[str, int]) -> dict[str, bool]:
    """Return every named bit of `value`."""
    return {name: bool(value >> bit & 1) for name, bit in names.items()}


def reserved(value: int, names: Mapping[str, int], also_known: int = 0) -> int:
    """Return `value` with every bit cleared that has a name or stands in `also_known`."""
    return value & ~sum(1 << bit for bit in names.values()) & ~also_known
