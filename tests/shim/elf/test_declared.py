"""What a directory of modules stands for: the loader itself says what can be opened."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from shim.elf.closure import closure
from shim.elf.declared import declared_objects
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.errors import TruncatedElfError, UnsupportedElfError
from tests.shim.elf.loader_truth import Workshop

LEAF = "int leaf(void) { return 1; }"
NOTHING = "int main(void) { return 0; }"


def names(folder: Path) -> list[str]:
    return [Path(path).name for path in declared_objects(str(folder), RootedFiles())]


def opened(path: Path) -> bool:
    try:
        ctypes.CDLL(str(path))
    except OSError:
        return False
    return True


def test_every_object_below_counts_whatever_its_name(workshop: Workshop) -> None:
    deep = workshop.folder / "modules/deep/er"
    deep.mkdir(parents=True)
    for name in ("one.so", "two.node", "three"):
        workshop.library(name, LEAF).rename(deep / name)
    (deep.parent / "link").symlink_to("er/one.so")
    (deep / "up").symlink_to("..")
    folder = workshop.folder / "modules"
    assert names(folder) == ["one.so", "three", "two.node", "link"]
    assert all(opened(deep / name) for name in ("one.so", "two.node", "three"))


def test_what_others_need_comes_before_them(workshop: Workshop) -> None:
    """As in a runtime of Java: `lib/libjava.so` needs `libjvm.so`, which lies in `lib/server`."""
    middle = "int leaf(void); int middle(void) { return leaf(); }"
    (workshop.folder / "modules/server").mkdir(parents=True)
    leaf = workshop.library("libleaf.so", LEAF, "-Wl,-soname,libleaf.so")
    workshop.library("middle.so", middle, "./libleaf.so").rename(workshop.folder / "modules/middle.so")
    leaf.rename(workshop.folder / "modules/server/libleaf.so")
    folder = workshop.folder / "modules"
    assert names(folder) == ["libleaf.so", "middle.so"]
    program = workshop.program("main", NOTHING)
    declared = declared_objects(str(folder), RootedFiles())
    found = closure(parse_elf(program.read_bytes(), str(program)), RootedFiles(), extra=declared)
    assert [one.path for one in found.objects][-2:] == list(declared)


def test_objects_that_need_each_other_are_each_there_once(workshop: Workshop) -> None:
    folder = workshop.folder / "modules"
    folder.mkdir()
    for name, other in (("a.so", "b.so"), ("b.so", "a.so"), ("b.so", "a.so"), ("a.so", "b.so")):
        stub = [] if not (folder / other).exists() else [str(folder / other)]
        workshop.library(name, LEAF, f"-Wl,-soname,{name}", "-Wl,--no-as-needed", *stub).rename(folder / name)
    assert sorted(names(folder)) == ["a.so", "b.so"]


def test_what_no_loader_opens_is_left_out(workshop: Workshop) -> None:
    folder = workshop.folder / "modules"
    folder.mkdir()
    workshop.library("one.so", LEAF).rename(folder / "one.so")
    workshop.program("main.so", NOTHING).rename(folder / "main.so")
    workshop.program("fixed.so", NOTHING, "-no-pie").rename(folder / "fixed.so")
    (folder / "script.so").write_text("INPUT(-lc)")
    (folder / "one.py").write_text("")
    assert names(folder) == ["one.so"]
    assert [path.name for path in sorted(folder.iterdir()) if opened(path)] == ["one.so"]


def test_a_file_or_a_name_stands_for_itself() -> None:
    assert declared_objects("/gone/libm.so.6", RootedFiles()) == ("/gone/libm.so.6",)


def test_a_directory_without_any_is_an_error(workshop: Workshop) -> None:
    (workshop.folder / "script.so").write_text("INPUT(-lc)")
    with pytest.raises(UnsupportedElfError, match="a directory without shared objects"):
        names(workshop.folder)


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda data: data[:18] + b"\xf3\x00" + data[20:], UnsupportedElfError),
        (lambda data: data[:-1], TruncatedElfError),
    ],
    ids=["of another machine", "cut off"],
)
def test_one_that_cannot_be_analysed_is_not_passed_over(workshop: Workshop, harm, error) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    workshop.library("one.so", LEAF)
    (workshop.folder / "two.so").write_bytes(harm((workshop.folder / "one.so").read_bytes()))
    with pytest.raises(error, match=r"two\.so"):
        names(workshop.folder)
