"""What can go wrong with records of packages, as types: `where: found X, want Y (source)`."""

from __future__ import annotations

from shim.errors import FoundWantError


class PackageError(FoundWantError):
    """Base of everything about packages that is raised on purpose."""


class PackageDatabaseError(PackageError):
    """A database of dpkg or apk, or a file beside it, that does not say what it has to."""


class BuildInformationError(PackageError):
    """A Go or Rust binary whose account of itself is damaged."""


class AptListsError(PackageError):
    """Package lists of apt that are missing, too old, damaged or of another distribution."""


class VersionError(PackageError):
    """A text that is no version of its ecosystem."""


class MissingLibraryError(PackageError):
    """A library that only this needs is not installed."""
