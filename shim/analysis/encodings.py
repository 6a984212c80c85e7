"""
How is an x86 instruction in 64-bit mode put together, and what can be changed about it?

The layouts of legacy, VEX, EVEX and XOP encodings (SDM volume 2, chapter 2 "Instruction Format"; APM volume
3, chapter 1 "Instruction Encoding").  No opcodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from iced_x86 import EncodingKind, OpCodeTableKind

_ESCAPES = {0: b"", 1: b"\x0f", 2: b"\x0f\x38", 3: b"\x0f\x3a"}
_REPEATS = (b"", b"\xf3", b"\xf2")
_SIB: Final = 4  # rm: SDM volume 2, table 2-2, "32-Bit Addressing Forms with the ModR/M Byte"
_RIP: Final = 5


@dataclass(frozen=True, slots=True)
class Space:
    """One opcode map of one kind of encoding; its prefixes select among `states` instructions per opcode."""

    name: str
    kind: int
    number: int
    table: int
    states: int


SPACES = (
    Space("LEGACY", EncodingKind.LEGACY, 0, OpCodeTableKind.NORMAL, 12),
    Space("LEGACY_0F", EncodingKind.LEGACY, 1, OpCodeTableKind.T0F, 12),
    Space("LEGACY_0F38", EncodingKind.LEGACY, 2, OpCodeTableKind.T0F38, 12),
    Space("LEGACY_0F3A", EncodingKind.LEGACY, 3, OpCodeTableKind.T0F3A, 12),
    Space("VEX_0F", EncodingKind.VEX, 1, OpCodeTableKind.T0F, 16),
    Space("VEX_0F38", EncodingKind.VEX, 2, OpCodeTableKind.T0F38, 16),
    Space("VEX_0F3A", EncodingKind.VEX, 3, OpCodeTableKind.T0F3A, 16),
    Space("XOP_8", EncodingKind.XOP, 8, OpCodeTableKind.MAP8, 16),
    Space("XOP_9", EncodingKind.XOP, 9, OpCodeTableKind.MAP9, 16),
    Space("XOP_10", EncodingKind.XOP, 10, OpCodeTableKind.MAP10, 16),
    Space("EVEX_0F", EncodingKind.EVEX, 1, OpCodeTableKind.T0F, 64),
    Space("EVEX_0F38", EncodingKind.EVEX, 2, OpCodeTableKind.T0F38, 64),
    Space("EVEX_0F3A", EncodingKind.EVEX, 3, OpCodeTableKind.T0F3A, 64),
    Space("EVEX_5", EncodingKind.EVEX, 5, OpCodeTableKind.MAP5, 64),
    Space("EVEX_6", EncodingKind.EVEX, 6, OpCodeTableKind.MAP6, 64),
)


class Question(NamedTuple):
    """
    One encoding to ask about: an opcode, the state of its prefixes, and what an instruction may forbid.

    `r`, `x`, `b`, `r2`, `v` (vvvv, V' above it), `z` and `k` are those of REX, VEX and EVEX, not inverted;
    `narrow` is the prefix 67.
    A memory operand is [rm], or, with `sib`, [rm + index]; `rm` 5 is relative to the instruction.
    """

    space: Space
    opcode: int
    state: int
    memory: bool
    reg: int
    rm: int
    sib: bool = False
    r: int = 0
    x: int = 0
    b: int = 0
    r2: int = 0
    v: int = 0
    z: int = 0
    k: int = 0
    lock: int = 0
    narrow: int = 0

    def encode(self) -> bytes:
        """Return the instruction, without the immediate that may follow."""
        return self.head() + self.operand()

    def head(self) -> bytes:
        """Return the prefixes and the opcode."""
        number, state, opcode = self.space.number, self.state, self.opcode
        high = (~self.r & 1) << 7 | (~self.x & 1) << 6 | (~self.b & 1) << 5
        v, narrow = ~self.v & 15, b"\x67" * self.narrow
        if self.space.kind == EncodingKind.LEGACY:
            rex = (state >> 1 & 1) << 3 | self.r << 2 | self.x << 1 | self.b
            prefixes = b"\xf0" * self.lock + narrow + b"\x66" * (state & 1)
            prefixes += _REPEATS[state >> 2]
            return prefixes + (bytes((0x40 | rex,)) if rex else b"") + _ESCAPES[number] + bytes((opcode,))
        if self.space.kind == EncodingKind.EVEX:
            second = (state >> 4 & 1) << 7 | v << 3 | 4 | state & 3
            third = self.z << 7 | (state >> 2 & 3) << 5 | state >> 5 << 4 | (~self.v >> 4 & 1) << 3 | self.k
            return narrow + bytes((0x62, high | (~self.r2 & 1) << 4 | number, second, third, opcode))
        second = (state >> 3) << 7 | v << 3 | (state >> 2 & 1) << 2 | state & 3
        return narrow + bytes(
            (0xC4 if self.space.kind == EncodingKind.VEX else 0x8F, high | number, second, opcode)
        )

    def operand(self) -> bytes:
        """Return ModRM, SIB and displacement."""
        if not self.memory:
            return bytes((0xC0 | self.reg << 3 | self.rm,))
        if self.sib:
            return bytes((self.reg << 3 | _SIB, (self.reg + 1 & 7) << 3))
        return bytes((self.reg << 3 | self.rm,)) + bytes(4 if self.rm == _RIP else 0)


def variants(base: Question) -> Iterator[tuple[str, list[Question]]]:
    """Yield what an instruction may forbid, with the encodings that then are all invalid."""
    kind, others = base.space.kind, [v for v in range(8) if v not in (0, base.reg, base.reg + 1 & 7)]
    yield "LOCK", [base._replace(lock=1)] if kind == EncodingKind.LEGACY else []
    yield "ADDRESS_64", [base._replace(narrow=0)]
    yield "ADDRESS_32", [base._replace(narrow=1)]
    yield "R", [base._replace(r=1)]
    yield "X", [base._replace(x=1)]
    yield "B", [base._replace(b=1)]
    if base.memory:
        yield "PLAIN", [base._replace(sib=False)]
        yield "RIP", [base._replace(sib=False, rm=_RIP)]
    if kind == EncodingKind.LEGACY:
        return
    yield "V", [base._replace(v=v) for v in others]
    yield "V3", [base._replace(v=v | 8) for v in (base.v, *others)]
    if kind != EncodingKind.EVEX:
        return
    yield "R2", [base._replace(r2=1)]
    yield "V4", [base._replace(v=base.v | 16)]
    yield "K", [base._replace(k=1)]
    yield "NO_K", [base._replace(k=0)]
    yield "Z", [base._replace(z=1, k=1)]
    yield "Z_ALONE", [base._replace(z=1, k=0)]
