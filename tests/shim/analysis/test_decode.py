"""Runs followed in C against the disassembler: single instructions, whole runs, the tables, ends of segments."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from iced_x86 import Code, Decoder, Instruction

from shim.analysis import decode
from shim.analysis._decode import ffi, lib
from shim.analysis.decode import MARK, MARK_RUN, MAX_RUN, Abi, Disassembler, Ending, Reference, Run, Use
from shim.analysis.generate import Tables
from shim.analysis.opcodes import Survey
from shim.elf.image import parse_elf
from shim.elf.memory import Memory
from shim.elf.relocations import relocations
from tests.shim.analysis.stepwise import Code64, follow

ROOT = Path(__file__).resolve().parents[3]
BASE = 0x400000
CODE = BASE + 0x1000
SYSTEM = [Path("/bin/bash"), Path("/usr/bin/python3"), Path("/lib/x86_64-linux-gnu/libc.so.6")]
CORPUS = sorted((ROOT / "build" / "corpus" / "bin" / "open").glob("*"))


def program(code: bytes, *, absolute: bool = True, behind: bytes = b"") -> Memory:
    """One executable segment with `code`, and another right behind it if there are bytes for it."""
    parts = [(0x1000, code), (0x1000 + len(code), behind)] if behind else [(0x1000, code)]
    kind = 2 if absolute else 3
    data = b"\x7fELF\x02\x01\x01" + bytes(9)
    data += struct.pack(
        "<HHIQQQIHHHHHH",
        kind,
        62,
        1,
        CODE - (0 if absolute else BASE),
        64,
        0,
        0,
        64,
        56,
        len(parts),
        64,
        0,
        0,
    )
    for offset, part in parts:
        address = offset + (BASE if absolute else 0)
        data += struct.pack("<IIQQQQQQ", 1, 5, offset, address, address, len(part), len(part), 1)
    data = data.ljust(0x1000, b"\0") + code + behind
    image = parse_elf(data, "test", base=BASE) if not absolute else parse_elf(data, "test")
    return Memory((image,), relocations(image))


def both(code: bytes, returning: set[int] = frozenset(), *, absolute: bool = True) -> tuple[Run, Run]:  # type: ignore[assignment]
    """The run at the start of `code`, as it is and as it should be, with equal marks."""
    memory = program(code, absolute=absolute)
    image, disassembler = memory.images[0], Disassembler(memory)
    known = Code64(code, CODE, image.segments[0].address, image.segments[-1].end, absolute)
    run, want = disassembler.run(CODE, returning), follow(known, CODE, returning)
    marks = disassembler.regions[0].marks
    assert {CODE + at for at in range(len(marks)) if marks[at]} == known.decoded
    assert marks[0] == MARK_RUN
    return run, want


PREFIXES = st.lists(
    st.sampled_from([0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x64, *range(0x40, 0x50)]), max_size=4
).map(bytes)
ESCAPES = st.sampled_from([b"", b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a", b"\x0f\x0f"])
VEX = st.builds(
    lambda first, second: bytes((0xC4, 0xE0 | first, second)), st.sampled_from([1, 2, 3]), st.integers(0, 255)
)
XOP = st.builds(
    lambda first, second: bytes((0x8F, 0xE0 | first, second)),
    st.sampled_from([8, 9, 10]),
    st.integers(0, 255),
)
EVEX = st.builds(
    lambda first, second, third: bytes((0x62, first, second | 4, third)),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
)
BEGINNINGS = st.one_of(st.tuples(PREFIXES, ESCAPES).map(b"".join), VEX, XOP, EVEX, st.just(b"\xc5"))
ENCODINGS = st.tuples(BEGINNINGS, st.binary(min_size=2, max_size=12)).map(b"".join)
# Branches within reach, references into the image, padding, kernel entries.
USEFUL = st.one_of(
    st.sampled_from(
        [
            b"\xcc",
            b"\xcc\xcc",
            b"\x0f\x05",
            b"\x0f\x34",
            b"\xcd\x80",
            b"\xcd\x81",
            b"\xf4",
            b"\x0f\x0b",
            b"\xc3",
        ]
    ),
    st.builds(
        lambda opcode, at: opcode + struct.pack("<i", at),
        st.sampled_from([b"\xe8", b"\xe9", b"\x0f\x85", b"\xc7\xf8"]),
        st.integers(-8, 40),
    ),
    st.builds(
        lambda opcode, at: opcode + struct.pack("<i", at),
        st.sampled_from([b"\x8b\x05", b"\x48\x8d\x0d", b"\xff\x15", b"\xff\x25"]),
        st.integers(-64, 64),
    ),
    st.builds(
        lambda opcode, at: opcode + struct.pack("<I", CODE + at),
        st.sampled_from(
            [
                b"\xbf",
                b"\x68",
                b"\x8b\x04\x25",
                b"\x89\x04\x25",
                b"\x8b\x04\xc5",
                b"\xff\x24\x25",
                b"\xff\x14\xc5",
                b"\x2e\xff\x24\x25",
            ]
        ),
        st.integers(-8, 60),
    ),
)


@given(code=ENCODINGS, absolute=st.booleans())
@settings(max_examples=800, deadline=None)
def test_any_encoding(*, code: bytes, absolute: bool) -> None:
    run, want = both(code, absolute=absolute)
    assert run == want


@given(
    code=st.lists(st.one_of(USEFUL, USEFUL, ENCODINGS), max_size=30).map(b"".join).filter(len),
    returning=st.sets(st.integers(CODE, CODE + 80)),
    absolute=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_runs_of_useful_instructions(*, code: bytes, returning: set[int], absolute: bool) -> None:
    run, want = both(code, returning, absolute=absolute)
    assert run == want


def disagreements(encodings: Iterator[bytes]) -> list[str]:
    """The encodings about which C and the disassembler differ in length or in whether they are valid."""
    native, instruction, found = ffi.new("struct x86_instruction *"), Instruction(), []
    for code in encodings:
        Decoder(64, code).decode_out(instruction)
        lib.x86_decode(code, len(code), native)
        length = 0 if native.shape.control == lib.X86_INVALID else native.length
        if length != (instruction.len if instruction.code != Code.INVALID else 0):
            found.append(code.hex(" "))
    return found


REST = bytes.fromhex("4c 11 22 33 44 80 66 77 88 99 aa bb")


def legacy() -> Iterator[bytes]:
    for prefix, escape in product(
        [b"", b"\x66", b"\xf3", b"\xf2", b"\xf0", b"\x4f"],
        [b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a", b"\x0f\x0f"],
    ):
        for opcode, modrm in product(range(256), range(0, 256, 5)):
            yield prefix + escape + bytes((opcode, modrm)) + REST


def vector() -> Iterator[bytes]:
    forms = range(1, 256, 31)
    for first, number, opcode, form in product([0xC4, 0x8F], range(11), range(256), range(16)):
        second = (form & 8) << 4 | 0x78 | form & 7
        for modrm in forms:
            yield bytes((first, 0xE0 | number, second, opcode, modrm)) + REST
    for number, opcode, form, third in product(
        range(8), range(256), range(8), [0x08, 0x19, 0x48, 0x49, 0xC9, 0x01]
    ):
        second = (form & 4) << 5 | 0x7C | form & 3
        for modrm in (0x04, 0x05, 0xC1, 0xF7):
            yield bytes((0x62, 0xF0 | number, second, third, opcode, modrm)) + REST


@pytest.mark.parametrize("encodings", [legacy, vector])
def test_opcode_maps(encodings: type[Iterator[bytes]]) -> None:
    assert disagreements(encodings()) == []


def test_a_difference_would_be_seen() -> None:
    native = ffi.new("struct x86_instruction *")
    lib.x86_decode(b"\x48\x90", 2, native)
    assert (native.length, native.shape.control) == (2, lib.X86_NEXT)
    lib.x86_decode(b"\x48\x06", 2, native)
    assert native.shape.control == lib.X86_INVALID


@pytest.mark.corpus
@pytest.mark.parametrize("path", [*CORPUS, *SYSTEM], ids=lambda path: path.name)
def test_real_code(path: Path) -> None:
    """A sweep over the first part of each program's code."""
    if not path.exists():
        pytest.skip(f"{path} is not here")
    data = path.read_bytes()
    image = parse_elf(data, str(path), shared=data[16] == 3)
    code = next(image.data[part.offset :][: part.file_size] for part in image.segments if part.executable)[
        :200_000
    ]
    decoder, instruction = Decoder(64, code), Instruction()
    native, all_of_it, at = ffi.new("struct x86_instruction *"), ffi.from_buffer("uint8_t[]", code), 0
    while at < len(code) - decode.MAX_INSTRUCTION:
        decoder.position = at
        decoder.decode_out(instruction)
        lib.x86_decode(all_of_it + at, len(code) - at, native)
        valid = instruction.code != Code.INVALID
        assert (native.shape.control != lib.X86_INVALID) == valid, hex(at)
        assert not valid or native.length == instruction.len, hex(at)
        at += instruction.len if valid else 1


