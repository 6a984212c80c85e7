"""ELF files that are not what they seem: every kind of damage ends in one of the project's own errors."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shim.analysis.derive import derive
from shim.elf.image import parse_elf
from shim.errors import BinaryError, MalformedElfError, NotElfError, TruncatedElfError, UnsupportedElfError

HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
MakeC = Callable[..., bytes]
MakeAsm = Callable[..., bytes]


@pytest.fixture(scope="module")
def tiny(assemble: MakeAsm) -> bytes:
    return assemble("_start: mov eax, 60\n xor edi, edi\n syscall\n hlt", "-s", "-Wl,--build-id=sha1")


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    raw = bytearray(data)
    struct.pack_into("<" + layout, raw, offset, value)
    return bytes(raw)


def test_facts_of_a_real_program(compile_c: MakeC) -> None:
    image = parse_elf(compile_c(HELLO, "-static", compiler="musl-gcc"), "hello")
    assert image.kind == "ET_EXEC"
    assert image.interpreter is None
    assert any(segment.executable and not segment.writable for segment in image.segments)
    assert image.section(".text") is not None
    assert len(image.sha256) == 64


NOT_ELF = {
    b"": "an empty file",
    b"#!/bin/sh\necho\n": "a script for '/bin/sh'",
    b"MZ\x90\0" + bytes(100): "a PE file",
    b"\0asm\1\0\0\0": "a WebAssembly module",
    b"hello, world": "bytes 68 65 6c 6c at offset 0",
    b"\x7fEL": "bytes 7f 45 4c at offset 0",
}


@pytest.mark.parametrize("data", NOT_ELF)
def test_not_elf_says_what_it_looks_like(data: bytes) -> None:
    with pytest.raises(NotElfError) as caught:
        parse_elf(data, "file")
    assert caught.value.found == NOT_ELF[data]
    assert str(caught.value) == f"file: found {NOT_ELF[data]}, want an ELF file (System V ABI, ELF)"


# (offset, layout, value) of one header field, the error and a piece of its text.
HEADER = [
    (4, "B", 1, UnsupportedElfError, "32-bit"),
    (4, "B", 7, UnsupportedElfError, "EI_CLASS 7"),
    (5, "B", 2, UnsupportedElfError, "EI_DATA 2"),
    (6, "B", 0, MalformedElfError, "EI_VERSION"),
    (16, "H", 1, UnsupportedElfError, "e_type"),
    (16, "H", 4, UnsupportedElfError, "e_type"),
    (18, "H", 183, UnsupportedElfError, "EM_AARCH64"),
    (18, "H", 3, UnsupportedElfError, "EM_386"),
    (24, "Q", 0, MalformedElfError, "e_entry"),
    (32, "Q", 1 << 40, TruncatedElfError, "e_phoff"),
    (32, "Q", (1 << 64) - 8, TruncatedElfError, "e_phoff"),
    (40, "Q", 1 << 40, TruncatedElfError, "e_shoff"),
    (54, "H", 40, MalformedElfError, "e_phentsize"),
    (56, "H", 0, MalformedElfError, "PT_LOAD"),
    (56, "H", 65535, MalformedElfError, "e_phnum"),
    (58, "H", 10, MalformedElfError, "e_shentsize"),
    (62, "H", 999, MalformedElfError, "e_shstrndx"),
]


@pytest.mark.parametrize(("offset", "layout", "value", "error", "text"), HEADER)
def test_damaged_header(
    tiny: bytes, offset: int, layout: str, value: int, error: type[BinaryError], text: str
) -> None:
    with pytest.raises(error, match=text):
        parse_elf(patched(tiny, offset, layout, value), "file")


# Fields of the second program header, the executable PT_LOAD of the linker's layout.
SEGMENT = [
    (8, 1 << 40, TruncatedElfError, "segment 1"),
    (32, 1 << 40, TruncatedElfError, "segment 1"),
    (40, 0x10, MalformedElfError, "p_filesz"),
    (40, 1 << 62, MalformedElfError, "end address"),
    (16, 0x400000, MalformedElfError, "overlap"),
    (16, 0x401001, MalformedElfError, "modulo the page"),
]


@pytest.mark.parametrize(("field", "value", "error", "text"), SEGMENT)
def test_absurd_segment(
    assemble: MakeAsm, field: int, value: int, error: type[BinaryError], text: str
) -> None:
    data = assemble("_start: mov eax, 60\n.rept 40\n nop\n.endr\n syscall\n hlt", "-s")
    with pytest.raises(error, match=text):
        parse_elf(patched(data, 64 + 56 + field, "Q", value), "file")


def test_dynamic_program_without_files_is_refused_by_name(compile_c: MakeC) -> None:
    with pytest.raises(UnsupportedElfError, match="or its libraries beside it") as caught:
        derive(compile_c(HELLO), "hello")
    assert "ld-linux" in caught.value.found


def test_shared_object_is_refused(compile_c: MakeC) -> None:
    library = compile_c('#include <stdio.h>\nint f(void) { return puts(""); }', "-shared", "-fPIC")
    with pytest.raises((UnsupportedElfError, MalformedElfError)):
        derive(library, "library.so")


def marked(data: bytes, behind: int) -> bytes:
    """Put UPX's mark `behind` bytes after the end of the program headers."""
    (count,) = struct.unpack_from("<H", data, 56)
    place = 64 + count * 56 + behind
    return data[:place] + b"UPX!" + data[place + 4 :]


def test_a_packed_program_is_refused_by_name(tiny: bytes) -> None:
    with pytest.raises(
        UnsupportedElfError, match="a program packed by UPX, want the program as it was before"
    ):
        parse_elf(marked(tiny, 4), "file")


@pytest.mark.parametrize("behind", [3, 5, 8])
def test_the_mark_elsewhere_is_no_packing(tiny: bytes, behind: int) -> None:
    assert parse_elf(marked(tiny, behind), "file").kind in ("ET_EXEC", "ET_DYN")


def test_static_pie_is_static(compile_c: MakeC) -> None:
    assert derive(compile_c(HELLO, "-static-pie"), "hello").complete


def test_every_prefix_is_refused(tiny: bytes) -> None:
    for length in range(len(tiny)):
        with pytest.raises(BinaryError):
            derive(tiny[:length], "prefix")


def test_every_prefix_of_a_libc_program_is_refused(compile_c: MakeC) -> None:
    data = compile_c(HELLO, "-static", "-s", compiler="musl-gcc")
    for length in range(0, len(data), 7):
        with pytest.raises(BinaryError):
            derive(data[:length], "prefix")


@settings(max_examples=300, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_anywhere_raises_nothing_else(assemble: MakeAsm, places: list[tuple[int, int]]) -> None:
    data = assemble(
        "_start: lea rdi, [rip+w]\n mov esi, 39\n call apply\n mov eax, 60\n syscall\n hlt\n"
        "apply: .cfi_startproc\n mov rax, rdi\n mov edi, esi\n call rax\n ret\n.cfi_endproc\n"
        "w: .cfi_startproc\n mov eax, edi\n syscall\n ret\n.cfi_endproc\n.data\n.balign 8\nt: .quad w",
        "-static-pie",
    )
    raw = bytearray(data)
    for place, value in places:
        raw[place % len(raw)] = value
    try:
        derive(bytes(raw), "damaged")
    except BinaryError as error:
        assert "\n" not in str(error)


def test_the_installed_programs_are_read_or_refused() -> None:
    for path in sorted(Path("/usr/bin").iterdir())[:150]:
        if path.is_file():
            try:
                parse_elf(path.read_bytes(), str(path))
            except BinaryError as error:
                assert str(path) in str(error)
