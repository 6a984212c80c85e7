"""
The highest version of each image that was accepted so far, in a file.

It is what keeps an old image that is properly signed from coming back.  Who can change or remove the file can
undo that; then the policy's minimum is what counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from attestation import json_document
from images.layout.errors import reading
from images.signature.simple_signing import MAX_VERSION
from images.trust.errors import VersionStateError
from shim.canonical import canonical_bytes

SCHEMA_VERSION = 1
MAX_STATE = 1 << 20


def parse(data: bytes, where: str) -> dict[str, int]:
    """
    Return the highest version by identity.

    Raises:
        VersionStateError: no such file; then nothing can be told, and nothing is accepted.
    """
    with reading(VersionStateError):
        document = json_document.read(data, where)
        if document.number("schema", MAX_VERSION) != SCHEMA_VERSION:
            raise document.wrong("schema", document.members["schema"], str(SCHEMA_VERSION))
        highest = document.part("highest")
        return {identity: highest.number(identity, MAX_VERSION) for identity in highest.members}


def write(highest: Mapping[str, int]) -> bytes:
    """Return the file for these versions."""
    return canonical_bytes({"schema": SCHEMA_VERSION, "highest": dict(highest)})


def read_file(path: Path) -> dict[str, int]:
    """
    Return what a file remembers; nothing where there is no file.

    Raises:
        VersionStateError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_STATE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise VersionStateError(str(path), str(error.strerror), "a file of versions") from error
    if len(data) > MAX_STATE:
        raise VersionStateError(str(path), f"more than {MAX_STATE} bytes", "fewer")
    return parse(data, str(path))


def remember(path: Path, versions: Mapping[str, int]) -> None:
    """
    Raise what a file remembers to these versions; none ever goes down, also with several at it.

    Raises:
        VersionStateError: it cannot be read or written; or it has a higher version by now.
    """
    with _locked(path):
        highest = read_file(path)
        for identity, version in versions.items():
            if version < highest.get(identity, 0):
                want = f"at least {highest[identity]}, which was accepted meanwhile"
                raise VersionStateError(f"{path}: {identity}", str(version), want)
        raised = {**highest, **versions}
        if raised != highest:
            _replace(path, write(raised))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the directory, which is there before the file is."""
    with _reported(path):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _reported(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    with _reported(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VersionStateError(
            str(path), str(error.strerror or error), "a file of versions to write"
        ) from error
