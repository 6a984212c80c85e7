"""
Files that two processes may write at once, and that nobody trusts when they are read.

Whole or not there: a file is written beside its place and moved.  What is read is bounded; whether it holds
what it should is for its reader to find out.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from attestation.errors import AttestationError
from shim.errors import FoundWantError


class StoreError(FoundWantError, AttestationError):
    """A store that cannot be written."""


def read(path: Path, limit: int) -> bytes | None:
    """Return the contents of a file of at most `limit` bytes, None where none can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data if len(data) <= limit else None


def write(path: Path, data: bytes) -> None:
    """
    Write a file that only its owner can read, whole or not at all, in a folder of the same kind.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        folder(path.parent)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(str(path), str(error.strerror), "a place that can be written") from error


def folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and those above it that are missing."""
    if not path.is_dir():
        folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
