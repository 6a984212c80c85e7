"""Whole or not at all: what stands at the target after everything that can go wrong."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from images.content import Content
from images.errors import OutputError
from images.output import write_file, write_files, write_tree
from images.tree import Entry, Tree
from tests.images.test_formats import TIME, TREE, expected, unpacked
from tests.images.trees import WHY, file

ROOT = Path(__file__).resolve().parents[2]
OLD = {"oci-layout": b"{}", "old": b"old"}
NEW = {"oci-layout": b"{}", "blobs/new": b"new"}
Write = Callable[[Path], None]


class Interrupted(Mapping[str, bytes]):
    """Files of which the last one never comes."""

    def __getitem__(self, key: str) -> bytes:
        raise KeyError(key)

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        yield "oci-layout"
        raise KeyboardInterrupt

    def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]  # only iterated
        yield "oci-layout", b"{}"
        raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def raising() -> bytes:
    raise KeyboardInterrupt


BROKEN = Entry.file(b"/z", Content(4, "0" * 64, raising), WHY)


def test_a_new_directory(tmp_path: Path) -> None:
    write_files(tmp_path / "new", NEW)
    assert contents(tmp_path / "new") == NEW
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


@pytest.mark.parametrize("before", [None, OLD, {}], ids=["nothing", "an image", "an empty directory"])
def test_an_image_takes_the_place_of_another(tmp_path: Path, before: dict[str, bytes] | None) -> None:
    if before is not None:
        (tmp_path / "it").mkdir()
        for name, data in before.items():
            (tmp_path / "it" / name).write_bytes(data)
    write_files(tmp_path / "it", NEW)
    assert contents(tmp_path / "it") == NEW
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_tree_is_written_with_its_modes_and_time(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        write_tree(tmp_path / "it", TREE, TIME)
    finally:
        os.umask(old)
    assert unpacked(tmp_path / "it") == expected(TREE)
    for path in [tmp_path / "it", *(tmp_path / "it").rglob("*")]:
        assert path.lstat().st_mtime == TIME


@pytest.mark.parametrize(
    "write",
    [
        lambda place: write_files(place, Interrupted()),
        lambda place: write_tree(place, Tree.of([file("/a"), BROKEN]), TIME),
    ],
    ids=["files", "tree"],
)
def test_an_interrupt_leaves_everything_as_it_was(tmp_path: Path, write: Write) -> None:
    write_files(tmp_path / "it", OLD)
    for target in (tmp_path / "it", tmp_path / "fresh"):
        with pytest.raises(KeyboardInterrupt):
            write(target)
    assert contents(tmp_path / "it") == OLD
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


FULL = """
import sys; from pathlib import Path; sys.path.insert(0, {root!r})
from images.errors import OutputError
from images.output import write_file, write_files
try:
    if {kind!r} == "file":
        write_file(Path({target!r}), bytes(1 << 20))
    else:
        write_files(Path({target!r}), {{"oci-layout": b"", "a": b"a", "b": bytes(1 << 20)}})
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["file", "files"])
@pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, kind: str, *, there: bool) -> None:
    target = tmp_path / "it"
    if there:
        write_files(target, OLD) if kind == "files" else target.write_bytes(b"old")
    script = FULL.format(root=str(ROOT), kind=kind, target=str(target))
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
    )  # fmt: skip
    assert "want a place to write to" in done.stdout
    assert list(tmp_path.iterdir()) == ([target] if there else [])
    if there:
        assert (contents(target) == OLD) if kind == "files" else (target.read_bytes() == b"old")


def precious(place: Path) -> None:
    place.mkdir()
    (place / "thesis").write_bytes(b"precious")


def a_file(place: Path) -> None:
    place.write_bytes(b"precious")


def a_link(place: Path) -> None:
    write_files(place.with_name("elsewhere"), OLD)
    place.symlink_to("elsewhere")


@pytest.mark.parametrize("there", [precious, a_file, a_link])
def test_what_is_no_image_is_never_replaced(tmp_path: Path, there: Write) -> None:
    there(tmp_path / "it")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="no image"):
        write_files(tmp_path / "it", NEW)
    with pytest.raises(OutputError, match="no image"):
        write_tree(tmp_path / "it", TREE, TIME)
    assert contents(tmp_path) == before


def test_a_file_never_replaces_a_directory(tmp_path: Path) -> None:
    precious(tmp_path / "it")
    with pytest.raises(OutputError, match="no file"):
        write_file(tmp_path / "it", b"new")
    assert contents(tmp_path / "it") == {"thesis": b"precious"}


@pytest.mark.parametrize("place", ["missing/it", "file/it"])
def test_a_place_that_is_not_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    for write in (lambda target: write_files(target, NEW), lambda target: write_file(target, b"new")):
        with pytest.raises(OutputError):
            write(tmp_path / place)


def test_a_file_is_written_as_everybody_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_file(tmp_path / "it", b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "it").stat().st_mode & 0o777 == 0o644
