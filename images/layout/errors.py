"""What can be wrong with an image layout, as types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attestation.errors import EvidenceFormatError
from shim.errors import FoundWantError


class LayoutError(FoundWantError):
    """An image layout that is damaged, altered, hostile, or of a form that is not known."""

    exit_code = 10


class LayoutOutputError(FoundWantError):
    """A layout that cannot be written; what stood there before still does."""


@contextmanager
def reading(error: type[FoundWantError] = LayoutError) -> Iterator[None]:
    """Let what a strict reader of JSON finds wrong leave as `error`."""
    try:
        yield
    except EvidenceFormatError as fault:
        raise error(fault.where, fault.found, fault.want, fault.source) from fault
