"""
Which calls does a program make?  Run it, and count every call of it and of all its descendants.

Each call is reported to this process by a seccomp filter, counted by `native/record.c`, and goes on: the
program does what it does without a recorder.  Nothing is refused but what the caller wants to see fail, and a
recording says nothing about calls that the program could have made.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shim.errors import LaunchError
from shim.filter.actions import ALLOW, USER_NOTIF, errno_action
from shim.filter.assemble import Assembler
from shim.filter.data import ARCH_OFFSET, NR_OFFSET
from shim.filter.program import Opcode
from shim.launch._native import ffi, lib
from shim.launch.mappings import Mappings
from shim.launch.recording import EndedBy, Recording, counted
from shim.syscalls import table

AUDIT_ARCH_I386: Final = 0x4000_0003  # include/uapi/linux/audit.h, v6.12
# A signal that comes while a call waits to be received makes it return EINTR, which no caller of these two
# expects: the program would crash.  The kernel makes handlers return through them, so every program with a
# handler calls them.  rt_sigreturn of x86-64 and x32; sigreturn and rt_sigreturn of i386.
SIGNAL_RETURNS: Final = {table("x86_64").audit_arch: (15, 0x4000_0201), AUDIT_ARCH_I386: (119, 173)}
EXECS: Final = ("execve", "execveat")
MAPS: Final = ("mmap", "mprotect", "pkey_mprotect")
# What the Python interpreter ignores, and whoever started it did not.
PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)
# What a terminal sends, to a whole process group.
TERMINAL_SIGNALS: Final = frozenset(
    {
        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN,
        signal.SIGTTOU, signal.SIGWINCH,
    }
)  # fmt: skip
ENDING_SIGNALS: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})

_SIGNALFD_SIGINFO: Final = struct.Struct("<IiiI112x")  # include/uapi/linux/signalfd.h, v6.12
_SI_KERNEL: Final = 0x80
_NANOSECONDS: Final = 10**9


def record(  # noqa: PLR0913  # what a run depends on
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    kept: Mapping[int, Sequence[int]] | None = None,
    failing: Mapping[int, int] | None = None,
    timeout: float | None = None,
    grace: float = 2.0,
    job_control: bool = False,
    proc: Path = Path("/proc"),
) -> Recording:
    """
    Run a program and return the calls of its process tree, once the last process of that has ended.

    All signals of the calling thread are blocked meanwhile; those that another process sent to this one are
    passed on to the program.  Should this process die, the whole tree is killed.

    Args:
        program: Path of the file to execute.
        arguments: Argument vector, the program's own name first.
        environment: The whole environment.
        kept: For each number which arguments, 0 to 5, to tell apart.
        failing: For each number the errno to answer it with, from the program's exec on, to see what the
            program does then.
        timeout: Seconds until the program gets SIGTERM, and after `grace` more the tree is killed; what was
            recorded until then is returned.
        grace: Seconds.
        job_control: Stop this process when the program stops, as a shell expects of its jobs.
        proc: The proc file system.

    Raises:
        LaunchError: The program did not run, or could not be recorded to its end; `exit_code` 125, 126, 127.

    Not recorded:
        rt_sigreturn.  Calls in `failing`, and those that a filter refuses which was there before, or which
        the program installs.
    """
    recorder = _Recorder(program, arguments, environment, kept or {}, failing or {}, job_control=job_control)
    mappings = Mappings(proc)
    ended_by: EndedBy = "itself"
    try:
        if lib.record_start(recorder.native) != 0:
            raise recorder.failure()
        recorder.arm(timeout or 0.0)
        ended_by = _serve(recorder, mappings, grace)
    finally:
        lib.record_end(recorder.native)
    return recorder.recording(mappings, ended_by)


def _serve(recorder: _Recorder, mappings: Mappings, grace: float) -> EndedBy:
    """Handle what comes up until nothing is left of the tree, or nothing of it should be."""
    native = recorder.native
    program_ended = warned = False
    while True:
        event = lib.record_serve(native)
        if event == lib.RECORD_THREAD:
            look = mappings.look(native.slot, native.thread)
            lib.record_thread(native, look.leader, look.space, look.place)
        elif event == lib.RECORD_SITE:
            lib.record_site(native, mappings.place(native.slot, native.thread, native.address))
        elif event == lib.RECORD_SIGNAL:
            if _pass_on(native) and program_ended:
                return "signal"
        elif event == lib.RECORD_TIMER:
            if program_ended or warned:
                return "timeout"
            warned = True
            lib.record_kill(native, signal.SIGTERM)
            recorder.arm(grace)
        elif event == lib.RECORD_PROGRAM:
            program_ended = True
        elif event == lib.RECORD_END:
            return "timeout" if warned else "itself"
        else:
            raise recorder.failure()


def _pass_on(native: Any) -> bool:  # noqa: ANN401  # cffi's pointers
    """Send the program what was sent to this process; return whether that asks for an end."""
    asked = False
    while True:
        try:
            data = os.read(native.signals, _SIGNALFD_SIGINFO.size)
        except BlockingIOError:
            return asked
        number, _, code, _ = _SIGNALFD_SIGINFO.unpack(data)
        asked |= number in ENDING_SIGNALS
        if not _reached_both(number, code):
            lib.record_kill(native, number)


def _reached_both(number: int, code: int) -> bool:
    """
    Whether the terminal sent this signal to the program as well.

    It sends to a whole process group, in which recorder and program are together; only a hangup goes to the
    session's leader alone.
    """
    if code != _SI_KERNEL or number not in TERMINAL_SIGNALS:
        return False
    return number not in (signal.SIGHUP, signal.SIGCONT) or os.getsid(0) != os.getpid()


class _Recorder:
    """The memory that `native/record.c` works in, and what it says in the end."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        kept: Mapping[int, Sequence[int]],
        failing: Mapping[int, int],
        *,
        job_control: bool,
    ) -> None:
        self.native = ffi.new("struct recorder *")
        assignments = [f"{name}={value}" for name, value in environment.items()]
        self._argv, self._strings = _string_list(arguments)
        self._environment, self._more_strings = _string_list(assignments)
        self._program = ffi.new("char[]", os.fsencode(program))
        code = _everything(failing)
        self._filter = ffi.new("uint8_t[]", code)
        keeper = self.native.keeper
        keeper.program, keeper.argv, keeper.environment = self._program, self._argv, self._environment
        keeper.filter, keeper.filter_count = self._filter, len(code) // 8
        keeper.job_control = job_control
        keeper.defaults = _mask(PYTHON_IGNORES)
        self.native.terminal_signals = _mask(TERMINAL_SIGNALS)
        for number, indices in kept.items():
            self._attend(number, sum(1 << index for index in indices))
        syscalls = table("x86_64")
        for names, attention in ((EXECS, lib.RECORD_EXECS), (MAPS, lib.RECORD_MAPS)):
            for name in names:
                self._attend(syscalls.number(name), attention)

    def _attend(self, number: int, attention: int) -> None:
        if 0 <= number < lib.TALLY_NUMBERS:
            self.native.attention[number] |= attention

    def arm(self, seconds: float) -> None:
        """Ask for RECORD_TIMER in that time, or never if it is 0."""
        error = lib.record_arm(self.native, int(seconds * _NANOSECONDS))
        if error < 0:
            raise LaunchError("set-timer", os.strerror(-error))

    def failure(self) -> LaunchError:
        """Return what went wrong, in words."""
        native = self.native
        step = ffi.string(native.step).decode("ascii")
        exit_code = 125
        if step == "exec":
            exit_code = 127 if native.error in (errno.ENOENT, errno.ENOTDIR) else 126
        return LaunchError(step, _REASONS.get((step, native.error), os.strerror(native.error)), exit_code)

    def recording(self, mappings: Mappings, ended_by: EndedBy) -> Recording:
        """Return what was counted; the tree is gone."""
        native, keeper = self.native, self.native.keeper
        if keeper.step != ffi.NULL:
            native.step, native.error = keeper.step, -keeper.error
            raise self.failure()
        if not keeper.ended:
            raise LaunchError("keep-program", "the process that keeps the program was killed")
        number = keeper.status & 0x7F
        calls, others = counted(native.tally, mappings.places)
        return Recording(
            program=mappings.program,
            sha256=mappings.sha256,
            exit_code=128 + number if number else keeper.status >> 8 & 0xFF,
            signal=number,
            calls=calls,
            others=others,
            unseen=native.unseen,
            lost=native.tally.lost,
            unprivileged=bool(keeper.unprivileged),
            ended_by=ended_by,
        )


