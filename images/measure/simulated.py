"""
What does the simulated TEE say that it measured?

Nobody measures anything in a simulation.  So that a wrong kernel, initramfs or command line is refused there
as well, whoever plays the TEE says a digest of what it was told is booted; a host that lies gets its way.
"""

from __future__ import annotations

import hashlib

from images.measure.kernel_hashes import KernelHashes

_HANDED_OVER = b"shim simulated TEE: kernel hashes\0"
_PROGRAM = b"shim simulated TEE: boot program\0"


def of_hashes(hashes: KernelHashes) -> bytes:
    """Return the measurement of a kernel that is handed over with initrd and command line, 48 bytes."""
    return hashlib.sha384(_HANDED_OVER + hashes.table()).digest()


def of_program(image: bytes) -> bytes:
    """Return the measurement of a program that firmware starts, a unified kernel image, 48 bytes."""
    return hashlib.sha384(_PROGRAM + hashlib.sha256(image).digest()).digest()
