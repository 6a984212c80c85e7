"""What can be wrong with keys and signatures, as types."""

from __future__ import annotations

from shim.errors import FoundWantError


class SigningKeyError(FoundWantError):
    """A key that cannot be read, or is of a kind that nothing here signs with."""

    exit_code = 2


class SignatureFormatError(FoundWantError):
    """Bytes that do not have the form of the envelope, bundle or payload that they should be."""

    exit_code = 10


class SignatureError(FoundWantError):
    """A signature that none of the accepted keys made."""

    exit_code = 11
