"""
The general-purpose registers of x86-64 as numbers of the disassembler.

Tables instead of calls, because every question about values asks them many times.
"""

from __future__ import annotations

from iced_x86 import Register, RegisterExt

_ALL: tuple[int, ...] = tuple(
    value for name, value in vars(Register).items() if name.isupper() and isinstance(value, int)
)
# The 64-bit register that holds each register, its size in bytes, and which ones values are followed in.
FULL: dict[int, int] = {register: int(RegisterExt.full_register(register)) for register in _ALL}  # type: ignore[arg-type]
SIZE: dict[int, int] = {register: int(RegisterExt.size(register)) for register in _ALL}  # type: ignore[arg-type]
GENERAL: frozenset[int] = frozenset(register for register in _ALL if RegisterExt.is_gpr(register))  # type: ignore[arg-type]
HIGH_BYTES: frozenset[int] = frozenset({Register.AH, Register.BH, Register.CH, Register.DH})

RAX: int = Register.RAX
RCX: int = Register.RCX
RDX: int = Register.RDX
RDI: int = Register.RDI
RSI: int = Register.RSI
RSP: int = Register.RSP
RBP: int = Register.RBP
R11: int = Register.R11

# System V ABI for x86-64, section 3.2.3, "Parameter Passing", and 3.2.1, "Registers".
ARGUMENTS: tuple[int, ...] = (
    Register.RDI,
    Register.RSI,
    Register.RDX,
    Register.RCX,
    Register.R8,
    Register.R9,
)
CALLEE_SAVED: frozenset[int] = frozenset(
    {Register.RBX, Register.RBP, Register.RSP, Register.R12, Register.R13, Register.R14, Register.R15}
)
