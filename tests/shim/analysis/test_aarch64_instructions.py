"""Instruction words of AArch64 are taken apart as a disassembler written by others takes them apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from shim.analysis.aarch64.instruction import Op, decode
from shim.analysis.aarch64.registers import LR, SP, X0, ZERO, name

capstone: Any = pytest.importorskip("capstone", reason="capstone is what AArch64 words are compared with")
ORACLE = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
ORACLE.detail = True
IP = 0x40_1000
LETTERS = {**{f"x{n}": X0 + n for n in range(31)}, **{f"w{n}": X0 + n for n in range(31)}}
LETTERS |= {"sp": SP, "wsp": SP, "xzr": ZERO, "wzr": ZERO, "fp": X0 + 29, "lr": LR}

# One word of each kind whose fields are then varied: the word, and the bits that stay.
KINDS = {
    "add and sub immediate": (0x1100_0000, 0x1F80_0000),
    "add and sub shifted": (0x0B00_0000, 0x1F20_0000),
    "add and sub extended": (0x0B20_0000, 0x1FE0_0000),
    "logical immediate": (0x1200_0000, 0x1F80_0000),
    "logical shifted": (0x0A00_0000, 0x1F00_0000),
    "wide moves": (0x1280_0000, 0x1F80_0000),
    "bit fields": (0x1300_0000, 0x1F80_0000),
    "conditional selects": (0x1A80_0000, 0x3FE0_0800),
    "addresses": (0x1000_0000, 0x1F00_0000),
    "load and store, scaled": (0x3900_0000, 0x3F00_0000),
    "load and store, unscaled": (0x3800_0000, 0x3F20_0C00),
    "load and store, written back": (0x3800_0400, 0x3F20_0400),
    "load and store, indexed": (0x3820_0800, 0x3F20_0C00),
    "pairs": (0x2800_0000, 0x3E00_0000),
    "literals": (0x1800_0000, 0x3F00_0000),
    "branches": (0x1400_0000, 0x7C00_0000),
    "conditional branches": (0x5400_0000, 0xFF00_0010),
    "compare and branch": (0x3400_0000, 0x7E00_0000),
    "test and branch": (0x3600_0000, 0x7E00_0000),
    "three sources": (0x1B00_0000, 0x7FE0_0000),
}


def known(word: int) -> Any:  # noqa: ANN401  # what capstone gives
    return next(ORACLE.disasm(word.to_bytes(4, "little"), IP), None)


def registers(text: str) -> set[int]:
    """The general-purpose registers that assembly names, 0 apart."""
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").replace("!", " ").split()
    return {LETTERS[word] for word in words} - {ZERO} if all(w in LETTERS for w in words) else named(words)


def named(words: list[str]) -> set[int]:
    return {LETTERS[word] for word in words if word in LETTERS} - {ZERO}


def word_of(kind: str, fields: int) -> int:
    base, fixed = KINDS[kind]
    return base | fields & ~fixed & 0xFFFF_FFFF


@pytest.mark.parametrize("kind", KINDS)
@given(fields=st.integers(min_value=0, max_value=2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_operands_are_those_of_the_oracle(kind: str, fields: int) -> None:
    word = word_of(kind, fields)
    oracle = known(word)
    instruction = decode(word, IP)
    if oracle is None:
        return
    assert instruction.op != Op.INVALID, oracle
    text = f"{oracle.mnemonic} {oracle.op_str}"
    assert registers(oracle.op_str) <= instruction.written | instruction.read, text
    if kind not in {"pairs", "three sources"} and "prf" not in oracle.mnemonic:
        assert instruction.written | instruction.read <= registers(oracle.op_str) | {LR}, text
    if instruction.op in {Op.JUMP, Op.CALL, Op.BRANCH, Op.COMPARE_BRANCH, Op.TEST_BRANCH}:
        assert oracle.operands[-1].imm & 2**64 - 1 == instruction.immediate, text
    if kind == "addresses":
        assert oracle.operands[1].imm & 2**64 - 1 == instruction.immediate, text


@pytest.mark.parametrize(
    "kind", ["logical immediate", "load and store, scaled", "pairs", "add and sub immediate"]
)
@given(fields=st.integers(min_value=0, max_value=2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_numbers_are_those_of_the_oracle(kind: str, fields: int) -> None:
    word = word_of(kind, fields)
    oracle, instruction = known(word), decode(word, IP)
    if oracle is None or instruction.op == Op.OPAQUE:
        return
    operands = oracle.operands
    memory = [operand for operand in operands if operand.type == capstone.arm64.ARM64_OP_MEM]
    constants = [operand for operand in operands if operand.type == capstone.arm64.ARM64_OP_IMM]
    if memory:
        offset = constants[0].imm if constants else memory[0].mem.disp
        assert instruction.immediate == offset, oracle
    elif constants:
        wanted = constants[-1].imm << constants[-1].shift.value
        assert instruction.immediate == wanted & instruction.mask, oracle


# What the oracle does not know or gets wrong, against the manual: the word and what it may write.
WRITTEN = {
    "svc #0": (0xD400_0001, {X0}),
    "bl": (0x9400_0000, {LR}),
    "blr x3": (0xD63F_0060, {LR}),
    "cmp x1, x2": (0xEB02_003F, set()),
    "tst x1, #7": (0xF240_083F, set()),
    "ccmp x1, #0, #4, ne": (0xFA40_1824, set()),
    "swp x1, x2, [x3]": (0xF821_8062, {X0 + 2}),
    "ldadd w1, w2, [x3]": (0xB821_0062, {X0 + 2}),
    "cas x1, x2, [x3]": (0xC8A1_7C62, {X0 + 1}),
    "casp x2, x3, x4, x5, [x6]": (0x4822_7CC4, {X0 + 2, X0 + 3}),
    "ldxp x1, x2, [x3]": (0xC87F_0861, {X0 + 1, X0 + 2}),
    "stxr w1, x2, [x3]": (0xC801_7C62, {X0 + 1}),
    "ldar x1, [x2]": (0xC8DF_FC41, {X0 + 1}),
    "stlr x1, [x2]": (0xC89F_FC41, set()),
    "ldp q0, q1, [x2], #32": (0xACC1_0440, {X0 + 2}),
    "ld1 {v0.16b}, [x1], #16": (0x4CDF_7020, {X0 + 1}),
    "fmov x1, d0": (0x9E66_0001, {X0 + 1}),
    "fmov d1, x0": (0x9E67_0001, set()),
    "scvtf d1, x0": (0x9E62_0001, set()),
    "fcvtzs x1, d0": (0x9E78_0001, {X0 + 1}),
    "umov w1, v0.s[1]": (0x0E0C_3C01, {X0 + 1}),
    "movi v0.4s, #0": (0x4F00_0400, set()),
    "mrs x5, tpidr_el0": (0xD53B_D045, {X0 + 5}),
    "msr tpidr_el0, x5": (0xD51B_D045, set()),
    "paciasp": (0xD503_233F, set()),
    "str x1, [x2, #8]!": (0xF800_8C41, {X0 + 2}),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written(text: str) -> None:
    word, written = WRITTEN[text]
    assert {name(register) for register in decode(word, IP).written} == {
        name(register) for register in written
    }


@pytest.mark.parametrize("word", [0x0000_0000, 0x0000_FFFF, 0xD420_0000, 0xD440_0000, 0xD400_0002])
def test_what_traps(word: int) -> None:
    assert decode(word, IP).op == Op.TRAP


@pytest.mark.parametrize(
    "word", [0x0600_0000, 0x3600_0000 & ~0x3000_0000 | 0x0200_0000, 0x1280_0000 | 1 << 29]
)
def test_what_is_no_instruction(word: int) -> None:
    assert decode(word, IP).op == Op.INVALID


@given(word=st.integers(min_value=0, max_value=2**32 - 1))
@settings(max_examples=1000, deadline=None)
def test_every_word_is_something(word: int) -> None:
    instruction = decode(word, IP)
    assert instruction.next_ip == IP + 4
    assert not {0, ZERO} & instruction.written
