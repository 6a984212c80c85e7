"""What can go wrong before a machine is on, as types."""

from __future__ import annotations

from shim.errors import FoundWantError


class BootError(FoundWantError):
    """Base: nothing ran."""

    exit_code = 125


class QemuError(BootError):
    """A QEMU that is not there, cannot be used, or did not start."""


class BootImageFormError(BootError):
    """A file that no machine is started with, or of another form than was meant."""


class InitramfsError(BootError):
    """An initramfs that is damaged, or not one of `shim build`."""
