"""Reading and writing a layout on disk: nothing but its files, nothing over links, whole or not at all."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from images.layout.errors import LayoutError, LayoutOutputError
from images.layout.files import is_layout, read_files
from images.layout.writing import replace_layout
from tests.fakes import layouts


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return layouts.write(layouts.layout(), tmp_path / "img")


def test_all_files_and_nothing_else(place: Path) -> None:
    assert read_files(place) == layouts.layout()
    assert is_layout(place)
    assert not is_layout(place.parent)


def blob(place: Path) -> Path:
    return min((place / "blobs" / "sha256").iterdir())


def linked(place: Path, name: str) -> None:
    path = place / name if name else blob(place)
    path.rename(place.parent / "elsewhere")
    path.symlink_to(place.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / "more").touch(), r"found 'more', want only oci-layout"),
        (lambda place: (place / "blobs" / "sha512").mkdir(), r"found 'blobs/sha512'"),
        (lambda place: (place / "blobs" / "sha256" / "x").touch(), r"found 'blobs/sha256/x'"),
        (lambda place: (place / "blobs" / "sha256" / ("A" * 64)).touch(), r"found 'blobs/sha256/AAA"),
        (lambda place: (place / "index.json.lock").touch(), r"found 'index.json.lock'"),
        (lambda place: (place / "a\nb").touch(), r"found 'a\\nb'"),
        (lambda place: Path(os.fsdecode(os.fsencode(place) + b"/\xff")).touch(), r"found '\\udcff'"),
        (lambda place: linked(place, "index.json"), r"'index.json': found Too many levels of symbolic links"),
        (lambda place: linked(place, "oci-layout"), r"'oci-layout': found Too many levels"),
        (lambda place: linked(place, "blobs"), r"'blobs': found (Not a directory|Too many levels)"),
        (lambda place: linked(place, "blobs/sha256"), r"'sha256': found (Not a directory|Too many levels)"),
        (lambda place: linked(place, ""), r"found Too many levels"),
        (lambda place: (blob(place).unlink(), blob(place).with_name("0" * 64).mkdir()), r"no regular file"),
        (lambda place: os.mkfifo(place / "blobs" / "sha256" / ("0" * 64)), r"found no regular file"),
    ],
)  # fmt: skip
def test_what_no_layout_has(place: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(place)
    with pytest.raises(LayoutError, match=message):
        read_files(place)


def test_more_bytes_than_are_read(place: Path) -> None:
    size = sum(map(len, layouts.layout().values()))
    assert read_files(place, size)
    with pytest.raises(LayoutError, match=r"want at most \d+ bytes"):
        read_files(place, size - 1)


@pytest.mark.parametrize("name", ["", "index.json", "nowhere"])
def test_a_place_that_is_no_directory(place: Path, name: str) -> None:
    target = place / name if name else place.parent / "x\0y"
    with pytest.raises(LayoutError):
        read_files(target)


def test_a_layout_takes_the_place_of_another(place: Path) -> None:
    place.chmod(0o750)
    files = layouts.layout(("arm64", (b"",)))
    replace_layout(place, files)
    assert read_files(place) == files
    assert place.stat().st_mode & 0o777 == 0o750
    assert [one.name for one in place.parent.iterdir()] == ["img"]


def test_a_link_to_a_layout_stays_one(place: Path) -> None:
    link = place.with_name("link")
    link.symlink_to(place)
    replace_layout(link, layouts.layout(("arm64", (b"",))))
    assert link.is_symlink()
    assert read_files(place) == layouts.layout(("arm64", (b"",)))


def test_what_is_no_layout_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    with pytest.raises(LayoutOutputError, match="no image layout"):
        replace_layout(tmp_path / "precious", layouts.layout())
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def test_a_full_disk_leaves_the_old_one(place: Path) -> None:
    before = read_files(place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(LayoutOutputError, match="File too large"):
            replace_layout(place, layouts.layout(("arm64", (os.urandom(10_000),))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_files(place) == before
    assert [one.name for one in place.parent.iterdir()] == ["img"]
