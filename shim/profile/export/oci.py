"""
How does a container engine enforce a profile?

The seccomp JSON that Docker, Podman, containerd, runc and crun read.  Three answers, as in our own filter:
allowed calls pass; calls that the profile's kernel has and the profile does not allow get `refused`; every
other number gets ENOSYS, so that a newer libc falls back (moby#42680).

What the format cannot say, and what happens instead:

- phases: a container has one filter from before its program's start, so it is the union of all phases;
- "else kill" for a call that is allowed with certain arguments only: such a call gets ENOSYS with others;
- two tests of one argument in one rule (runc takes either instead of both: matchCall), or comparisons beside
  other alternatives: `plain_tests` rewrites them, or refuses;
- calls from certain addresses only.

Source: OCI runtime specification 1.1, config-linux.md, "Seccomp"; runc 1.1,
libcontainer/seccomp/seccomp_linux.go.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from typing import Any, Literal

from shim.profile.export.plain_tests import plain_tests
from shim.profile.export.rules import exported_rules, refused_names
from shim.profile.profile import ArgumentCondition, Operator, Profile, SyscallRule
from shim.syscalls import table

Refused = Literal["kill", "errno", "log"]

RUNTIME_CALLS = (
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "close",
    "close_range",
    "dup2",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit_group",
    "fchdir",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getuid",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "prctl",
    "read",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "statx",
    "tgkill",
    "umask",
    "write",
)
"""
What runc and crun may still call between installing the filter and the program's first instruction.

Taken from the base profiles runc-v1.0.0-rc92 and crun-v1.18 of kubernetes-sigs/security-profiles-operator
(examples/baseprofile-runc.yaml, examples/baseprofile-crun.yaml), without what is needed only for building the
container (mount, pivot_root, mknodat, setns, unshare and the like), and with what a Go runtime may do at any
time (madvise, munmap, rt_sigreturn, tgkill).
"""

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_OPERATORS: dict[Operator, str] = {
    "eq": "SCMP_CMP_EQ",
    "ne": "SCMP_CMP_NE",
    "lt": "SCMP_CMP_LT",
    "le": "SCMP_CMP_LE",
    "gt": "SCMP_CMP_GT",
    "ge": "SCMP_CMP_GE",
    "masked_eq": "SCMP_CMP_MASKED_EQ",
}
_REFUSED: dict[Refused, dict[str, Any]] = {
    "kill": {"action": "SCMP_ACT_KILL_PROCESS"},
    "errno": {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
    "log": {"action": "SCMP_ACT_LOG"},
}


def oci(profile: Profile, *, refused: Refused = "kill", runtime_calls: bool = False) -> str:
    """
    Return the seccomp JSON of `profile`, indented, with a final newline; equal profiles give equal text.

    Args:
        profile: The profile; all its phases count.
        refused: What a known call that is not allowed gets: the process killed, EPERM, or only a log entry.
        runtime_calls: Whether to allow `RUNTIME_CALLS` as well.  Needed where the engine starts the program
            itself (docker run --security-opt seccomp=); not where something else already runs inside.

    Raises:
        ProfileError: conditions that the format cannot say.

    Not checked:
        That the profile is complete: ask `profile.complete` first.
    """
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": [ARCHITECTURES[profile.arch]],
        "syscalls": entries(profile, refused=refused, runtime_calls=runtime_calls),
    }
    return json.dumps(document, indent=2) + "\n"


def entries(profile: Profile, *, refused: Refused, runtime_calls: bool) -> list[dict[str, Any]]:
    """
    Return the list `syscalls` of the document: what is allowed, then what is refused.

    Calls with conditions are not listed again as refused: libseccomp does not order rules of different
    actions.

    Raises:
        ProfileError: conditions that the format cannot say.
    """
    has = table(profile.arch).numbers  # an architecture without access() has faccessat()
    also = [name for name in RUNTIME_CALLS if name in has] if runtime_calls else []
    rules = plain_tests(exported_rules(profile, also))
    names = refused_names(rules, table(profile.arch))
    return [*_allowed(rules), *([{"names": names, **_REFUSED[refused]}] if names else [])]


def _allowed(rules: Sequence[SyscallRule]) -> list[dict[str, Any]]:
    always = [rule.name for rule in rules if not rule.conditions]
    entries: list[dict[str, Any]] = [{"names": always, "action": "SCMP_ACT_ALLOW"}] if always else []
    entries.extend(
        {
            "names": [rule.name],
            "action": "SCMP_ACT_ALLOW",
            "args": [_argument(condition) for condition in conjunction],
        }
        for rule in rules
        for conjunction in rule.conditions
    )
    return entries


def _argument(condition: ArgumentCondition) -> dict[str, Any]:
    operator = _OPERATORS[condition.operator]
    if condition.operator == "masked_eq":
        return {
            "index": condition.index,
            "value": condition.mask,
            "valueTwo": condition.value,
            "op": operator,
        }
    return {"index": condition.index, "value": condition.value, "op": operator}
