"""
What does collection ask of the machine that it runs in?

Everything that it does goes through one `Guest`: files, ioctls, the TPM, a connection to the host, waiting.
Nothing of collection opens or sleeps by itself, so a kernel of our own can stand in the place of this one.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attestation.errors import KernelError


class Stream(Protocol):
    """A connection to the host; a socket is one."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`."""

    def recv(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""

    def close(self) -> None:
        """End the connection."""


class Guest(Protocol):
    """
    A confidential VM, as its kernel shows it; paths begin at its root, without the first slash.

    Every method but the first and the last raises OSError where the kernel does.
    """

    def exists(self, path: str) -> bool:
        """Whether there is a file, a directory or a device."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the contents of a file; EFBIG if they are more than `limit` bytes."""

    def write(self, path: str, data: bytes) -> None:
        """Write `data` in a single system call to a file that exists; EIO if not all of it was taken."""

    def make_directory(self, path: str) -> None:
        """Make a directory."""

    def remove_directory(self, path: str) -> None:
        """Remove a directory, whatever the kernel put into it."""

    def ioctl(self, device: str, request: int, argument: bytearray) -> None:
        """Ask a device; it reads and changes `argument`, also where it fails."""

    def exchange(self, device: str, message: bytes, limit: int) -> bytes:
        """Write a message to a device, and return its answer of at most `limit` bytes."""

    def connect(self, cid: int, port: int, /) -> Stream:
        """Return a connection by vsock."""

    def pause(self, seconds: float, /) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class LinuxGuest:
    """
    The machine below `root`.

    Attributes:
        root: The root of the file system, `/` outside tests.
        connect: Returns a connection by vsock to a context identifier and a port.
        pause: Waits for a number of seconds.
    """

    root: Path
    connect: Callable[[int, int], Stream]
    pause: Callable[[float], None]

    def exists(self, path: str) -> bool:
        """See `Guest`; what may not be looked at counts as absent."""
        return os.access(self.root / path, os.F_OK)

    def read(self, path: str, limit: int) -> bytes:
        """See `Guest`."""
        descriptor = os.open(self.root / path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = bytearray()
            while part := os.read(descriptor, limit + 1 - len(data)):
                data += part
                if len(data) > limit:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        finally:
            os.close(descriptor)
        return bytes(data)

    def write(self, path: str, data: bytes) -> None:
        """See `Guest`."""
        descriptor = os.open(self.root / path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)  # configfs takes a binary attribute when it is closed
        if written != len(data):
            raise OSError(errno.EIO, f"{written} of {len(data)} bytes taken")

    def make_directory(self, path: str) -> None:
        """See `Guest`."""
        (self.root / path).mkdir()

    def remove_directory(self, path: str) -> None:
        """See `Guest`."""
        (self.root / path).rmdir()

    def ioctl(self, device: str, request: int, argument: bytearray) -> None:
        """See `Guest`."""
        descriptor = os.open(self.root / device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, request, argument, True)
        finally:
            os.close(descriptor)

    def exchange(self, device: str, message: bytes, limit: int) -> bytes:
        """See `Guest`."""
        descriptor = os.open(self.root / device, os.O_RDWR | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, message)
            if written != len(message):
                raise OSError(errno.EIO, f"{written} of {len(message)} bytes taken")
            return os.read(descriptor, limit)
        finally:
            os.close(descriptor)


@contextmanager
def explained(where: str, meanings: Mapping[int, str], source: str) -> Iterator[None]:
    """
    Turn the kernel's errors into ours.

    Args:
        where: What was asked.
        meanings: What an errno means there; of others the C library's words are taken.
        source: The document that says so.

    Raises:
        KernelError: instead of every OSError.
    """
    try:
        yield
    except OSError as error:
        silent = errno.ETIMEDOUT if isinstance(error, TimeoutError) else 0  # sockets leave errno out there
        number = error.errno or silent
        name = errno.errorcode.get(number, str(number))
        meaning = meanings.get(number, error.strerror or str(error) or os.strerror(number))
        raise KernelError(where, f"{name}: {meaning}", "no error", source, number=number) from error
