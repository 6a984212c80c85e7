"""The files that `shim measure` reads, and the options that its commands share."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from images.measure.firmware import Firmware

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
_BOOTED = (
    input_file(
        "--firmware", "firmware", required=True, text="The firmware image (OVMF), as the VMM gets it."
    ),
    input_file("--kernel", "kernel", text="The kernel that the VMM hands over."),
    input_file("--initrd", "initrd", text="Its initrd."),
    click.option("--cmdline", metavar="TEXT", default=None, help="Its command line."),
)


@dataclass(frozen=True, slots=True)
class Booted:
    """What a VM is started with: the paths of firmware, kernel and initrd, and the command line."""

    firmware: Path
    kernel: Path | None
    initrd: Path | None
    cmdline: str | None

    @property
    def named(self) -> str:
        """The files, for a label."""
        files = (("firmware", self.firmware), ("kernel", self.kernel), ("initrd", self.initrd))
        return ", ".join(f"{what} {path.name}" for what, path in files if path is not None)

    def parsed_firmware(self) -> Firmware:
        """
        Return the firmware.

        Raises:
            InputFileError, FirmwareError: it cannot be read, or is none.
        """
        from images.measure import firmware

        return firmware.parse(read(self.firmware, "firmware", MAXIMUM_FIRMWARE))

    def handed_over(self) -> tuple[bytes, bytes, bytes] | None:
        """Return kernel, initrd and command line as bytes, or None when no kernel is handed over."""
        if self.kernel is None:
            if self.initrd is not None or self.cmdline is not None:
                raise click.UsageError("--initrd and --cmdline mean nothing without --kernel")
            return None
        data = b"" if self.initrd is None else read(self.initrd, "initrd", MAXIMUM_IMAGE)
        return read(self.kernel, "kernel", MAXIMUM_IMAGE), data, os.fsencode(self.cmdline or "")


def booted_files(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what a VM is started with, as one argument, `booted`."""

    @functools.wraps(command)
    def with_booted(
        *, firmware: Path, kernel: Path | None, initrd: Path | None, cmdline: str | None, **others: object
    ) -> None:
        command(booted=Booted(firmware, kernel, initrd, cmdline), **others)

    for option in reversed(_BOOTED):
        with_booted = option(with_booted)
    return with_booted


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
