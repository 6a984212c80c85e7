"""What was really built: read from the binary, not from the flags. And programs of every kind it must launch."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.launch.plan import PlanFlag
from tests.golden import LAUNCHER_CALLS, launcher_calls
from tests.native.launching import LAUNCHER, Face, all_but, plan_for

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 3, 0x6474E551, 0x6474E552
EXECUTE, WRITE = 1, 2
SIZE_LIMIT = 120_000
STARTUP_ARRAYS = 64  # bytes of RELRO that the compiler's own .init_array, .fini_array and .got take


def program_headers(path: Path) -> list[tuple[int, int]]:
    """Type and flags of each program header of a 64-bit little-endian ELF file (ELF-64, "Program Header")."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<II", data, offset + size * number) for number in range(count)]


def test_launcher_is_one_static_file() -> None:
    headers = program_headers(LAUNCHER)
    kinds = [kind for kind, _ in headers]
    assert PT_INTERP not in kinds
    assert PT_DYNAMIC not in kinds  # and so no DT_NEEDED
    assert PT_GNU_RELRO in kinds
    assert [flags & EXECUTE for kind, flags in headers if kind == PT_GNU_STACK] == [0]
    assert not [flags for _, flags in headers if flags & WRITE and flags & EXECUTE]
    assert LAUNCHER.stat().st_size < SIZE_LIMIT


def code_pointers_in_writable_data(path: Path) -> list[int]:
    """Words of the writable segments' file image, RELRO's apart, that are addresses in an executable segment."""
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + size * number) for number in range(count)]
    code = [(s[3], s[3] + s[6]) for s in segments if s[0] == PT_LOAD and s[1] & EXECUTE]
    relro = [(s[3], s[3] + s[6]) for s in segments if s[0] == PT_GNU_RELRO and s[6] <= STARTUP_ARRAYS]
    found = []
    for kind, flags, at, address, _, file_size, _, _ in segments:
        if kind != PT_LOAD or not flags & WRITE:
            continue
        for place in range(-address % 8, file_size - 7, 8):
            if any(low <= address + place < high for low, high in relro):
                continue
            (word,) = struct.unpack_from("<Q", data, at + place)
            if any(low <= word < high for low, high in code):
                found.append(address + place)
    return found


def test_tables_of_functions_are_not_writable(launcher: Face) -> None:
    """Nobody protects RELRO in a static program of musl's, so the tables of steps are read-only text."""
    assert code_pointers_in_writable_data(Path(launcher.command[0])) == []


def test_writable_tables_would_be_seen(tmp_path: Path) -> None:
    source, out = tmp_path / "table.c", tmp_path / "table"
    source.write_text(
        "int one(void) { return 1; }\nint (*table[])(void) = { one, one };\nint main(void) { return table[0](); }\n"
    )
    subprocess.run(["musl-gcc", "-static", "-fno-pie", "-no-pie", source, "-o", out], check=True)
    assert len(code_pointers_in_writable_data(out)) >= 2


def test_the_reader_of_headers_sees_an_interpreter() -> None:
    assert PT_INTERP in [kind for kind, _ in program_headers(Path("/bin/true").resolve())]


HELLO_C = '#include <stdio.h>\nint main(int n, char **v) { printf("hello %d %s\\n", n, v[1]); return 6; }\n'
HELLO_GO = 'package main\nimport ("fmt"; "os")\nfunc main() { fmt.Println("hello", len(os.Args), os.Args[1]); os.Exit(6) }\n'
HELLO_RUST = (
    "fn main() { let a: Vec<String> = std::env::args().collect();"
    ' println!("hello {} {}", a.len(), a[1]); std::process::exit(6) }\n'
)
KINDS = {
    "musl-static": ("c", HELLO_C, ["musl-gcc", "-static", "{source}", "-o", "{out}"]),
    "glibc-static": ("c", HELLO_C, ["gcc", "-static", "{source}", "-o", "{out}"]),
    "glibc-static-pie": ("c", HELLO_C, ["gcc", "-static-pie", "{source}", "-o", "{out}"]),
    "go": ("go", HELLO_GO, ["go", "build", "-o", "{out}", "{source}"]),
    "rust-static": (
        "rs",
        HELLO_RUST,
        ["rustc", "-C", "target-feature=+crt-static", "{source}", "-o", "{out}"],
    ),
}


@pytest.fixture(scope="session")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("hello")

    def compiled(kind: str) -> Path:
        suffix, text, command = KINDS[kind]
        out, source = folder / kind, folder / f"{kind}.{suffix}"
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        if not out.exists():
            source.write_text(text)
            words = [word.format(source=source, out=out) for word in command]
            subprocess.run(words, check=True, capture_output=True)
        return out

    return compiled


@pytest.mark.parametrize("kind", KINDS)
def test_program_of_each_kind(face: Face, hello: Callable[[str], Path], kind: str) -> None:
    """Under a filter that allows all, and under one that refuses only exec, it behaves as unlaunched."""
    program = hello(kind)
    plain = subprocess.run([program, "world"], capture_output=True, text=True, env={"A": "1"}, check=False)
    assert (plain.returncode, plain.stdout) == (6, "hello 2 world\n")
    for rules, flags in ((all_but(()), PlanFlag.EXEC_ALLOWED), (all_but(), PlanFlag(0))):
        outcome = face.launch(plan_for(program, "world", filter=rules, flags=flags, environment=(b"A=1",)))
        assert (outcome.exit_code, outcome.output, outcome.errors) == (6, plain.stdout, ())


def test_what_the_launcher_itself_may_call() -> None:
    """Its profile is complete, and a new call in it is seen in a review: `make golden` writes the list."""
    assert launcher_calls() == LAUNCHER_CALLS.read_text()
