"""
How are all the faults of one profile reported at once?

A reader notes each fault and goes on; at the end one error carries them all.
"""

from __future__ import annotations

from shim.errors import ProfileError

_SHOWN = 50


class ProfileFormatError(ProfileError):
    """
    A text that is not a profile.

    Attributes:
        problems: Every fault that was found, in the order of the text; at least one.
    """

    def __init__(self, problems: tuple[ProfileError, ...]) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(first.where, first.found, first.want, first.source)

    def __str__(self) -> str:
        """Return one line for each fault, and how many more there are when there are very many."""
        lines = [str(problem) for problem in self.problems[:_SHOWN]]
        more = len(self.problems) - _SHOWN
        return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


class Problems:
    """The faults found so far in one profile; `where` of each starts with the profile's own name."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._found: list[ProfileError] = []

    def note(self, where: str, found: str, want: str, source: str = "") -> None:
        """Add one fault; `where` is the path inside the profile, "" for the whole of it."""
        place = f"{self._profile}: {where}" if where else self._profile
        self._found.append(ProfileError(place, found, want, source))

    def __bool__(self) -> bool:
        """Tell whether anything was noted."""
        return bool(self._found)

    def raise_if_any(self) -> None:
        """
        Return if nothing was noted.

        Raises:
            ProfileFormatError: with everything that was.
        """
        if self._found:
            raise ProfileFormatError(tuple(self._found))
