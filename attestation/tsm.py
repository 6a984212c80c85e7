"""
How does one talk to configfs-tsm?

One request is one directory: making it makes the kernel put attributes in, removing it ends the request.
Every error of the kernel becomes a `CollectError` that names the attribute and the errno.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attestation.errors import CollectError

REPORTS = "sys/kernel/config/tsm/report"
_SOURCE = "Documentation/ABI/testing/configfs-tsm, v6.12"
_LARGEST = 1 << 24
_MEANINGS = {
    errno.EBUSY: "the host is throttling requests",
    errno.EWOULDBLOCK: "another process wrote to the request",
    errno.ETIMEDOUT: "the host did not answer in time",
    errno.EINVAL: "nothing was written before reading, or the value is not accepted",
    errno.EFBIG: "the blob is larger than the kernel allows",
    errno.ENXIO: "no trusted execution environment stands behind configfs-tsm",
    errno.EACCES: "only root may ask",
    errno.EEXIST: "a request of this name exists",
}


class TsmReports(Protocol):
    """The requests of one kernel."""

    def request(self, entry: str) -> AbstractContextManager[None]:
        """Open the request `entry` for the duration of the context."""

    def read(self, entry: str, attribute: str) -> bytes:
        """Return the contents of an attribute; raises CollectError."""

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        """Write an attribute in one piece; raises CollectError."""


@dataclass(frozen=True, slots=True)
class ConfigfsTsm:
    """The requests below `root`, the root of the file system."""

    root: Path

    @contextmanager
    def request(self, entry: str) -> Iterator[None]:
        """Make the directory of a request, and remove it whatever happens."""
        directory = self.root / REPORTS / entry
        with _explained(entry, "mkdir"):
            directory.mkdir()
        try:
            yield
        finally:
            with _explained(entry, "rmdir"):
                directory.rmdir()

    def read(self, entry: str, attribute: str) -> bytes:
        """Return the contents of an attribute; none at all where the kernel does not show it."""
        path = self.root / REPORTS / entry / attribute
        with _explained(entry, attribute):
            if attribute == "auxblob" and not path.exists():
                return b""
            with path.open("rb", buffering=0) as file:
                return b"".join(iter(lambda: file.read(_LARGEST), b""))

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        """Give an attribute its value in a single system call, as configfs wants it."""
        with _explained(entry, attribute):
            descriptor = os.open(self.root / REPORTS / entry / attribute, os.O_WRONLY | os.O_CLOEXEC)
            try:
                written = os.write(descriptor, data)
            finally:
                os.close(descriptor)  # the kernel takes a binary attribute when it is closed
        if written != len(data):
            raise CollectError(f"configfs-tsm {attribute}", f"{written} bytes taken", f"{len(data)}", _SOURCE)


@contextmanager
def _explained(entry: str, attribute: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        meaning = _MEANINGS.get(error.errno or 0, os.strerror(error.errno or 0))
        where = f"configfs-tsm {entry}/{attribute}"
        raise CollectError(where, f"{name}: {meaning}", "no error", _SOURCE) from error
