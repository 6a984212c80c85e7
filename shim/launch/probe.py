"""
What of a launch can this kernel and this machine do?

Each question is harmless: nothing is installed, changed or left running. Never decides what is enough.
"""

from __future__ import annotations

import errno
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shim.launch._native import lib

_PROC_SYS: Final = Path("/proc/sys/kernel")


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    A fact that could not be learned, or a feature that is not there.

    Attributes:
        reason: Why, in a few words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What a launch depends on; each is a value, or the reason for its absence.

    Attributes:
        kernel: Release of the running kernel.
        seccomp_actions: Names of the actions that filters may return.
        user_notification: 1 if refused calls can be reported.
        wait_killable: 1 if a reported call waits undisturbed (kernel 5.19): launches with events need it.
        landlock_abi: Version of Landlock's interface.
        mdwe: Bits of PR_GET_MDWE in this process: 0 is off, and supported.
        mseal: 1 if mappings can be sealed.
        ptrace_scope: Yama's ptrace_scope, 0 to 3; 0 also where there is no Yama.
        pidfd_getfd: 1 if the listener can be taken from the program.
        trace_child: 1 if a child of this process could be traced.
        listener: 1 if a filter of a child could have a listener: there is one in each chain of filters.
        sha_cpu: 1 if the CPU has SHA instructions, else 0.
    """

    kernel: str
    seccomp_actions: tuple[str, ...] | Unknown
    user_notification: int | Unknown
    wait_killable: int | Unknown
    landlock_abi: int | Unknown
    mdwe: int | Unknown
    mseal: int | Unknown
    ptrace_scope: int | Unknown
    pidfd_getfd: int | Unknown
    trace_child: int | Unknown
    listener: int | Unknown
    sha_cpu: int | Unknown


def probe(proc_sys_kernel: Path = _PROC_SYS) -> Facts:
    """
    Return the facts of this machine.

    Args:
        proc_sys_kernel: Where the kernel's settings are read.

    Not checked:
        That what exists is also allowed to the program's user in every container.
    """
    return Facts(
        kernel=platform.release(),
        seccomp_actions=_actions(proc_sys_kernel / "seccomp" / "actions_avail"),
        user_notification=_answer(lib.probe_user_notification()),
        wait_killable=_answer(lib.probe_wait_killable()),
        landlock_abi=_answer(lib.probe_landlock_abi()),
        mdwe=_answer(lib.probe_mdwe()),
        mseal=_answer(lib.probe_mseal()),
        ptrace_scope=_ptrace_scope(proc_sys_kernel / "yama" / "ptrace_scope"),
        pidfd_getfd=_answer(lib.probe_pidfd_getfd()),
        trace_child=_answer(lib.probe_trace_child()),
        listener=_answer(lib.probe_listener()),
        sha_cpu=_answer(lib.probe_sha_cpu()),
    )


_MEANINGS: Final = {
    errno.ENOSYS: "this kernel does not have it",
    errno.EINVAL: "this kernel does not know it",
    errno.EOPNOTSUPP: "built in but switched off at boot",
    errno.EBUSY: "somebody else listens: a container's runtime, or a launch around this process",
    errno.EPERM: "forbidden here: a container's filter, Yama, or missing rights",
}


def _answer(result: int) -> int | Unknown:
    if result >= 0:
        return int(result)
    return Unknown(_MEANINGS.get(-result, os.strerror(-result)))


def _actions(path: Path) -> tuple[str, ...] | Unknown:
    try:
        return tuple(path.read_text(encoding="ascii").split())
    except OSError as error:
        return Unknown(f"{path}: {error.strerror}")


def _ptrace_scope(path: Path) -> int | Unknown:
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except OSError as error:
        return Unknown(f"{path}: {error.strerror}")
    except ValueError:
        return Unknown(f"{path}: no number")
