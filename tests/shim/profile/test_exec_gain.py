"""Which rules leave a program no way to make memory executable."""

from __future__ import annotations

import pytest

from shim.profile.exec_gain import gains_exec
from shim.profile.profile import ArgumentCondition, SyscallRule

R, RW, RX, RWX = 1, 3, 5, 7
NUMBERS = {"mmap": 9, "mprotect": 10, "shmat": 30, "read": 0, "personality": 135, "pkey_mprotect": 329}


def rule(name: str, index: int, *values: int) -> SyscallRule:
    alternatives = tuple((ArgumentCondition(index, "eq", value),) for value in values)
    return SyscallRule(NUMBERS[name], name, alternatives)


GAINS = {
    "mmap of anything": rule("mmap", 2),
    "mmap writable and executable": rule("mmap", 2, R, RW, RWX),
    "mmap by its flags alone": rule("mmap", 3, 0x22),
    "mprotect of anything": rule("mprotect", 2),
    "mprotect to code": rule("mprotect", 2, RW, RX),
    "pkey_mprotect to code": rule("pkey_mprotect", 2, RX),
    "shmat of anything": rule("shmat", 2),
    "shmat as code": rule("shmat", 2, 0o100000),
    "any personality": rule("personality", 0),
    "reading implies executing": rule("personality", 0, 0, 0x0400000),
    "a bound that has the bit below it": SyscallRule(9, "mmap", ((ArgumentCondition(2, "le", RWX),),)),
}
GAINS_NOT = {
    "nothing that maps": rule("read", 0),
    "mmap of data": rule("mmap", 2, R, RW),
    "mmap of code that is not writable": rule("mmap", 2, R, RW, RX),
    "mprotect of data": rule("mprotect", 2, R, RW),
    "shmat read only": rule("shmat", 2, 0o10000),
    "personality of a kernel": rule("personality", 0, 0, 8),
    "a bound below the bit": SyscallRule(10, "mprotect", ((ArgumentCondition(2, "le", RW),),)),
}


@pytest.mark.parametrize("name", GAINS)
def test_what_may_make_code(name: str) -> None:
    assert gains_exec([rule("read", 0), GAINS[name]])


@pytest.mark.parametrize("name", GAINS_NOT)
def test_what_makes_none(name: str) -> None:
    assert not gains_exec([rule("mmap", 2, R), GAINS_NOT[name]])
