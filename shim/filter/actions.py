"""
What can a filter answer?  The kernel's 32-bit return values of a seccomp program.

Source: include/uapi/linux/seccomp.h, v6.12.
"""

from __future__ import annotations

import errno

from shim.errors import FilterError

KILL_PROCESS = 0x8000_0000
KILL_THREAD = 0x0000_0000
TRAP = 0x0003_0000
ERRNO = 0x0005_0000
USER_NOTIF = 0x7FC0_0000
TRACE = 0x7FF0_0000
LOG = 0x7FFC_0000
ALLOW = 0x7FFF_0000

ACTION_MASK = 0xFFFF_0000
DATA_MASK = 0x0000_FFFF
MAX_ERRNO = 4095

_NAMES = {
    KILL_PROCESS: "KILL_PROCESS",
    KILL_THREAD: "KILL_THREAD",
    TRAP: "TRAP",
    ERRNO: "ERRNO",
    USER_NOTIF: "USER_NOTIF",
    TRACE: "TRACE",
    LOG: "LOG",
    ALLOW: "ALLOW",
}


def errno_action(number: int) -> int:
    """
    Return the action that fails a call with errno `number`.

    Raises:
        FilterError: the number is not one that the kernel passes on unchanged.  It cuts larger ones to 4095,
            and 0 would report success for a call that never ran.
    """
    if not 1 <= number <= MAX_ERRNO:
        raise FilterError("errno of an action", str(number), f"1 to {MAX_ERRNO}", "kernel/seccomp.c, v6.12")
    return ERRNO | number


ENOSYS_ACTION = errno_action(errno.ENOSYS)


def action_name(action: int) -> str:
    """
    Return an action as people read it: `ALLOW`, `ERRNO(38)`, `TRACE(0)`.

    Raises:
        FilterError: the kernel has no such action; it would kill the process.
    """
    kind, data = action & ACTION_MASK, action & DATA_MASK
    if kind not in _NAMES:
        raise FilterError("action", f"0x{action:08x}", "a SECCOMP_RET value", "include/uapi/linux/seccomp.h")
    return f"{_NAMES[kind]}({data})" if data or kind in (ERRNO, TRACE) else _NAMES[kind]
