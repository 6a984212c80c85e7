"""What can go wrong with an image that boots, as types: `where: found X, want Y (source)`."""

from __future__ import annotations

from shim.errors import FoundWantError


class BootImageError(FoundWantError):
    """A bootable image that cannot be made of these inputs, or bytes that are none."""


class KernelError(BootImageError):
    """A kernel that is no bzImage, is for another processor, or cannot be started by EFI firmware."""


class CommandLineError(BootImageError):
    """A command line that the kernel would cut off, or get otherwise than it was written."""


class StubError(BootImageError):
    """An EFI stub that no unified kernel image can be made of."""


class DiskError(BootImageError):
    """Files that do not fit on a disk, or a disk of which no machine boots."""


class EifError(BootImageError):
    """Sections of which no enclave image can be made, or bytes that are none."""
