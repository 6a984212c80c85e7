"""
What does a filter see of a call?  `struct seccomp_data`, 64 bytes.

    offset  0  nr                   4 bytes
            4  arch                 4 bytes
            8  instruction_pointer  8 bytes
           16  args[6]              8 bytes each

Source: include/uapi/linux/seccomp.h, v6.12.  Loads are of 32-bit words; on a little-endian machine the low
half of a 64-bit field comes first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

NR_OFFSET = 0
ARCH_OFFSET = 4
INSTRUCTION_POINTER_OFFSET = 8
SIZE = 64

_LAYOUT = struct.Struct("<II7Q")
_WORDS = struct.Struct("<16I")


def argument_offset(index: int) -> int:
    """
    Return the offset of argument `index`, in bytes.

    Raises:
        ValueError: a syscall has no such argument.
    """
    if not 0 <= index <= 5:
        raise ValueError(f"argument index {index}: a syscall has arguments 0 to 5")
    return 16 + 8 * index


@dataclass(frozen=True, slots=True)
class SeccompData:
    """One call as the kernel shows it to a filter; negative numbers stand for their unsigned counterparts."""

    nr: int
    arch: int
    instruction_pointer: int = 0
    args: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)

    def words(self) -> tuple[int, ...]:
        """Return the 16 words that a filter can load."""
        packed = _LAYOUT.pack(
            self.nr & 0xFFFF_FFFF,
            self.arch,
            self.instruction_pointer,
            *(value & 0xFFFF_FFFF_FFFF_FFFF for value in self.args),
        )
        return _WORDS.unpack(packed)
