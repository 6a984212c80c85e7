"""What can go wrong with an image, as types."""

from __future__ import annotations

from shim.errors import FoundWantError, ShimError, one_line


class ImageError(FoundWantError):
    """An image that cannot be made, read or written."""


class ImageSpecError(ImageError):
    """What was asked for is no image: a file that is not there, a name or a link that no image may hold."""


class SourceError(ImageError):
    """A place that files are taken from which is damaged, hostile or changed meanwhile."""


class OutputError(ImageError):
    """A target that cannot be written, or may not be replaced; what stood there before still does."""


class ManifestError(ImageError):
    """Bytes that are no manifest of an image."""


class ConflictsError(ShimError):
    """
    Entries that cannot be in one image.

    Attributes:
        problems: One error for each, all of them.
    """

    def __init__(self, problems: tuple[ImageSpecError, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(one_line(str(problem)) for problem in self.problems)