def test_generated_tables_are_current() -> None:
    """`python -m shim.analysis.generate --output native/x86_tables.c` mends it."""
    want = (ROOT / "native" / "x86_tables.c").read_text(encoding="ascii")
    assert Tables(Survey()).text() == want


def test_numbers_are_those_of_the_headers() -> None:
    for name, value in vars(Ending).items():
        assert not name.isupper() or getattr(lib, f"X86_{name}") == value
    for name, value in vars(Use).items():
        assert not name.isupper() or getattr(lib, f"X86_{name}") == value
    assert (lib.X86_MARK, lib.X86_MARK_RUN, lib.X86_MAX_RUN) == (MARK, MARK_RUN, MAX_RUN)


WHOLE = [
    "90",
    "0f05",
    "488d0d00000000",
    "48b81122334455667788",
    "660f3a0fc108",
    "c5f877",
    "c4e27849c0",
    "62f17c4858c1",
    "0f0fc1bf",
    "f00fb101",
    "a01122334455667788",
    "c8100001",
    "66c7f80000",
    "8fe97812c0",
]


@pytest.mark.parametrize("code", [bytes.fromhex(code) for code in WHOLE], ids=WHOLE)
def test_an_instruction_cut_short_by_the_segment_is_none(code: bytes) -> None:
    assert Disassembler(program(code)).run(CODE, set()).ending == Ending.FALL
    for size in range(1, len(code)):
        run = Disassembler(program(code[:size])).run(CODE, set())
        if code[:size] != b"\x66":
            assert (run.ending, run.end, run.last, run.target) == (Ending.INVALID, CODE, 0, 0), size


