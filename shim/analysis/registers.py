"""
Numbers as 64-bit processors read them, and the number that is no register.

Registers are plain numbers that their architecture chooses, 0 apart.
"""

from __future__ import annotations

from shim.analysis.x86_64.registers import (
    ARGUMENTS,
    CALLEE_SAVED,
    FULL,
    GENERAL,
    HIGH_BYTES,
    RAX,
    RDI,
    RDX,
    RSI,
    RSP,
    SIZE,
)

__all__ = [
    "ARGUMENTS",
    "CALLEE_SAVED",
    "FULL",
    "GENERAL",
    "HIGH_BYTES",
    "NONE",
    "RAX",
    "RDI",
    "RDX",
    "RSI",
    "RSP",
    "SIZE",
    "WORD",
    "signed",
]

WORD = (1 << 64) - 1
NONE = 0


def signed(value: int) -> int:
    """Return a 64-bit number read as two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value
