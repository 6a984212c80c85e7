"""The machine that this command runs on, as `attestation.guest` wants it: with its clock and its sockets."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import sleep

from attestation.errors import CollectError
from attestation.guest import LinuxGuest

# Intel's service takes seconds where it has to fetch certificates first.
_VSOCK_TIMEOUT = 60.0
_COMMAND_TIMEOUT = 120.0
_LARGEST_QUOTE = 1 << 20


def guest(root: Path = Path("/")) -> LinuxGuest:
    """Return the machine below `root`."""
    return LinuxGuest(root, _connect, sleep)


def entry_name() -> str:
    """Return a name for a request to the kernel that no other process uses."""
    return f"shim-{os.getpid()}-{secrets.token_hex(4)}"


def quote_by_command(command: str) -> Callable[[bytes], bytes]:
    """
    Return what has `command` make the quote of a trust domain, from TDREPORT on its input.

    Raises:
        CollectError: from what is returned, when the command cannot be run, fails or says nothing.
    """

    def quote_of(td_report: bytes) -> bytes:
        want = "a program that reads a TDREPORT and writes a quote"
        try:
            words = shlex.split(command)
            ran = subprocess.run(
                words, input=td_report, stdout=subprocess.PIPE, check=False, timeout=_COMMAND_TIMEOUT
            )
        except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
            raise CollectError(f"--td-quote-command {command}", str(error), want) from error
        if ran.returncode or not 0 < len(ran.stdout) <= _LARGEST_QUOTE:
            found = f"exit code {ran.returncode}, {len(ran.stdout)} bytes"
            raise CollectError(f"--td-quote-command {command}", found, want)
        return ran.stdout

    return quote_of


def _connect(cid: int, port: int) -> socket.socket:
    link = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        link.settimeout(_VSOCK_TIMEOUT)
        link.connect((cid, port))
    except BaseException:
        link.close()
        raise
    return link
