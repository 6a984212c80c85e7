"""Reading what a user names on the command line, with an error that says what was wrong with it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from shim.errors import BinaryError, FoundWantError

MAX_PROGRAM = 1 << 30


class UnreadableFileError(BinaryError):
    """A file that is missing, unreadable or no regular file; `exit_code` as env and docker have it."""

    def __init__(self, where: str, found: str, want: str, exit_code: int) -> None:
        super().__init__(where, found, want)
        self.exit_code = exit_code


class UnwritableFileError(FoundWantError):
    """A file that cannot be written."""


def find_program(name: str, search_path: str) -> str:
    """
    Return the absolute path of the program a user means by `name`, looked up as a shell would.

    Raises:
        UnreadableFileError: a name without a slash that is in no folder of `search_path`.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise UnreadableFileError(
            name, "a working directory that was deleted", "one that is there", 127
        ) from error
    if "/" in name:
        return str(here / name)
    found = shutil.which(name, path=search_path)
    if found is None:
        raise UnreadableFileError(name, "no such program in PATH", "a program", 127)
    return str(here / found)


def read_program(path: str) -> bytes:
    """
    Return the bytes of the program at `path`.

    Raises:
        UnreadableFileError: it is missing, a folder, a device, unreadable or larger than 1 GiB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise UnreadableFileError(path, str(error.strerror), "a readable program", code) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise UnreadableFileError(path, kind, "a program file", 126)
        if status.st_size > MAX_PROGRAM:
            raise UnreadableFileError(path, f"{status.st_size} bytes", f"at most {MAX_PROGRAM} bytes", 126)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def write_output(path: str, data: bytes) -> None:
    """
    Write `data` to the file a user named, whole or not at all; "-" is standard output.

    Raises:
        UnwritableFileError: the file cannot be written; what stood there before still does.
    """
    if path == "-":
        try:
            while data:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UnwritableFileError("standard output", str(error.strerror), "a writable file") from error
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():  # a device, a pipe: written into, never replaced
            target.write_bytes(data)
            return
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableFileError(path, str(error.strerror), "a writable file") from error
