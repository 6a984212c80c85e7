"""
How does a profile become a filter, and what does that filter answer?

Pure: no file, no kernel, no clock.  Installing a filter is the launcher's business.
"""

from __future__ import annotations

from shim.filter.check import check
from shim.filter.compile import FilterTooLongError, compile_filter
from shim.filter.data import SeccompData
from shim.filter.listing import listing
from shim.filter.program import FilterProgram, Instruction, Moved, Opcode, Part, Relocation
from shim.filter.simulate import Answer, is_constant_allow, simulate

__all__ = [
    "Answer",
    "FilterProgram",
    "FilterTooLongError",
    "Instruction",
    "Moved",
    "Opcode",
    "Part",
    "Relocation",
    "SeccompData",
    "check",
    "compile_filter",
    "is_constant_allow",
    "listing",
    "simulate",
]