INVALID = {
    "16 bytes": "66" * 15 + "90",
    "removed in 64-bit mode": "06",
    "lock without memory": "f0 87 c0",
    "lock of what cannot be": "f0 8b 00",
    "66 before VEX": "66 c5 f8 77",
    "REX before VEX": "40 c5 f8 77",
    "vvvv of what has none": "c5 b8 28 00",
    "map of VEX": "c4 e4 78 10 c0",
    "fixed bit of EVEX": "62 f1 78 48 58 c1",
    "z without a mask": "62 f1 7c c8 58 c1",
    "gather of one register": "c4 e2 f9 93 44 00 01",
    "gather without SIB": "c4 e2 f9 93 40 01",
    "control register 1": "0f 20 c8",
    "segment register 6": "8e f0",
    "move to CS": "8e c8",
    "suffix of 3DNow!": "0f 0f c1 00",
    "REX2": "d5 00 c0",
}


@pytest.mark.parametrize("code", INVALID.values(), ids=INVALID)
def test_invalid_encodings_end_a_run(code: str) -> None:
    data = b"\x90" + bytes.fromhex(code) + bytes(16)
    run, want = both(data)
    assert (run.ending, run.end, run.last) == (Ending.INVALID, CODE + 1, 0)
    assert run == want


def test_outside_every_segment() -> None:
    disassembler = Disassembler(program(b"\x90\xc3"))
    for address in (0, CODE - 1, CODE + 2, 2**64 - 1):
        assert disassembler.run(address, set()) == Run(
            address, address, 0, Ending.INVALID, 0, [], [], [], [], []
        )
    assert not any(disassembler.regions[0].marks)


@pytest.mark.parametrize(
    ("behind", "ending"), [(b"\xcc\xc3", Ending.STOP), (b"\x90\xc3", Ending.FALL), (b"", Ending.FALL)]
)
def test_padding_goes_on_in_the_next_segment(behind: bytes, ending: int) -> None:
    run = Disassembler(program(b"\x90\xcc", behind=behind)).run(CODE, set())
    assert (run.ending, run.end) == (ending, CODE + 2)


def test_a_run_has_an_end() -> None:
    code = b"\x90" * (MAX_RUN - 1) + b"\x48\x31\xc0" + b"\xc3"
    run = Disassembler(program(code)).run(CODE, set())
    assert (run.ending, run.end, run.last) == (Ending.FALL, CODE + MAX_RUN + 2, 0)


@pytest.mark.parametrize(
    "code",
    [b"\x75\x00", b"\xff\xd0", b"\x0f\x05", b"\xcd\x80", b"\xbf\x00\x10\x40\x00"],
    ids=lambda code: code.hex(),
)
def test_as_many_reports_as_fit_into_a_run(code: bytes) -> None:
    run, want = both(code * MAX_RUN)
    assert run == want
    assert max(
        map(len, (run.branches, run.indirect_calls, run.kernel_entries, run.references))
    ) >= MAX_RUN // len(code)


