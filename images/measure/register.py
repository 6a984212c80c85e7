"""Registers that only grow: PCRs of a TPM, RTMRs of a trust domain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def extended(digests: Iterable[bytes], algorithm: str) -> bytes:
    """
    Return the value of a register that was zero, after these digests were extended into it.

    Source:
        TCG TPM 2.0 Library, part 1, revision 1.59, section 17.3, "Extend of a PCR"; Intel TDX Module ABI,
        348551-004, section 5.6.12, "TDG.MR.RTMR.EXTEND", for the same with SHA-384.
    """
    value = bytes(hashlib.new(algorithm).digest_size)
    for digest in digests:
        value = hashlib.new(algorithm, value + digest).digest()
    return value


def digest(data: bytes, algorithm: str) -> bytes:
    """Return the digest that an event with this data extends."""
    return hashlib.new(algorithm, data).digest()
