"""Keys that sign, from files, and the options that name them; who signs as a URI."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from images.signature.keys import PrivateKey

MAX_PASSPHRASE = 4096
# RFC 3986, section 3: what any URI begins with.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")


class _Uri(click.ParamType):  # type: ignore[type-arg]  # generic only for type checkers
    name = "URI"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        text = str(value)
        if not _URI.fullmatch(text):
            self.fail(f"found {text!r}, want a URI such as https://build.example/ci", param, ctx)
        return text


URI = _Uri()


def passphrase_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the passphrase of a key is."""
    for option in (
        click.option("--passphrase-env", metavar="NAME", help="Take its passphrase from a variable."),
        click.option(
            "--passphrase-fd", type=int, metavar="N", help="Read its passphrase from a file descriptor."
        ),
    ):
        command = option(command)
    return command


def private_key(path: Path, passphrase_fd: int | None, passphrase_env: str | None) -> PrivateKey:
    """
    Return the key in a file.

    Raises:
        SigningKeyError: none that can be used, or another passphrase.
        UsageError: two places for a passphrase, or one that is none.
    """
    from images.signature import keys
    from shim.cli.trusting import read_key_file

    if passphrase_fd is not None and passphrase_env is not None:
        raise click.UsageError("--passphrase-fd and --passphrase-env name two passphrases, want one")
    passphrase = None
    if passphrase_env is not None:
        if passphrase_env not in os.environ:
            raise click.BadParameter(
                f"found no variable {passphrase_env}, want one", param_hint="--passphrase-env"
            )
        passphrase = os.environb[os.fsencode(passphrase_env)]
    elif passphrase_fd is not None:
        passphrase = _from_descriptor(passphrase_fd)
    return keys.read_private(read_key_file(path), str(path), passphrase)


def _from_descriptor(number: int) -> bytes:
    """Return the first line of what a descriptor gives, without its end."""
    try:
        with os.fdopen(number, "rb", closefd=False) as file:
            line = file.readline(MAX_PASSPHRASE + 1)
    except OSError as error:
        raise click.BadParameter(
            f"found {error.strerror}, want an open descriptor", param_hint="--passphrase-fd"
        ) from error
    if len(line) > MAX_PASSPHRASE:
        raise click.BadParameter(
            f"found more than {MAX_PASSPHRASE} bytes, want fewer", param_hint="--passphrase-fd"
        )
    return line.removesuffix(b"\n")