_REASONS: Final = {
    ("install-filter", errno.EBUSY): "a supervisor already listens to this process: there can be only one",
    ("install-filter", errno.EINVAL): "this kernel cannot report calls undisturbed, want 5.19 or later",
    ("install-filter", errno.ENOSYS): "this kernel has no seccomp filters, or a filter here refuses them",
}


def _everything(failing: Mapping[int, int]) -> bytes:
    """Return the filter that reports every call but those of `SIGNAL_RETURNS` and those that shall fail."""
    code = Assembler()
    report, allow = code.ret(USER_NOTIF), code.ret(ALLOW)
    entry = report
    for arch, numbers in SIGNAL_RETURNS.items():
        verdict = report
        for number, error in failing.items() if arch == table("x86_64").audit_arch else ():
            verdict = code.jump(Opcode.JEQ_K, number, code.ret(errno_action(error)), verdict)
        for number in numbers:
            verdict = code.jump(Opcode.JEQ_K, number, allow, verdict)
        entry = code.jump(Opcode.JEQ_K, arch, code.load(NR_OFFSET, verdict), entry)
    return code.program(code.load(ARCH_OFFSET, entry)).encode()


def _string_list(strings: Sequence[str]) -> tuple[Any, list[Any]]:
    """Return a null-terminated array of C strings, and what keeps them alive."""
    alive = [ffi.new("char[]", os.fsencode(string)) for string in strings]
    return ffi.new("char *[]", [*alive, ffi.NULL]), alive


def _mask(signals: Sequence[int] | frozenset[signal.Signals]) -> int:
    return sum(1 << (number - 1) for number in signals)
