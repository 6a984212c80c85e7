"""Whether the running kernel has a call."""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def kernel_answers() -> Callable[[int], bool]:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the numbers are those of Linux on x86_64")
    library = ctypes.CDLL(None, use_errno=True)

    def answers(number: int) -> bool:
        """Call it with arguments that no call accepts; a kernel without it says ENOSYS."""
        bad = [ctypes.c_long(-1)] * 6
        return library.syscall(ctypes.c_long(number), *bad) != -1 or ctypes.get_errno() != errno.ENOSYS

    return answers
