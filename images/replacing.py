"""Putting something new in the place of something old: made beside it, it takes the name in one step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # include/uapi/linux/fs.h and fcntl.h, v6.12


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """
    Give a name in a hidden directory beside the target, which is gone in the end, whatever happens.

    Raises:
        OSError: the directory cannot be made.
    """
    # Named before it is made: an interrupt may come right behind any step, also in the middle of removing it.
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex[:16]}")
    try:
        staging.mkdir(mode=0o700)
        yield staging / "new"
    finally:
        try:
            shutil.rmtree(staging, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def exchange(new: Path, old: Path) -> None:
    """
    Let two directories change their names in one step; renameat2(2), Linux 3.15.

    Raises:
        OSError: the file system or the C library cannot, or a name is not there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    names = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old))
    if libc.renameat2(*names, _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} (exchange of two directories)", str(old))
