"""
Writing an image where a user wants it, whole or not at all.

Everything is written beside the target first and then takes its name.  What is interrupted or does not fit
leaves the target as it was.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from images.errors import OutputError
from images.image import MANIFEST
from images.oci import LAYOUT_FILE
from images.replacing import beside, exchange
from images.sparse import SparseImage
from images.tree import Entry, Kind, Tree

# One of these is in every directory that this module wrote: only such a one is replaced.
_MARKS = (LAYOUT_FILE, MANIFEST[1:])


def write_file(target: Path, data: bytes) -> None:
    """
    Write a file, or leave what stands there.

    Raises:
        OutputError: it cannot be written, or something else than a file stands there.
    """
    write_sparse(target, SparseImage(len(data), ((0, data),)))


def write_sparse(target: Path, image: SparseImage) -> None:
    """
    Write a file with holes where the image has zeros, or leave what stands there.

    Raises:
        OutputError: as `write_file`.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  # links stay links until the end
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise OutputError(str(target), "something that is no file", "a file, or nothing")
    with _reported(target), beside(target) as temporary:
        with temporary.open("xb") as file:
            image.write_to(file)
        temporary.chmod(0o644)
        temporary.replace(target)


def write_files(target: Path, files: Mapping[str, bytes]) -> None:
    """
    Write a directory with these files, by their names in it, in the place of `target`.

    Raises:
        OutputError: as `write_tree`.
    """

    def fill(place: Path) -> None:
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            _put(place / name, data, 0o644)

    _write_directory(target, fill)


def write_tree(target: Path, tree: Tree, created: int) -> None:
    """
    Write a directory with the entries of a tree, in the place of `target`.

    Owners are root's only if root writes; every time is `created`.

    Raises:
        OutputError: it cannot be written, or a directory that is no image stands there.
    """

    def fill(place: Path) -> None:
        raw = os.fsencode(place)
        for entry in tree.entries:
            _make(raw + entry.path, entry)
        for entry in reversed(tree.entries):
            os.utime(raw + entry.path, (created, created), follow_symlinks=False)
        os.utime(raw, (created, created))

    _write_directory(target, fill)


def _make(place: bytes, entry: Entry) -> None:
    if entry.kind is Kind.SYMLINK:
        os.symlink(entry.target, place)  # noqa: PTH211  # likewise
    elif entry.kind is Kind.DIRECTORY:
        os.mkdir(place)  # noqa: PTH102  # names are bytes
        os.chmod(place, entry.mode)  # noqa: PTH101  # whatever the umask says
    else:
        _put(Path(os.fsdecode(place)), entry.data(), entry.mode)


def _put(place: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


def _write_directory(target: Path, fill: Callable[[Path], None]) -> None:
    target = Path(os.path.abspath(target))  # noqa: PTH100  # as in `write_file`
    replaced = target.exists() or target.is_symlink()
    if replaced and not _replaceable(target):
        raise OutputError(str(target), "something that is no image", "an image to replace, or nothing")
    with _reported(target), beside(target) as temporary:
        temporary.mkdir(mode=0o755)
        temporary.chmod(0o755)
        fill(temporary)
        if replaced:
            _swap(temporary, target)
        else:
            temporary.rename(target)


def _replaceable(target: Path) -> bool:
    if target.is_symlink() or not target.is_dir():
        return False
    return any((target / mark).is_file() for mark in _MARKS) or not any(target.iterdir())


def _swap(new: Path, old: Path) -> None:
    """Exchange two directories; where that cannot be one step, an interrupt leaves a hidden name."""
    with contextlib.suppress(OSError, AttributeError):
        exchange(new, old)
        return
    aside = new.with_name("old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise


@contextlib.contextmanager
def _reported(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(str(target), str(error.strerror or error), "a place to write to") from error
