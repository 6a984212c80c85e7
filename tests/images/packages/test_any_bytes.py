"""Every reader of a root refuses what it cannot read with an error of its own, whatever the bytes are."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, strategies

from images.packages.apt_lists import candidates, releases
from images.packages.go import MAGIC, go_build
from images.packages.inventory import inventory, shim_package
from images.packages.licences import declared
from images.packages.rust import rust_crates
from shim.elf.image import ElfImage, Section
from shim.errors import ShimError
from tests.fakes.roots import apk_paragraph, image_file, stanza

TOOL = shim_package("0")
IMAGE = ElfImage("p", b"", "00" * 32, "", "x86_64", "ET_EXEC", 0, 0, (), (), None, (), range(0), 6)
# Pieces of what is right, so that more than the first line is reached.
PIECES = strategies.lists(
    strategies.sampled_from(
        [stanza().encode(), apk_paragraph("a", "1-r0", {"x": b"x"}).encode(), b"\n", b"\n\n", b" ", b":", b"P:", b"F:x\n",
         b"R:y\n", b"Z:Q1", b"Package: x\n", b"Version: 1\n", b"Status: install ok installed\n", b"Conffiles:\n /x y\n",
         b"ID=debian\n", b"VERSION_ID='", b"Date: Sat, 10 Jan 2026 00:00:00 UTC\n", b"Files: *\nLicense: x or\n", b"\xff"]
    )
    | strategies.binary(max_size=8),
    max_size=8,
).map(b"".join)  # fmt: skip


class OneFile:
    """A root where one file has any bytes."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path, self._data = path, data

    def read(self, path: str) -> bytes | None:
        return self._data if path == self._path else None

    def canonical(self, path: str) -> str:
        return path

    def listing(self, path: str) -> tuple[str, ...]:
        directory, _, name = self._path.rpartition("/")
        return (name,) if path == (directory or "/") else ()


@pytest.mark.parametrize(
    "path",
    ["/var/lib/dpkg/status", "/var/lib/dpkg/status.d/x", "/var/lib/dpkg/diversions", "/lib/apk/db/installed", "/etc/os-release"],
)  # fmt: skip
@given(data=PIECES)
def test_roots(path: str, data: bytes) -> None:
    with contextlib.suppress(ShimError):
        inventory([image_file("/x", b"x", "/x")], OneFile(path, data), TOOL)


@given(PIECES)
def test_licences(data: bytes) -> None:
    declared(
        b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n" + data, "copyright"
    )
    declared(data, "copyright")


@pytest.mark.parametrize("name", ["/x_InRelease", "/x_Release"])
@given(data=PIECES)
def test_lists(name: str, data: bytes) -> None:
    with contextlib.suppress(ShimError):
        list(candidates(OneFile(name, data), ["x"], releases(OneFile(name, data))))


@given(strategies.binary(max_size=60), strategies.sampled_from([b"\x08\x02", b"\x08\0", b"\x04\x01", b""]))
def test_accounts_of_go(data: bytes, flags: bytes) -> None:
    account = MAGIC + flags + data
    section = Section(".go.buildinfo", "SHT_PROGBITS", 0, 0, 0, len(account), 0, 0)
    with contextlib.suppress(ShimError):
        go_build(replace(IMAGE, data=account, sections=(section,)))


@given(strategies.binary(max_size=60))
def test_lists_of_crates(data: bytes) -> None:
    section = Section(".dep-v0", "SHT_PROGBITS", 0, 0, 0, len(data), 0, 0)
    with pytest.raises(ShimError):
        rust_crates(replace(IMAGE, data=data, sections=(section,)))
