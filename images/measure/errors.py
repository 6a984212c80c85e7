"""What can go wrong with what is to be measured, as types: `where: found X, want Y (source)`."""

from __future__ import annotations

from shim.errors import FoundWantError


class MeasureError(FoundWantError):
    """Base of everything that the predictors raise on purpose: from these inputs no digest follows."""


class InputFileError(MeasureError):
    """A file that is missing, no file, or larger than anything of its kind."""


class FirmwareError(MeasureError):
    """Firmware without the tables that a measured launch needs, or with contradictory ones."""


class KernelHashesError(MeasureError):
    """Firmware that cannot check what it boots: a kernel beside it would not be measured."""


class LaunchParameterError(MeasureError):
    """A number or type of vCPUs, or another parameter of the launch, with which no VM starts."""


class PeError(MeasureError):
    """Bytes that are no PE image, or one whose digest is not defined."""


class UkiError(MeasureError):
    """A PE image that is no unified kernel image, or one that does not measure itself."""


class KeyUnfitError(MeasureError):
    """A key that cannot sign an ID block."""
