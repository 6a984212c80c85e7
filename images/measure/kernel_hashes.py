"""Which table of hashes does QEMU put into a guest's memory, so that its firmware checks what it boots?"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

from images.measure.errors import LaunchParameterError

_TABLE = UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
_CMDLINE = UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
_INITRD = UUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
_KERNEL = UUID("4de79437-abd2-427f-b835-d5b172d2045b")
_HEADER = struct.Struct("<16sH")  # GUID, size with this
_ENTRY = struct.Struct("<16sH32s")  # the same, SHA-256
_SIZE = _HEADER.size + 3 * _ENTRY.size
TABLE_SIZE = (_SIZE + 15) // 16 * 16


@dataclass(frozen=True, slots=True)
class KernelHashes:
    """SHA-256 of what is booted: of the kernel, the initrd, and the command line with its final zero byte."""

    kernel: bytes
    initrd: bytes
    cmdline: bytes

    def table(self) -> bytes:
        """
        Return the table as it stands in memory, filled up to whole 16 bytes.

        Source:
            QEMU 10.0, target/i386/sev.c, build_kernel_loader_hashes(), PaddedSevHashTable.
        """
        entries = ((_CMDLINE, self.cmdline), (_INITRD, self.initrd), (_KERNEL, self.kernel))
        packed = b"".join(_ENTRY.pack(guid.bytes_le, _ENTRY.size, digest) for guid, digest in entries)
        return (_HEADER.pack(_TABLE.bytes_le, _SIZE) + packed).ljust(TABLE_SIZE, b"\0")


def kernel_hashes(kernel: bytes, initrd: bytes = b"", cmdline: bytes = b"") -> KernelHashes:
    """
    Return the hashes of a kernel, an initrd (none is an empty one) and a command line.

    Raises:
        LaunchParameterError: the command line has a zero byte inside, with which it would end for the kernel.
    """
    if b"\0" in cmdline:
        raise LaunchParameterError("command line", "a zero byte", "none")
    return KernelHashes(
        kernel=hashlib.sha256(kernel).digest(),
        initrd=hashlib.sha256(initrd).digest(),
        cmdline=hashlib.sha256(cmdline + b"\0").digest(),
    )
