"""
Which opcodes are there, and what has the native decoder to know of each?

The disassembler is asked about every opcode of every map, under every prefix that can select another
instruction, with every ModRM byte that can.  What the tables mean is in native/x86_tables.h.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from iced_x86 import (
    Code,
    Decoder,
    EncodingKind,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MandatoryPrefix,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    OpCodeInfo,
    OpCodeOperandKind,
    OpKind,
)

from shim.analysis.encodings import SPACES, Question, Space, variants

_CONTROLS = {
    FlowControl.NEXT: "NEXT",
    FlowControl.UNCONDITIONAL_BRANCH: "JUMP",
    FlowControl.INDIRECT_BRANCH: "JUMP_INDIRECT",
    FlowControl.CONDITIONAL_BRANCH: "BRANCH",
    FlowControl.RETURN: "RETURN",
    FlowControl.CALL: "CALL",
    FlowControl.INDIRECT_CALL: "CALL_INDIRECT",
    FlowControl.EXCEPTION: "STOP",
    FlowControl.INTERRUPT: "NEXT",
    FlowControl.XBEGIN_XABORT_XEND: "NEXT",
}
_SPECIAL_CONTROLS: dict[int, str] = {
    Code.HLT: "STOP",
    Code.SYSCALL: "SYSCALL",
    Code.SYSENTER: "SYSENTER",
    Code.INT_IMM8: "INTERRUPT",
    Code.INT3: "BREAKPOINT",
    Code.XBEGIN_REL16: "TRANSACTION",
    Code.XBEGIN_REL32: "TRANSACTION",
}
_LITERALS = {OpKind.IMMEDIATE32: "UNSIGNED", OpKind.IMMEDIATE64: "UNSIGNED", OpKind.IMMEDIATE32TO64: "SIGNED"}
_WRITES = (OpAccess.WRITE, OpAccess.COND_WRITE)

# Operands that only a ModRM byte can name, by the ends of their names in the disassembler.
_IN_MODRM = (
    "_REG",
    "_RM",
    "_OR_MEM",
    "MEM",
    "_MEM",
    "_MPX",
    "_MIB",
    "32X",
    "32Y",
    "32Z",
    "64X",
    "64Y",
    "64Z",
)
_NAMES = {value: name for name, value in vars(OpCodeOperandKind).items() if isinstance(value, int)}
_MODRM_OPERANDS = frozenset(kind for kind, name in _NAMES.items() if name.endswith(_IN_MODRM))
_VSIB_OPERANDS = frozenset(kind for kind, name in _NAMES.items() if "VSIB" in name)
# Operands that are the low bits of the opcode.
_OPCODE_OPERANDS = frozenset(kind for kind, name in _NAMES.items() if name.endswith("_OPCODE"))

# What stands before an opcode in 64-bit mode and so is none: legacy prefixes and REX, then VEX, EVEX, and 0F.
_NOT_OPCODES = {
    0: frozenset((*b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3\xc4\xc5\x62\x0f", *range(0x40, 0x50))),
    1: frozenset(b"\x38\x3a\x0f"),
}
_D3NOW: Final = b"\x0f\x0f"
ANY_PREFIX: Final = -1


@dataclass(frozen=True, slots=True)
class Shape:
    """What the tables keep of an instruction: `struct x86_shape` of native/x86_tables.h."""

    immediate: int
    control: str
    use: str
    literal: str
    size: int
    rules: tuple[str, ...]


INVALID: Final = Shape(0, "INVALID", "NO_USE", "NO_LITERAL", 0, ())


class Oracle:
    """The disassembler, and what it was asked before."""

    def __init__(self) -> None:
        self.instruction = Instruction()
        self._accesses = InstructionInfoFactory()
        self._infos: dict[int, OpCodeInfo] = {}
        self._forbidden: dict[tuple[int, ...], tuple[str, ...]] = {}

    def ask(self, question: Question) -> int:
        """Return the code of an instruction of that space, or INVALID; `instruction` has the rest."""
        Decoder(64, question.encode() + bytes(16)).decode_out(self.instruction)
        code = self.instruction.code
        if code != Code.INVALID:
            info = self.info(code)
            if (info.encoding, info.table) != (question.space.kind, question.space.table):
                return Code.INVALID
        return code

    def info(self, code: int) -> OpCodeInfo:
        """Return what is known of a code whatever its operands."""
        if code not in self._infos:
            self._infos[code] = OpCodeInfo(code)  # type: ignore[arg-type]
        return self._infos[code]

    def has_modrm(self, code: int) -> bool:
        """Whether a ModRM byte is part of the instruction: for its operands, or to select it."""
        info = self.info(code)
        return info.op_code_len == 2 or info.is_group or not _MODRM_OPERANDS.isdisjoint(info.op_kinds())

    def shape(self, question: Question) -> Shape:
        """Return the shape of a valid instruction."""
        code = self.ask(question)
        instruction, kinds = self.instruction, range(self.instruction.op_count)
        operand = len(question.operand()) if self.has_modrm(code) else 0
        literals = [_LITERALS[kind] for kind in map(instruction.op_kind, kinds) if kind in _LITERALS]
        if OpCodeOperandKind.MEM_OFFS in self.info(code).op_kinds():
            literals = ["OFFSET"]
        use, size = self._access()
        return Shape(
            instruction.len - len(question.head()) - operand,
            _SPECIAL_CONTROLS.get(code) or _CONTROLS[instruction.flow_control],
            use,
            literals[0] if literals else "NO_LITERAL",
            size,
            self._forbids(question, code),
        )

    def _access(self) -> tuple[str, int]:
        """Return how the instruction uses its memory operand, and the size of a scalar."""
        instruction = self.instruction
        kinds = [instruction.op_kind(operand) for operand in range(instruction.op_count)]
        if OpKind.MEMORY not in kinds or instruction.mnemonic == Mnemonic.NOP:
            return "NO_USE", 0
        if instruction.mnemonic == Mnemonic.LEA:
            return "ADDRESS", 0
        written = kinds[0] == OpKind.MEMORY and self._accesses.info(instruction).op0_access in _WRITES
        return "WRITE" if written else "READ", MemorySizeExt.size(instruction.memory_size)

    def _forbids(self, question: Question, code: int) -> tuple[str, ...]:
        """Return what a valid instruction does not allow: asked by changing one thing at a time."""
        legacy = question.space.kind == EncodingKind.LEGACY
        key = (code, question.memory, question.reg if legacy else question.state >> 5)
        if key not in self._forbidden:
            info = self.info(code)
            found = [
                name
                for name, changed in variants(question)
                if all(self.ask(variant) == Code.INVALID for variant in changed)
            ]
            found += ["DISTINCT"] * info.requires_unique_reg_nums
            found += ["DISTINCT_DESTINATION"] * info.requires_unique_dest_reg_num
            found += ["REGISTER"] * info.ignores_mod_bits
            found += ["VSIB"] * (not _VSIB_OPERANDS.isdisjoint(info.op_kinds()))
            self.ask(question)
            self._forbidden[key] = tuple(found)
        return self._forbidden[key]


Row = tuple[Shape | tuple[Shape, ...], ...]
"""The shapes of an opcode by reg: 8 with a memory operand, 8 with a register, some of these by rm as well."""


class Survey:
    """
    Everything the tables say, without the numbers that the C refers to it by.

    `selected` has for each (space, opcode) what its states select: a row, or one shape where there is no
    ModRM byte; `names` the mnemonics; `suffixes` the instructions of 3DNow!.
    """

    def __init__(self) -> None:
        self._oracle = Oracle()
        self._known = _known_opcodes()
        self.selected: dict[tuple[Space, int], tuple[Row | Shape, ...]] = {}
        self.names: dict[tuple[Space, int], dict[str, None]] = {}
        for space in SPACES:
            for opcode in range(256):
                if opcode not in _NOT_OPCODES.get(space.number if space.kind == 0 else -1, ()):
                    self.names[space, opcode] = {}
                    states = tuple(self._select(space, opcode, state) for state in range(space.states))
                    if any(state != INVALID for state in states):
                        self.selected[space, opcode] = states
        self.suffixes = self._survey_3dnow()

    def _select(self, space: Space, opcode: int, state: int) -> Row | Shape:
        prefix = ANY_PREFIX if space.kind == EncodingKind.LEGACY else state & 3
        if (space.kind, space.table, opcode, prefix) not in self._known:
            return INVALID
        # Vector instructions that are not selected by ModRM take every register, or all but high ones.
        selected = space.kind == EncodingKind.LEGACY or self._known[space.kind, space.table, opcode, prefix]
        regs = range(8 if selected else 1)
        memory = [self._first_valid(space, opcode, state, reg, (0,)) for reg in regs]
        registers = [
            self._first_valid(space, opcode, state, reg, [reg + 1 + rm & 7 for rm in regs], memory=False)
            for reg in regs
        ]
        valid = [question for question in memory + registers if question is not None]
        if not valid:
            return INVALID
        codes = [self._oracle.ask(question) for question in valid]
        for code in codes:
            self.names[space, opcode][_mnemonic(self._oracle.info(code))] = None
        if not self._oracle.has_modrm(codes[0]):
            return self._oracle.shape(valid[0])
        times = 8 // len(regs)
        return (
            *[INVALID if question is None else self._oracle.shape(question) for question in memory] * times,
            *[INVALID if question is None else self._by_rm(question) for question in registers] * times,
        )

    def _first_valid(
        self, space: Space, opcode: int, state: int, reg: int, rms: Iterable[int], *, memory: bool = True
    ) -> Question | None:
        """Return a valid encoding with `reg`, and all register numbers distinct, if there is any."""
        vector = space.kind != EncodingKind.LEGACY
        for rm, v, k, sib, narrow in product(
            rms,
            (0, reg + 2 & 7, reg + 3 & 7) if vector else (0,),
            (0, 1) if space.kind == EncodingKind.EVEX else (0,),
            (False, True) if memory else (False,),
            (0,) if vector else (0, 1),
        ):
            question = Question(space, opcode, state, memory, reg, rm, sib, v=v, k=k, narrow=narrow)
            if self._oracle.ask(question) != Code.INVALID:
                return question
        return None

    def _by_rm(self, question: Question) -> Shape | tuple[Shape, ...]:
        """Return the shape of a form with a register, or the shapes by rm where that matters."""
        shape = self._oracle.shape(question)
        if "DISTINCT" in shape.rules or "DISTINCT_DESTINATION" in shape.rules:
            return shape
        others = [question._replace(rm=rm) for rm in range(8)]
        if len({self._oracle.ask(other) for other in others}) == 1:
            return shape
        shapes = tuple(self._oracle.shape(other) if self._oracle.ask(other) else INVALID for other in others)
        return shape if set(shapes) == {shape} else shapes

    def _survey_3dnow(self) -> list[int]:
        """Return the suffixes that are instructions, and give 0F 0F their common shape."""
        legacy_0f = SPACES[1]
        found = []
        for suffix in range(256):
            Decoder(64, _D3NOW + bytes((0xC1, suffix)) + bytes(16)).decode_out(self._oracle.instruction)
            if self._oracle.instruction.code != Code.INVALID:
                found.append(suffix)
        shape = Shape(1, "NEXT", "READ", "NO_LITERAL", 8, ("LOCK", "SUFFIX"))
        self.selected[legacy_0f, 0x0F] = ((shape,) * 16,) * legacy_0f.states
        self.names[legacy_0f, 0x0F] = {"3dnow": None}
        return found


def _known_opcodes() -> dict[tuple[int, int, int, int], bool]:
    """
    Return (kind, table, opcode, pp) of every instruction there is, and whether ModRM selects among them.

    Those of legacy encodings have ANY_PREFIX as pp.
    """
    found: dict[tuple[int, int, int, int], bool] = {}
    for code in (value for value in vars(Code).values() if isinstance(value, int)):
        info = OpCodeInfo(code)  # type: ignore[arg-type]
        first = info.op_code >> 8 if info.op_code_len == 2 else info.op_code
        prefix = (
            ANY_PREFIX
            if info.encoding == EncodingKind.LEGACY
            else max(info.mandatory_prefix - MandatoryPrefix.PNP, 0)
        )
        in_opcode = not _OPCODE_OPERANDS.isdisjoint(info.op_kinds())
        for opcode in range(first, first + 8) if in_opcode else (first,):
            place = (info.encoding, info.table, opcode, prefix)
            by_modrm = info.is_group or info.is_rm_group or info.op_code_len == 2
            found[place] = found.get(place, False) or by_modrm
    return found


def _mnemonic(info: OpCodeInfo) -> str:
    return info.instruction_string.split()[0].lower()
