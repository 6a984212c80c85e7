"""Whose is a file, by apk's database, in both places where apk-tools keep it."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.packages.errors import PackageDatabaseError
from images.packages.inventory import inventory, shim_package
from images.packages.package import Ecosystem, Inventory, SourcePackage
from shim.elf.files import RootedFiles
from tests.fakes.roots import apk_paragraph, image_files, write

PLACES = ["lib/apk/db/installed", "usr/lib/apk/db/installed"]
MUSL = {"lib/ld-musl-x86_64.so.1": b"loader"}
BUSYBOX = {"bin/busybox": b"box", "etc/securetty": b"tty"}


def database() -> str:
    return apk_paragraph(
        "musl", "1.2.5-r9", MUSL, U="https://musl.libc.org/", L="MIT", o="musl", m="Some Body <s@b.example>"
    ) + apk_paragraph(
        "busybox",
        "1.37.0-r12",
        BUSYBOX,
        L="GPL-2.0-only",
        o="busybox",
        D="so:libc.musl-x86_64.so.1 musl>=1.2 !old",
    )


@pytest.fixture(params=PLACES)
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write(tmp_path, {"etc/os-release": "ID=alpine\nVERSION_ID=3.22.0\n", request.param: database()})
    return write(tmp_path, {**MUSL, **BUSYBOX})


def owned(root: Path, *paths: str) -> Inventory:
    return inventory(image_files(root, paths), RootedFiles(str(root)), shim_package("0"))


def test_packages_of_files(root: Path) -> None:
    found = owned(root, "/bin/busybox", "/lib/ld-musl-x86_64.so.1")
    busybox, musl = (file.owners[0] for file in found.files)
    assert (musl.ecosystem, musl.name, musl.version, musl.arch) == (
        Ecosystem.APK,
        "musl",
        "1.2.5-r9",
        "x86_64",
    )
    assert (musl.distribution, musl.release, musl.licence) == ("alpine", "3.22.0", "MIT")
    assert musl.source == SourcePackage("musl", "1.2.5-r9")
    assert busybox.name == "busybox"
    assert found.links == ((busybox, musl),)
    assert not any(file.altered for file in found.files)


def test_a_database_behind_a_link_counts_once(tmp_path: Path) -> None:
    write(tmp_path, {"usr/lib/apk/db/installed": database(), "usr/lib/ld-musl-x86_64.so.1": b"loader"})
    (tmp_path / "lib").symlink_to("usr/lib")
    (file,) = owned(tmp_path, "/usr/lib/ld-musl-x86_64.so.1").files
    assert [package.name for package in file.owners] == ["musl"]


def test_a_changed_file_is_said_to_be_changed(root: Path) -> None:
    write(root, {"bin/busybox": b"another"})
    (file,) = owned(root, "/bin/busybox").files
    assert file.altered


def test_a_file_that_no_package_has(root: Path) -> None:
    write(root, {"bin/own": b"x"})
    assert owned(root, "/bin/own").files[0].owners == ()


def test_newer_digests_prove_nothing_and_refuse_nothing(root: Path) -> None:
    text = apk_paragraph("musl", "1.2.5-r9", MUSL).replace("Z:Q1", "Z:Q2")
    for place in PLACES:
        (root / place).unlink(missing_ok=True)
    write(root, {PLACES[1]: text})
    (file,) = owned(root, "/lib/ld-musl-x86_64.so.1").files
    assert (len(file.owners), file.altered) == (1, False)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("P:musl\n", ""),
        ("P:musl\n", "P:mu sl\n"),
        ("V:1.2.5-r9\n", ""),
        ("V:1.2.5-r9\n", "V:r9\n"),
        ("F:lib\n", ""),
        ("F:lib\nR:ld-musl-x86_64.so.1\n", ""),
        ("Z:Q1", "Z:Q1*"),
        ("Z:Q1", "Z:Q1AAAA"),
        ("P:musl\n", "P:musl\nnonsense\n"),
    ],
)
def test_a_damaged_database(root: Path, line: str, changed: str) -> None:
    text = apk_paragraph("musl", "1.2.5-r9", MUSL)
    assert line in text
    for place in PLACES:
        if (root / place).exists():
            write(root, {place: text.replace(line, changed)})
    with pytest.raises(PackageDatabaseError):
        owned(root, "/lib/ld-musl-x86_64.so.1")
