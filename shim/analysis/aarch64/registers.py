"""
The general-purpose registers of AArch64 as numbers: x0 to x30 from 1 on, then the stack pointer.

Source: Procedure Call Standard for the Arm 64-bit Architecture 2023Q3, section 6.1.1, "General-purpose
Registers".
"""

from __future__ import annotations

from typing import Final

from shim.analysis.registers import NONE

X0: Final = 1
SP: Final = 32
# A source that is 0, a destination that nothing goes to.
ZERO: Final = 33
X8: Final = X0 + 8
X16: Final = X0 + 16
X17: Final = X0 + 17
FP: Final = X0 + 29
LR: Final = X0 + 30

ARGUMENTS: Final = tuple(range(X0, X0 + 8))
RESULTS: Final = frozenset({X0, X0 + 1})
CALLEE_SAVED: Final = frozenset({*range(X0 + 19, X0 + 30), SP})
# What a call may change, by its conventions; a kernel entry changes x0 alone.
KERNEL_CLOBBERS: Final = frozenset({X0})

# What the five bits of a register field name: 31 is the zero register or the stack pointer.
OR_ZERO: Final = (*range(X0, X0 + 31), ZERO)
OR_SP: Final = (*range(X0, X0 + 31), SP)


def name(register: int) -> str:
    """Return what assemblers call the 64-bit register."""
    if register == NONE:
        return "no register"
    return {SP: "sp", ZERO: "xzr"}.get(register, f"x{register - X0}")
