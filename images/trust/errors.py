"""Why an image is not accepted, and what can be wrong with what is remembered of others, as types."""

from __future__ import annotations

from shim.errors import FoundWantError


class ImageAppraisalError(FoundWantError):
    """One thing about an image that its policy does not accept."""


class VersionStateError(FoundWantError):
    """A file of versions that cannot be read or written: whether an image is rolled back cannot be told."""

    exit_code = 16
