"""What can go wrong with such documents, as types: `where: found X, want Y (source)`."""

from __future__ import annotations

from shim.errors import FoundWantError, ShimError, one_line


class SbomError(FoundWantError):
    """Base of everything about these documents that is raised on purpose."""


class SbomFormatError(SbomError):
    """Bytes that are no bill of materials that is read here."""


class VulnerabilityRecordError(SbomError):
    """Bytes that are no OSV record."""


class InvalidDocumentError(ShimError):
    """
    A document that the library of its own format does not accept.

    Attributes:
        problems: What it says, one line each.
    """

    def __init__(self, form: str, problems: tuple[str, ...]) -> None:
        self.form = form
        self.problems = problems
        super().__init__(form, problems)

    def __str__(self) -> str:
        return "\n".join(one_line(f"{self.form}: {problem}") for problem in self.problems)
