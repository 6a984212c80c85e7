"""
What does one instruction word of AArch64 say?

Every word is put into a class by its top-level encoding groups; what the analysis follows is taken apart, of
the rest the general-purpose registers are told that it may write.  Where that is not plain from the encoding,
every register field counts.

Source: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4, "A64 Instruction Set
Encoding".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from shim.analysis.aarch64.registers import KERNEL_CLOBBERS, LR, OR_SP, OR_ZERO, ZERO
from shim.analysis.registers import NONE, WORD

_LOW32: Final = 0xFFFF_FFFF


class Op:
    """What an instruction does, where it matters to anybody; plain numbers."""

    OPAQUE: Final = 0
    CONSTANT: Final = 1
    KEEP: Final = 2
    """movk: 16 bits of the destination replaced."""
    ADD: Final = 3
    SUB: Final = 4
    AND: Final = 5
    OR: Final = 6
    XOR: Final = 7
    BITFIELD: Final = 8
    SELECT: Final = 9
    MULTIPLY_ADD: Final = 10
    LOAD: Final = 11
    STORE: Final = 12
    JUMP: Final = 13
    CALL: Final = 14
    JUMP_REGISTER: Final = 15
    CALL_REGISTER: Final = 16
    RETURN: Final = 17
    BRANCH: Final = 18
    COMPARE_BRANCH: Final = 19
    TEST_BRANCH: Final = 20
    SUPERVISOR: Final = 21
    TRAP: Final = 22
    THREAD: Final = 23
    """mrs from tpidr_el0."""
    INVALID: Final = 24


class Mode:
    """How the address of a load or store is made from base and offset."""

    OFFSET: Final = 0
    PRE: Final = 1
    POST: Final = 2


@dataclass(slots=True)
class Instruction:
    """
    One decoded instruction; only the fields that its `op` uses mean something.

    Attributes:
        ip: Its address.
        op: What it does.
        name: The class of instructions it belongs to, for people.
        width: Bytes of the registers it works on, 4 or 8.
        destination: The register it computes; ZERO if the result is dropped.
        first: First source; the base of a load or store; what a branch reads.
        second: Second source, or NONE if `immediate` is; the index of a load or store.
        extend: How `second` is widened before it is shifted: bytes taken, 8 for all, negative for a sign.
        shift: Bits that `second` is then shifted left; -1 for another shift.
        variant: What is done to `second`: not, negate, increment; of a load signed; vector; memory for other
            instructions that access it.
        flags: Whether it sets the flags.
        immediate: A constant, an offset, a target, the number of a bit.
        condition: Of a conditional instruction; for cbz and tbz 0, for cbnz and tbnz 1.
        size: Bytes of memory accessed by each register.
        field: Of bit-field moves immr and imms.
        transfers: The registers loaded or stored.
        mode: How the address is made.
        written: The general-purpose registers that it writes.
        read: Those that it reads.
    """

    ip: int
    op: int
    name: str
    width: int = 8
    destination: int = ZERO
    first: int = NONE
    second: int = NONE
    extend: int = 8
    shift: int = 0
    variant: str = ""
    flags: bool = False
    immediate: int = 0
    condition: int = 0
    size: int = 0
    field: tuple[int, int] = (0, 0)
    transfers: tuple[int, ...] = ()
    mode: int = Mode.OFFSET
    written: frozenset[int] = frozenset()
    read: frozenset[int] = frozenset()

    @property
    def next_ip(self) -> int:
        """The address behind it."""
        return self.ip + 4

    @property
    def mask(self) -> int:
        """The bits of a register that it works on."""
        return WORD if self.width == 8 else _LOW32


def decode(word: int, ip: int) -> Instruction:
    """Return the instruction that `word` is at address `ip`."""
    group = word >> 25 & 15
    if group in (8, 9):
        return _immediate(word, ip)
    if group in (10, 11):
        return _branch_or_system(word, ip)
    if group & 5 == 4:
        return _load_or_store(word, ip)
    if group & 7 == 5:
        return _register(word, ip)
    if group & 7 == 7:
        return _vector(word, ip)
    if group == 2 or (group == 0 and word >> 31):
        return _opaque(ip, "a scalable vector instruction", _registers(word, 0, 5, 16))
    if word >> 16 == 0:
        return Instruction(ip, Op.TRAP, "udf")
    return Instruction(ip, Op.INVALID, "no instruction")


def _immediate(word: int, ip: int) -> Instruction:
    """Data processing with an immediate."""
    kind = word >> 23 & 7
    width, rd, rn = 8 if word >> 31 else 4, word & 31, word >> 5 & 31
    if kind in (0, 1):
        offset = _signed(word >> 5 & 0x7_FFFF, 19) << 2 | word >> 29 & 3
        page = bool(word >> 31)
        value = (ip & ~0xFFF) + (offset << 12) if page else ip + offset
        return _constant(ip, "adrp" if page else "adr", rd, value & WORD, 8)
    if kind == 2:
        flags = bool(word >> 29 & 1)
        immediate = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
        op = Op.SUB if word >> 30 & 1 else Op.ADD
        return _computed(
            Instruction(
                ip, op, "sub" if op == Op.SUB else "add", width,
                (OR_ZERO if flags else OR_SP)[rd], OR_SP[rn], flags=flags, immediate=immediate,
            )
        )  # fmt: skip
    if kind == 4:
        opcode = word >> 29 & 3
        bits = _bit_mask(word >> 22 & 1, word >> 10 & 63, word >> 16 & 63)
        if bits is None:
            return Instruction(ip, Op.INVALID, "no instruction")
        return _computed(
            Instruction(
                ip, (Op.AND, Op.OR, Op.XOR, Op.AND)[opcode], ("and", "orr", "eor", "ands")[opcode], width,
                (OR_ZERO if opcode == 3 else OR_SP)[rd], OR_ZERO[rn], flags=opcode == 3,
                immediate=bits & (WORD if width == 8 else _LOW32),
            )
        )  # fmt: skip
    if kind == 5:
        return _move_wide(word, ip, width, rd)
    if kind == 6:
        name = ("sbfm", "bfm", "ubfm", "")[word >> 29 & 3]
        if not name:
            return Instruction(ip, Op.INVALID, "no instruction")
        return _computed(
            Instruction(
                ip, Op.BITFIELD, name, width, OR_ZERO[rd], OR_ZERO[rn],
                second=OR_ZERO[rd] if name == "bfm" else NONE, field=(word >> 16 & 63, word >> 10 & 63),
            )
        )  # fmt: skip
    return _opaque(ip, "extr" if kind == 7 else "an immediate instruction", _registers(word, 0), _both(word))


def _move_wide(word: int, ip: int, width: int, rd: int) -> Instruction:
    opcode, place, part = word >> 29 & 3, (word >> 21 & 3) * 16, word >> 5 & 0xFFFF
    if opcode == 3:
        return _computed(
            Instruction(
                ip, Op.KEEP, "movk", width, OR_ZERO[rd], OR_ZERO[rd], immediate=part << place, shift=place
            )
        )
    if opcode == 1:
        return Instruction(ip, Op.INVALID, "no instruction")
    bits = WORD if width == 8 else _LOW32
    value = (part << place if opcode == 2 else ~(part << place)) & bits
    return _constant(ip, "movz" if opcode == 2 else "movn", rd, value, width)


def _branch_or_system(word: int, ip: int) -> Instruction:
    top = word >> 26 & 63
    if top in (0b000101, 0b100101):
        target = ip + (_signed(word & 0x3FF_FFFF, 26) << 2) & WORD
        if top == 0b100101:
            return Instruction(ip, Op.CALL, "bl", immediate=target, written=frozenset({LR}))
        return Instruction(ip, Op.JUMP, "b", immediate=target)
    if word >> 25 & 0x7F == 0b0101010:
        target = ip + (_signed(word >> 5 & 0x7_FFFF, 19) << 2) & WORD
        return Instruction(ip, Op.BRANCH, "b.cond", immediate=target, condition=word & 15)
    if word >> 25 & 63 in (0b011010, 0b011011):
        width, register = 8 if word >> 31 else 4, OR_ZERO[word & 31]
        if word >> 25 & 1:
            target = ip + (_signed(word >> 5 & 0x3FFF, 14) << 2) & WORD
            bit = word >> 31 << 5 | word >> 19 & 31
            return Instruction(
                ip, Op.TEST_BRANCH, "tbz", 8, first=register, immediate=target, shift=bit,
                condition=word >> 24 & 1, read=_set(register),
            )  # fmt: skip
        target = ip + (_signed(word >> 5 & 0x7_FFFF, 19) << 2) & WORD
        return Instruction(
            ip, Op.COMPARE_BRANCH, "cbz", width, first=register, immediate=target, condition=word >> 24 & 1,
            read=_set(register),
        )  # fmt: skip
    if word >> 24 == 0xD4:
        kind = word >> 21 & 7, word & 31
        if kind == (0, 1):
            return Instruction(ip, Op.SUPERVISOR, "svc", written=KERNEL_CLOBBERS)
        return Instruction(ip, Op.TRAP, "an exception")
    if word >> 25 == 0x6B:
        return _branch_register(word, ip)
    if word >> 22 == 0x354:
        register = OR_ZERO[word & 31]
        reads = bool(word >> 21 & 1)
        if word & 0xFFFF_FFE0 == 0xD53B_D040:
            return Instruction(ip, Op.THREAD, "mrs", destination=register, written=_set(register))
        return _opaque(ip, "a system register", _set(register) if reads else frozenset(), _set(register))
    return Instruction(ip, Op.INVALID, "no instruction")


def _branch_register(word: int, ip: int) -> Instruction:
    opcode, register = word >> 21 & 7, OR_ZERO[word >> 5 & 31]
    if opcode == 0:
        return Instruction(ip, Op.JUMP_REGISTER, "br", first=register, read=_set(register))
    if opcode == 1:
        return Instruction(
            ip, Op.CALL_REGISTER, "blr", first=register, written=frozenset({LR}), read=_set(register)
        )
    if opcode == 2:
        return Instruction(ip, Op.RETURN, "ret", first=register, read=_set(register))
    return Instruction(ip, Op.TRAP, "an exception return")


def _register(word: int, ip: int) -> Instruction:
    """Data processing on registers."""
    width, rd, rn, rm = 8 if word >> 31 else 4, word & 31, word >> 5 & 31, word >> 16 & 31
    kind = word >> 24 & 31
    shift = word >> 10 & 63 if word >> 22 & 3 == 0 else (0 if word >> 10 & 63 == 0 else -1)
    if kind == 0x0A:
        opcode = word >> 29 & 3
        return _computed(
            Instruction(
                ip, (Op.AND, Op.OR, Op.XOR, Op.AND)[opcode], ("and", "orr", "eor", "ands")[opcode], width,
                OR_ZERO[rd], OR_ZERO[rn], OR_ZERO[rm], shift=shift, variant="not" if word >> 21 & 1 else "",
                flags=opcode == 3,
            )
        )  # fmt: skip
    if kind == 0x0B:
        op, flags = Op.SUB if word >> 30 & 1 else Op.ADD, bool(word >> 29 & 1)
        name = "sub" if op == Op.SUB else "add"
        if word >> 21 & 1:
            return _computed(
                Instruction(
                    ip, op, name, width, (OR_ZERO if flags else OR_SP)[rd], OR_SP[rn], OR_ZERO[rm],
                    extend=_EXTENDS[word >> 13 & 7], shift=word >> 10 & 7, flags=flags,
                )
            )  # fmt: skip
        return _computed(
            Instruction(ip, op, name, width, OR_ZERO[rd], OR_ZERO[rn], OR_ZERO[rm], shift=shift, flags=flags)
        )
    if kind == 0x1A and word >> 21 & 7 == 2:
        return _opaque(ip, "ccmp", frozenset(), _both(word))
    if kind == 0x1A and word >> 21 & 7 == 4 and not word >> 29 & 1:
        negated, increment = word >> 30 & 1, word >> 10 & 1
        name = ("csel", "csinc", "csinv", "csneg")[negated << 1 | increment]
        change = ("", "increment", "not", "negate")[negated << 1 | increment]
        return _computed(
            Instruction(
                ip, Op.SELECT, name, width, OR_ZERO[rd], OR_ZERO[rn], OR_ZERO[rm],
                condition=word >> 12 & 15, variant=change,
            )
        )  # fmt: skip
    if kind == 0x1A:
        return _opaque(ip, "a register instruction", _registers(word, 0), _both(word))
    if word >> 21 & 7 == 0:
        return _multiply_add(word, ip, width)
    return _opaque(ip, "a multiplication", _registers(word, 0), _both(word) | _registers(word, 10))


def _multiply_add(word: int, ip: int, width: int) -> Instruction:
    reads = _both(word) | _registers(word, 10)
    rd, rn, rm = OR_ZERO[word & 31], OR_ZERO[word >> 5 & 31], OR_ZERO[word >> 16 & 31]
    return Instruction(
        ip, Op.MULTIPLY_ADD, "msub" if word >> 15 & 1 else "madd", width, rd, rn, rm,
        transfers=(OR_ZERO[word >> 10 & 31],), written=_set(rd), read=reads,
    )  # fmt: skip


def _vector(word: int, ip: int) -> Instruction:
    """Floating point and vectors: only conversions and moves of elements write general-purpose registers."""
    name = "a vector instruction"
    converts = word & 0x7F20_FC00 == 0x1E20_0000 or word & 0x7F20_0000 == 0x1E00_0000
    from_general = word >> 16 & 7 in (2, 3, 7)  # scvtf, ucvtf, fmov
    moves = word & 0xBFE0_FC00 in (0x0E00_2C00, 0x0E00_3C00)  # smov, umov
    duplicates = word & 0xBFE0_FC00 == 0x0E00_0C00 or word & 0xFFE0_FC00 == 0x4E00_1C00
    return _opaque(
        ip,
        name,
        _registers(word, 0) if (converts and not from_general) or moves else frozenset(),
        _registers(word, 5) if (converts and from_general) or duplicates else frozenset(),
    )


def _load_or_store(word: int, ip: int) -> Instruction:
    vector = bool(word >> 26 & 1)
    kind = word >> 28 & 3
    if kind == 1 and word >> 24 & 1 == 0:
        return _literal(word, ip, vector=vector)
    if kind == 2:
        return _pair(word, ip, vector=vector)
    if kind == 3:
        return _single(word, ip, vector=vector)
    return _exclusive_or_vector(word, ip, vector=vector)


def _literal(word: int, ip: int, *, vector: bool) -> Instruction:
    address = ip + (_signed(word >> 5 & 0x7_FFFF, 19) << 2) & WORD
    opcode = word >> 30
    if vector or opcode == 3:
        return _opaque(ip, "a literal", frozenset())
    register = OR_ZERO[word & 31]
    return Instruction(
        ip, Op.LOAD, "ldr", 8 if opcode else 4, register, immediate=address, size=4 if opcode != 1 else 8,
        variant="signed" if opcode == 2 else "", transfers=(register,), written=_set(register),
    )  # fmt: skip


def _pair(word: int, ip: int, *, vector: bool) -> Instruction:
    opcode, load = word >> 30, bool(word >> 22 & 1)
    mode = (Mode.OFFSET, Mode.POST, Mode.OFFSET, Mode.PRE)[word >> 23 & 3]
    base = OR_SP[word >> 5 & 31]
    size = (4 << opcode) if vector else (8 if opcode == 2 else 4)
    tags = opcode == 1 and not vector and not load
    immediate = _signed(word >> 15 & 0x7F, 7) * (16 if tags else size)
    pair = () if vector else (OR_ZERO[word & 31], OR_ZERO[word >> 10 & 31])
    return _memory(
        Instruction(
            ip, Op.LOAD if load else Op.STORE, "ldp" if load else "stp", 8 if opcode else 4, first=base,
            immediate=immediate, size=8 if tags else size, mode=mode, transfers=pair,
            variant="vector" if vector else "signed" if opcode == 1 and load else "",
        )
    )  # fmt: skip


def _single(word: int, ip: int, *, vector: bool) -> Instruction:
    """Load or store one register, by every way of making an address but literals."""
    size, opcode, base = word >> 30, word >> 22 & 3, OR_SP[word >> 5 & 31]
    register = OR_ZERO[word & 31]
    index, extend, shift, mode = NONE, 8, 0, Mode.OFFSET
    if vector and opcode >> 1:
        size = 4
    bytes_ = 1 << size
    if word >> 24 & 1:
        immediate = (word >> 10 & 0xFFF) * bytes_
    elif word >> 21 & 1:
        if word >> 10 & 3 != 2:
            return _atomic(word, ip, base)
        index, extend, immediate = OR_ZERO[word >> 16 & 31], _EXTENDS[word >> 13 & 7], 0
        shift = size if word >> 12 & 1 else 0
    else:
        immediate = _signed(word >> 12 & 0x1FF, 9)
        mode = (Mode.OFFSET, Mode.POST, Mode.OFFSET, Mode.PRE)[word >> 10 & 3]
    load = opcode & 1 if vector else opcode
    if index == ZERO:
        index = NONE
    if not vector and size == 3 and opcode == 2:
        return _opaque(ip, "a prefetch", frozenset(), _set(base) | _set(index))
    return _memory(
        Instruction(
            ip, Op.LOAD if load else Op.STORE, "ldr" if load else "str",
            4 if opcode in (0, 1, 3) and size < 3 else 8,
            first=base, second=index, extend=extend, shift=shift,
            immediate=immediate, size=bytes_, mode=mode, transfers=() if vector else (register,),
            variant="vector" if vector else "signed" if opcode >> 1 else "",
        )
    )  # fmt: skip


def _atomic(word: int, ip: int, base: int) -> Instruction:
    """
    Atomic memory operations, which load into Rt and store Rs, and PAC loads.
    """
    return Instruction(
        ip, Op.OPAQUE, "an atomic operation", first=base, size=1 << (word >> 30), variant="memory",
        written=_registers(word, 0) | (_set(base) if word >> 10 & 1 else frozenset()),
        read=_both(word) | _set(base),
    )  # fmt: skip


def _exclusive_or_vector(word: int, ip: int, *, vector: bool) -> Instruction:
    """Exclusive and ordered accesses, compare and swap, memory copies, tags, vector structures."""
    base = OR_SP[word >> 5 & 31]
    if vector:
        return Instruction(
            ip, Op.OPAQUE, "a vector access", first=base, size=64, variant="memory",
            written=_set(base) if word >> 23 & 1 else frozenset(), read=_both(word) | _set(base),
        )  # fmt: skip
    ordered = word & 0x3FA0_0000 == 0x0880_0000
    size, register = 1 << (word >> 30), OR_ZERO[word & 31]
    if ordered:
        return _memory(
            Instruction(
                ip, Op.LOAD if word >> 22 & 1 else Op.STORE, "ldar" if word >> 22 & 1 else "stlr",
                8 if size == 8 else 4, first=base, size=size, transfers=(register,),
            )
        )  # fmt: skip
    unscaled = word & 0x3F20_0C00 == 0x1900_0000
    if unscaled and word >> 22 & 3 < 2:
        return _memory(
            Instruction(
                ip, Op.LOAD if word >> 22 & 1 else Op.STORE, "ldapur" if word >> 22 & 1 else "stlur",
                8 if size == 8 else 4, first=base, immediate=_signed(word >> 12 & 0x1FF, 9), size=size,
                transfers=(register,),
            )
        )  # fmt: skip
    if word >> 24 & 0x3F == 0x19:  # memory copies move their three registers
        written = _registers(word, 0, 16) | _set(base)
    elif word >> 21 & 1 and (word >> 23 & 1 or not word >> 31):  # cas, casp
        written = _registers(word, 16) | (frozenset() if word >> 23 & 1 else _registers(word + 0x1_0000, 16))
    else:  # stxr leaves a status, ldxr what it loads
        written = _registers(word, 0, 10) if word >> 22 & 1 else _registers(word, 16)
    return Instruction(
        ip, Op.OPAQUE, "an exclusive access", first=base, size=2 * size, variant="memory",
        written=written, read=_registers(word, 0, 10, 16) | _set(base),
    )  # fmt: skip


# uxtb, uxth, uxtw, uxtx, sxtb, sxth, sxtw, sxtx
_EXTENDS: Final = (1, 2, 4, 8, -1, -2, -4, 8)


def _memory(plain: Instruction) -> Instruction:
    """Fill in what a load or store reads and writes."""
    moved = (plain.first,) if plain.mode != Mode.OFFSET else ()
    if plain.op == Op.LOAD:
        plain.written, plain.read = _set(*moved, *plain.transfers), _set(plain.first, plain.second)
    else:
        plain.written, plain.read = _set(*moved), _set(plain.first, plain.second, *plain.transfers)
    return plain


def _computed(plain: Instruction) -> Instruction:
    """Fill in what an instruction with a destination and up to two sources reads and writes."""
    plain.written, plain.read = _set(plain.destination), _set(plain.first, plain.second)
    return plain


@cache
def _set(*registers: int) -> frozenset[int]:
    return frozenset(registers) - {NONE, ZERO}


def _constant(ip: int, name: str, rd: int, value: int, width: int) -> Instruction:
    register = OR_ZERO[rd]
    return Instruction(ip, Op.CONSTANT, name, width, register, immediate=value, written=_set(register))


def _opaque(ip: int, name: str, written: frozenset[int], read: frozenset[int] = frozenset()) -> Instruction:
    return Instruction(ip, Op.OPAQUE, name, written=written, read=read)


def _registers(word: int, *places: int) -> frozenset[int]:
    return frozenset(OR_ZERO[word >> place & 31] for place in places) - {ZERO}


def _both(word: int) -> frozenset[int]:
    return _registers(word, 5, 16)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _bit_mask(n: int, imms: int, immr: int) -> int | None:
    """
    Return the number that the fields of a logical immediate stand for; None if they are reserved.

    Source: Arm Architecture Reference Manual, shared/functions/integer/DecodeBitMasks.
    """
    length = (n << 6 | ~imms & 63).bit_length() - 1
    if length < 1:
        return None
    size = 1 << length
    ones, rotation = imms & size - 1, immr & size - 1
    if ones == size - 1:
        return None
    element = (1 << ones + 1) - 1
    element = (element >> rotation | element << size - rotation) & (1 << size) - 1
    while size < 64:
        element |= element << size
        size *= 2
    return element
