"""How is an ioctl numbered, and how does a structure point to a buffer?"""

from __future__ import annotations

import ctypes

_WRITE, _READ = 1, 2


def read_write(kind: int, number: int, size: int) -> int:
    """
    Return the number of an ioctl that reads and changes a structure of `size` bytes: _IOWR.

    Source:
        include/uapi/asm-generic/ioctl.h, v6.12; the same on x86 and on Arm.
    """
    return (_READ | _WRITE) << 30 | size << 16 | kind << 8 | number


def address(buffer: bytearray) -> int:
    """
    Return where a buffer is, for a structure that points to it.

    The caller keeps the buffer, and its size, until the kernel has answered.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
