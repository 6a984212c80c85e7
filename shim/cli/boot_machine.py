"""
A QEMU that ends with us: its files in memory, its lines as sockets that nobody else can open.

The child asks the kernel to be killed when its parent dies, so that no machine is left behind, whatever
happens to this process.  It has a session of its own: signals of the terminal reach it through us alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from images.boot.errors import QemuError

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h, v6.12
# include/uapi/linux/fcntl.h, v6.12: no writes, no changes of size, no more seals
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MOST_ERRORS = 1 << 16
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_TO_END = 5.0


def file_in_memory(name: str, data: bytes) -> int:
    """Return a descriptor of a file with these bytes, which nobody can change any more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def path_of(descriptor: int) -> str:
    """Return the name under which a process that inherits a descriptor opens the same file."""
    return f"/proc/self/fd/{descriptor}"


class Machine:
    """
    One QEMU, from its start on.

    Args:
        command: Its command line.
        descriptors: What it inherits, under the same numbers; closed here once it runs.

    Raises:
        QemuError: it cannot be executed.
    """

    def __init__(self, command: Sequence[str], descriptors: Sequence[int]) -> None:
        self.signal: int | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509  # there is one thread
            )
        except OSError as error:
            raise QemuError(command[0], str(error.strerror), "QEMU: apt install qemu-system-x86") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.exited = os.pidfd_open(self._process.pid)
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Pass signals on from now on."""
        for number in PASSED_ON:
            self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no machine behind."""
        self.kill()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal` returned
        os.close(self.exited)
        if self._process.stderr is not None:
            self._process.stderr.close()

    @property
    def pid(self) -> int:
        """Of QEMU."""
        return self._process.pid

    @property
    def errors(self) -> socket.SocketIO | None:
        """What QEMU says to standard error."""
        return self._process.stderr  # type: ignore[return-value]  # any file with a descriptor will do

    def has_ended(self) -> bool:
        """Whether QEMU is gone."""
        return self._process.poll() is not None

    @property
    def status(self) -> int:
        """How QEMU ended, as `subprocess` says it."""
        return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _pass_on(self, number: int, _frame: object) -> None:
        """QEMU ends in order at these; a second one, or one that is ignored, ends it at once."""
        if self.signal is not None or number not in {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            self._process.kill()
        else:
            self._process.send_signal(number)
        self.signal = self.signal or number


def dies_with(parent: int) -> Callable[[], None]:
    """Return what a child does before it executes what is to end with us; loaded before the fork."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def child() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(125)

    return child


@contextlib.contextmanager
def lines(count: int) -> Iterator[list[tuple[socket.socket, int]]]:
    """Give pairs of our end of a line, and the descriptor of QEMU's end, which `Machine` closes."""
    made: list[tuple[socket.socket, int]] = []
    try:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)  # the library's own signature
            made.append((ours, theirs.detach()))
        yield made
    finally:
        for ours, _ in made:
            ours.close()
