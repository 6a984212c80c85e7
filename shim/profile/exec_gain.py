"""
Can a program make memory executable that it could write, or that was not mapped as code?

Where its rules allow no such call PR_SET_MDWE takes nothing away from it, and the launcher sets it.  A
program whose rules allow one may be a JIT, and only its user knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from shim.profile.implication import Conjunction, covers
from shim.profile.profile import ArgumentCondition, SyscallRule

_PROT_WRITE, _PROT_EXEC = 0x2, 0x4
_SHM_EXEC = 0o100000
_READ_IMPLIES_EXEC = 0x0400000


def _without(index: int, bit: int) -> Conjunction:
    return (ArgumentCondition(index, "masked_eq", 0, bit),)


# What of each call does not make code; mm/mprotect.c, include/linux/mman.h: map_deny_write_exec(), Linux 6.6.
_HARMLESS = MappingProxyType(
    {
        "mmap": (_without(2, _PROT_EXEC), _without(2, _PROT_WRITE)),
        "mprotect": (_without(2, _PROT_EXEC),),
        "pkey_mprotect": (_without(2, _PROT_EXEC),),
        "shmat": (_without(2, _SHM_EXEC),),
        "personality": (_without(0, _READ_IMPLIES_EXEC),),
    }
)


def gains_exec(rules: Iterable[SyscallRule]) -> bool:
    """
    Return whether calls that these rules allow might be refused under PR_SET_MDWE.

    Not checked: what a mapping is of; a file that is mapped writable and then made code counts like memory.
    """
    return any(rule.name in _HARMLESS and not covers(_HARMLESS[rule.name], rule.conditions) for rule in rules)
