"""Paths below a root directory: links stay inside, whatever they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.elf.files import BoundedFiles, RootedFiles
from shim.errors import BinaryError, UnsupportedElfError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"outside")
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/a").write_bytes(b"inside")
    (root / "lib").symlink_to("usr/lib")
    (root / "abs").symlink_to("/usr/lib/a")
    (root / "usr/up").symlink_to("../../../../usr/lib/a")
    (root / "escape").symlink_to("../secret")
    (root / "real").symlink_to(str(tmp_path / "secret"))
    (root / "loop").symlink_to("loop2")
    (root / "loop2").symlink_to("/loop")
    (root / "chain").symlink_to("lib/../lib/./a")
    return root


# path in the root, its bytes or None, its canonical name
PATHS = [
    ("/usr/lib/a", b"inside", "/usr/lib/a"),
    ("/lib/a", b"inside", "/usr/lib/a"),
    ("//lib//./a", b"inside", "/usr/lib/a"),
    ("/abs", b"inside", "/usr/lib/a"),
    ("/usr/up", b"inside", "/usr/lib/a"),
    ("/chain", b"inside", "/usr/lib/a"),
    ("/../../usr/lib/a", b"inside", "/usr/lib/a"),
    ("/lib/../lib/a", b"inside", "/usr/lib/a"),  # `..` of the directory behind the link, as in the kernel
    ("/escape", None, "/secret"),
    ("/usr", None, "/usr"),
    ("/usr/lib/a/b", None, "/usr/lib/a/b"),
    ("/absent/file", None, "/absent/file"),
    ("/../secret", None, "/secret"),
]


@pytest.mark.parametrize(("path", "data", "canonical"), PATHS)
def test_paths_mean_what_they_mean_in_a_chroot(
    root: Path, path: str, data: bytes | None, canonical: str
) -> None:
    files = RootedFiles(str(root))
    assert files.read(path) == data
    assert files.canonical(path) == canonical


def test_a_link_to_a_real_path_outside_is_a_path_inside(root: Path) -> None:
    assert RootedFiles(str(root)).read("/real") is None
    assert RootedFiles("/").read(str(root / "real")) == b"outside"


def test_endless_links_are_refused(root: Path) -> None:
    with pytest.raises(BinaryError, match="40 symbolic links"):
        RootedFiles(str(root)).read("/loop")


def test_nul_is_refused(root: Path) -> None:
    with pytest.raises(BinaryError, match="NUL"):
        RootedFiles(str(root)).read("/usr\0/lib")


def test_a_path_that_is_too_long_is_an_error_of_ours(root: Path) -> None:
    with pytest.raises(BinaryError, match="a path of 5001 bytes"):
        RootedFiles(str(root)).read("/" + "x/" * 2500)


def test_reads_are_bounded(root: Path) -> None:
    files = BoundedFiles(RootedFiles(str(root)), limit=2)
    assert files.read("/absent") is None
    assert files.read(files.canonical("/lib/a")) == b"inside"
    assert files.listing("/lib") == ("a",)
    with pytest.raises(UnsupportedElfError, match="more than 2 files looked for"):
        files.read("/lib/a")


def test_a_name_that_is_too_long_is_an_error_of_ours(root: Path) -> None:
    with pytest.raises(BinaryError, match="too long"):
        RootedFiles(str(root)).read("/" + "x" * 300)
