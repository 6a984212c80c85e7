"""
Which architecture belongs to a file?
"""

from __future__ import annotations

from shim.analysis.architecture import Architecture
from shim.elf.image import ElfImage


def architecture_of(image: ElfImage) -> Architecture:
    """Return the architecture that a file's code is for."""
    if image.machine == "aarch64":
        from shim.analysis.aarch64.architecture import AARCH64  # noqa: PLC0415  # x86 needs none of it

        return AARCH64
    from shim.analysis.x86_64.architecture import X86_64  # noqa: PLC0415  # nor the other way

    return X86_64
