"""The files that `shim measure` reads, and the options that its commands share."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])
MAXIMUM_FIRMWARE = 1 << 24
MAXIMUM_IMAGE = 1 << 30
MAXIMUM_TABLES = 1 << 22
MAXIMUM_KEY = 1 << 16


def integer(text: str) -> int:
    """Return a number that is written in decimal, or in hexadecimal after 0x."""
    try:
        return int(str(text), 0)
    except ValueError as error:
        raise click.BadParameter(f"found {text!r}, want a number such as 1 or 0x21") from error


def input_file(*names: str, required: bool = False, text: str) -> Callable[[F], F]:
    """Return an option that names a file which is there."""
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    return click.option(*names, metavar="FILE", type=path, required=required, help=text)


FORMAT = click.option(
    "--format",
    "output",
    type=click.Choice(["hex", "json", "toml"]),
    default="hex",
    help="How to print the digests; toml: the lines as a policy takes them.",
)
FIRMWARE = input_file(
    "--firmware", "firmware_path", required=True, text="The firmware image (OVMF), as the VMM gets it."
)
KERNEL = input_file("--kernel", "kernel_path", text="The kernel that the VMM hands over.")
INITRD = input_file("--initrd", "initrd_path", text="Its initrd.")
CMDLINE = click.option("--cmdline", metavar="TEXT", default=None, help="Its command line.")


def read(path: Path, what: str, limit: int) -> bytes:
    """
    Return the contents of a file of at most `limit` bytes, without reading more than that.

    Raises:
        InputFileError: the file is larger, no file, or cannot be read.
    """
    from images.measure.errors import InputFileError

    where = f"{what} {path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                raise InputFileError(where, "a pipe or a socket", "a file")
            if status.st_size > limit:
                raise InputFileError(where, f"{status.st_size} bytes", f"at most {limit} bytes")
            data = file.read(limit + 1)
    except OSError as error:
        raise InputFileError(where, str(error.strerror), "a file that can be read") from error
    if len(data) > limit:
        raise InputFileError(where, f"more than {limit} bytes", f"at most {limit} bytes")
    return data


def direct_boot(
    kernel: Path | None, initrd: Path | None, cmdline: str | None
) -> tuple[bytes, bytes, bytes] | None:
    """Return kernel, initrd and command line as bytes, or None when no kernel is handed over."""
    if kernel is None:
        if initrd is not None or cmdline is not None:
            raise click.UsageError("--initrd and --cmdline mean nothing without --kernel")
        return None
    data = b"" if initrd is None else read(initrd, "initrd", MAXIMUM_IMAGE)
    return read(kernel, "kernel", MAXIMUM_IMAGE), data, os.fsencode(cmdline or "")
