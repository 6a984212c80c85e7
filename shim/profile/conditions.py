"""
How does a person read conditions on arguments?

`domain = 0x2`, `prot & 0x4 = 0x0`, `argument 3 ≤ 0x10`; one conjunction a line.
"""

from __future__ import annotations

from shim.profile.profile import ArgumentCondition, Operator, SyscallRule

# Only arguments that profiles pin; names as in the manual pages of section 2.
_ARGUMENTS: dict[str, dict[int, str]] = {
    "arch_prctl": {0: "op"},
    "clone": {0: "flags"},
    "epoll_ctl": {1: "op"},
    "fcntl": {1: "op"},
    "futex": {1: "op"},
    "ioctl": {1: "op"},
    "keyctl": {0: "op"},
    "kill": {0: "pid", 1: "sig"},
    "madvise": {2: "advice"},
    "memfd_create": {1: "flags"},
    "mmap": {2: "prot", 3: "flags"},
    "mprotect": {2: "prot"},
    "open": {1: "flags"},
    "openat": {0: "dirfd", 2: "flags"},
    "personality": {0: "persona"},
    "pkey_mprotect": {2: "prot"},
    "prctl": {0: "op"},
    "prlimit64": {0: "pid", 1: "resource"},
    "ptrace": {0: "op"},
    "seccomp": {0: "operation", 1: "flags"},
    "setsockopt": {1: "level", 2: "optname"},
    "getsockopt": {1: "level", 2: "optname"},
    "socket": {0: "domain", 1: "type", 2: "protocol"},
    "socketpair": {0: "domain", 1: "type", 2: "protocol"},
    "tgkill": {2: "sig"},
    "unshare": {0: "flags"},
}
_SIGNS: dict[Operator, str] = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}


def condition_text(name: str, condition: ArgumentCondition) -> str:
    """Return one condition on an argument of the call `name`."""
    argument = _ARGUMENTS.get(name, {}).get(condition.index, f"argument {condition.index}")
    if condition.operator == "masked_eq":
        return f"{argument} & {condition.mask:#x} = {condition.value:#x}"
    return f"{argument} {_SIGNS[condition.operator]} {condition.value:#x}"


def alternatives_text(rule: SyscallRule) -> list[str]:
    """Return one text for each alternative of a rule, in its order; none for a rule without conditions."""
    return [
        " and ".join(condition_text(rule.name, condition) for condition in conjunction) or "any arguments"
        for conjunction in rule.conditions
    ]
