"""
Run a launch plan from Python: the launcher of `native/` in this process.

Never interprets a plan and knows no syscall names; what a program may do is decided before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Final

from shim.errors import LaunchError
from shim.launch._native import ffi, lib
from shim.launch.plan import LaunchPlan
from shim.launch.plan_codec import encode

# 1 MiB whose contents mean nothing before: zeroing it would cost more than the launch.
_uncleared: Final = ffi.new_allocator(should_clear_after_alloc=False)


@dataclass(frozen=True, slots=True)
class ViolationEvent:
    """
    One call that the filter refused.

    Attributes:
        time_ns: When, in nanoseconds since 1970 UTC.
        pid: The thread that made the call, as this process sees it.
        syscall: Its number.
        arch: AUDIT_ARCH_* of the call (include/uapi/linux/audit.h).
        address: The instruction after the call.
        arguments: Six, unsigned.
        stage: How many boundaries of its plan the program had passed.
    """

    time_ns: int
    pid: int
    syscall: int
    arch: int
    address: int
    arguments: tuple[int, ...]
    stage: int = 0


class Unconfined(IntFlag):
    """What Landlock does not handle here; as `enum launch_unconfined` in native/launch.h."""

    FILES = 1
    NETWORK = 2
    SCOPES = 4


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """
    How a program that ran came to its end.

    Attributes:
        exit_code: As a shell sees it: the status, or 128 + signal.
        status: The program's own exit status, 0 if a signal ended it.
        signal: The signal that ended it, SIGSYS (31) for a violation, 0 if it exited.
        violation: True if it was ended for a call that its filter reported. A kernel that kills by itself
            (`PlanFlag.NO_EVENTS`) shows as signal 31 alone.
        pid: The process it was.
        reported: How many calls were refused, or made although the profile does not have them.
        unsealed: True if the plan seals the program and this kernel has no mseal.
        gains_exec: True if the plan keeps pages from becoming code and this kernel has no PR_SET_MDWE.
        unconfined: What of the plan's Landlock rules this kernel does not handle.
        timed_out: True if the plan's time ended it; the exit code is 124 then, as that of timeout(1).
        out_of_memory: True if the kernel ended it because it needed more memory than its cgroup has.
        stages: How many boundaries of its plan the program passed.
        missed: The errno because of which it could not pass the next one and stayed under the filter it had,
            or 0: ENODEV where the machine stops at no hardware breakpoint, ESRCH where some thread could not
            be brought under the next filter.
    """

    exit_code: int
    status: int
    signal: int
    violation: bool
    pid: int
    unsealed: bool = False
    gains_exec: bool = False
    reported: int = 0
    unconfined: Unconfined = Unconfined(0)  # noqa: RUF009  # an immutable number
    timed_out: bool = False
    out_of_memory: bool = False
    stages: int = 0
    missed: int = 0


def run(
    plan: bytes | LaunchPlan,
    *,
    on_event: Callable[[ViolationEvent], None] | None = None,
    job_control: bool = False,
    hide: bool = True,
) -> LaunchResult:
    """
    Launch the program of an encoded plan and return how it ended.

    Other threads go on. All signals of the calling thread are blocked meanwhile: those that another process
    sent to this one are passed on to the program; those of the terminal reach the program by themselves. An
    exception of `on_event` comes out of this function after the program is dead.

    Args:
        plan: A plan, or its bytes as `shim.launch.plan_codec.encode` returns them.
        on_event: Called on this thread when a call is refused, while the program is stopped and can still be
            looked at; afterwards the program is killed.
        hide: Make this process non-dumpable for good, so that the program cannot write into it through
            /proc; a program of the same user that can has left its filter.
        job_control: Stop this process when the program stops, as a shell expects of its jobs.

    Raises:
        LaunchError: The program did not run: `step`, `reason`, and an exit code of 125, 126 or 127.

    Not checked:
        That the plan is one somebody approved. That descendants of the program end with it.
    """
    if not isinstance(plan, bytes):
        plan = encode(plan)
    fields = ffi.new("struct plan *")
    fault = ffi.new("struct plan_fault *")
    if lib.plan_read(plan, len(plan), fields, fault) != 0:
        raise LaunchError(_text(fault.where), f"found {_text(fault.found)}, want {_text(fault.want)}")
    result = ffi.new("struct launch_result *")
    listener = _Listener(on_event)
    outcome = lib.launch(
        fields,
        (lib.LAUNCH_JOB_CONTROL if job_control else 0) | (lib.LAUNCH_HIDE if hide else 0),
        lib.shim_on_violation,
        ffi.new_handle(listener),
        _uncleared("struct launch_memory *"),
        result,
    )
    if listener.failure is not None:
        raise listener.failure
    if outcome != 0:
        reason = _text(result.reason) or os.strerror(result.error)
        raise LaunchError(_text(result.step), reason, result.exit_code)
    return LaunchResult(
        exit_code=result.exit_code,
        status=result.status,
        signal=result.signal,
        violation=bool(result.violation),
        pid=result.pid,
        unsealed=bool(result.unsealed),
        gains_exec=bool(result.gains_exec),
        reported=result.reported,
        unconfined=Unconfined(result.unconfined),
        timed_out=bool(result.timed_out),
        out_of_memory=bool(result.out_of_memory),
        stages=result.stages,
        missed=-result.missed,
    )


class _Listener:
    """What a callback from C needs: whom to tell, and what went wrong on the way."""

    def __init__(self, on_event: Callable[[ViolationEvent], None] | None) -> None:
        self.on_event = on_event
        self.failure: BaseException | None = None


def _keep_failure(_kind: object, error: BaseException, traceback: Any) -> None:  # noqa: ANN401  # cffi's signature
    """Take what a callback raised, KeyboardInterrupt included: C code cannot carry it."""
    frame = traceback.tb_frame
    ffi.from_handle(frame.f_locals["context"]).failure = error


@ffi.def_extern(onerror=_keep_failure)  # type: ignore[untyped-decorator]  # cffi has no types
def shim_on_violation(context: Any, violation: Any) -> None:  # noqa: ANN401  # cffi's pointers
    """Tell the listener of a launch about a refused call."""
    listener: _Listener = ffi.from_handle(context)
    if listener.on_event is None:
        return
    event = ViolationEvent(
        time_ns=violation.time_ns,
        pid=violation.pid,
        syscall=violation.syscall,
        arch=violation.arch,
        address=violation.address,
        arguments=tuple(violation.arguments),
        stage=violation.stage,
    )
    listener.on_event(event)


def _text(chars: Any) -> str:  # noqa: ANN401  # cffi's pointers
    return bytes(ffi.string(chars)).decode("ascii")