def test_decoded_code_is_not_decoded_again() -> None:
    disassembler = Disassembler(program(b"\x90\x90\x90\xc3"))
    assert disassembler.run(CODE + 2, set()).ending == Ending.RETURN
    run = disassembler.run(CODE, set())
    assert (run.ending, run.end) == (Ending.FALL, CODE + 2)


def test_calls_end_a_run_until_the_callee_returns() -> None:
    code = b"\xe8\x06\x00\x00\x00" + b"\xe8\x02\x00\x00\x00" + b"\x0f\x05" + b"\xc3"
    first, second = CODE + 11, CODE + 12
    run = Disassembler(program(code)).run(CODE, {first})
    assert (run.ending, run.last, run.target, run.calls) == (Ending.CALL, CODE + 5, second, [(CODE, first)])
    run = Disassembler(program(code)).run(CODE, {first, second})
    assert run.calls == [(CODE, first), (CODE + 5, second)]
    assert run.kernel_entries == [(CODE + 10, Abi.SYSCALL)]
    assert (run.ending, run.last) == (Ending.RETURN, CODE + 12)


REFERENCES = {
    "lea rcx, [rip]": ("48 8d 0d 00 00 00 00", (CODE + 7, Use.ADDRESS, 0)),
    "mov eax, [rip]": ("8b 05 00 00 00 00", (CODE + 6, Use.READ, 4)),
    "mov [rip], rax": ("48 89 05 00 00 00 00", (CODE + 7, Use.WRITE, 8)),
    "add [rip], rax": ("48 01 05 00 00 00 00", (CODE + 7, Use.READ, 8)),
    "movaps [rip], xmm0": ("0f 29 05 00 00 00 00", (CODE + 7, Use.WRITE, 16)),
    "mov eax, [0x401008]": ("8b 04 25 08 10 40 00", (CODE + 8, Use.READ, 4)),
    "mov eax, [rax*8 + 0x401008]": ("8b 04 c5 08 10 40 00", (CODE + 8, Use.INDEXED, 0)),
    "movabs al, [0x401008]": ("a0 08 10 40 00 00 00 00 00", (CODE + 8, Use.READ, 1)),
    "mov edi, 0x401008": ("bf 08 10 40 00", (CODE + 8, Use.ADDRESS, 0)),
    "nop [rip]": ("0f 1f 05 00 00 00 00", None),
    "mov eax, [rip + 4096]": ("8b 05 00 10 00 00", None),
    "mov di, 0x1008": ("66 bf 08 10", None),
    "push 0x7fffffff": ("68 ff ff ff 7f", None),
}


@pytest.mark.parametrize("row", REFERENCES.values(), ids=REFERENCES)
def test_references(row: tuple[str, tuple[int, int, int] | None]) -> None:
    code, want = row
    run, stepwise = both(bytes.fromhex(code) + b"\xc3" + bytes(16))
    assert run.references == ([] if want is None else [Reference(CODE, *want)])
    assert run == stepwise


def test_only_fixed_images_are_named_by_numbers() -> None:
    numbers = bytes.fromhex("bf 08 10 40 00 8b 04 25 08 10 40 00 c3") + bytes(16)
    assert len(both(numbers, absolute=True)[0].references) == 2
    assert both(numbers, absolute=False)[0].references == []


POINTERS = {
    "jmp [rip]": ("ff 25 00 00 00 00", CODE + 6),
    "jmp [rip - 0x500000]": ("ff 25 00 00 b0 ff", CODE + 6 - 0x500000 + 2**64),
    "jmp [eip - 0x500000]": ("67 ff 25 00 00 b0 ff", CODE + 7 - 0x500000 + 2**32),
    "jmp [0x401008]": ("ff 24 25 08 10 40 00", CODE + 8),
    "jmp [-2048]": ("ff 24 25 00 f8 ff ff", 2**64 - 2048),
    "jmp [-2048] of 32 bits": ("67 ff 24 25 00 f8 ff ff", 2**32 - 2048),
    "jmp fs:[0x401008]": ("64 ff 24 25 08 10 40 00", 0),
    "jmp [rax*8 + 0x401008]": ("ff 24 c5 08 10 40 00", 0),
    "jmp rax": ("ff e0", 0),
}


@pytest.mark.parametrize("row", POINTERS.values(), ids=POINTERS)
def test_pointers_of_indirect_jumps(row: tuple[str, int]) -> None:
    code, want = row
    run, stepwise = both(bytes.fromhex(code))
    assert (run.ending, run.target) == (Ending.JUMP_INDIRECT, want)
    assert run == stepwise
