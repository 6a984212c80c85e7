"""
Writing a layout in the place of one that stands there, whole or not at all.

The new directory is made beside the old one, and the two change their names in one step.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from images.layout.errors import LayoutOutputError
from images.layout.files import LAYOUT_FILE

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # include/uapi/linux/fs.h and fcntl.h, v6.12


def replace_layout(target: Path, files: Mapping[str, bytes]) -> None:
    """
    Put a directory with these files, by their names in it, in the place of the layout `target`.

    Raises:
        LayoutOutputError: `target` is no layout, or the new one cannot be written beside it; the old one
            still stands there then.
    """
    target = Path(os.path.realpath(target))
    if not (target / LAYOUT_FILE).is_file():
        raise LayoutOutputError(str(target), "no image layout", "one to replace")
    with _reported(target):
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            new = staging / "new"
            new.mkdir()
            new.chmod(target.stat().st_mode & 0o7777)
            for name, data in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(data)
            _exchange(new, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _exchange(new: Path, old: Path) -> None:
    """Let two directories change their names in one step; renameat2(2), Linux 3.15."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} (exchange of two directories)", str(old))


@contextlib.contextmanager
def _reported(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayoutOutputError(str(target), str(error.strerror or error), "a place to write to") from error
