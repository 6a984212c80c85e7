"""
What can go wrong, as types.

Every error raised on purpose derives from `ShimError`; the command line catches that and nothing else.
Facts live in attributes, the text is made from them: `where: found X, want Y (source)`, one line, lower
case, no full stop.  Four meanings are never mixed: garbage in (`...FormatError`, `BinaryError`), honest but
unacceptable (`AppraisalError`), our own limits (`AnalysisError`), and a caller's bug (`TypeError`,
`ValueError`, `RuntimeError`, which are not ours and never caught).
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return `text` without line breaks and control characters, as names in files may contain them."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


class ShimError(Exception):
    """Base of everything raised on purpose."""


class FoundWantError(ShimError):
    """
    A place where something was found and something else was wanted.

    Attributes:
        where: The file, field or position that is meant.
        found: What stood there.
        want: What would have been accepted.
        source: The document that says so, or "".
    """

    def __init__(self, where: str, found: str, want: str, source: str = "") -> None:
        self.where = where
        self.found = found
        self.want = want
        self.source = source
        super().__init__(where, found, want, source)

    def __str__(self) -> str:
        text = one_line(f"{self.where}: found {self.found}, want {self.want}")
        return f"{text} ({self.source})" if self.source else text


class BinaryError(FoundWantError):
    """The file is not one that is analysed."""


class NotElfError(BinaryError):
    """The file is something other than ELF: a script, a binfmt target, text, nothing."""


class UnsupportedElfError(BinaryError):
    """A well-formed ELF file of a class, machine, type or linkage that is not supported."""


class TruncatedElfError(BinaryError):
    """A header or a range that it names ends beyond the end of the file."""


class MalformedElfError(BinaryError):
    """The headers contradict each other or the ELF specification."""


class AnalysisError(ShimError):
    """The file is fine, but the analysis cannot bound what it does."""


class IncompleteProfileError(AnalysisError):
    """
    A profile with unresolved sites was to be used as if it were complete.

    Attributes:
        program: The program the profile belongs to.
        unresolved: One line per unresolved site.
    """

    def __init__(self, program: str, unresolved: tuple[str, ...]) -> None:
        self.program = program
        self.unresolved = unresolved
        super().__init__(program, unresolved)

    def __str__(self) -> str:
        first = self.unresolved[0] if self.unresolved else "no reason recorded"
        more = f" and {len(self.unresolved) - 1} more" if len(self.unresolved) > 1 else ""
        return f"{self.program}: found an incomplete profile ({first}{more}), want every site resolved"


class ProfileError(FoundWantError):
    """A profile that is malformed, has an unknown key, an unknown syscall, or another architecture."""


class FilterError(FoundWantError):
    """A filter that does not fit or that the kernel would refuse."""


class LaunchError(ShimError):
    """
    A launch that ended before the program ran.

    Attributes:
        step: The launcher's name for the step, as in native/launch.c.
        reason: One sentence.
        exit_code: 125, 126 or 127, as in native/README.md.
    """

    def __init__(self, step: str, reason: str, exit_code: int = 125) -> None:
        self.step = step
        self.reason = reason
        self.exit_code = exit_code
        super().__init__(step, reason, exit_code)

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}"


class PlanFormatError(FoundWantError):
    """Bytes that are not a launch plan, or values that a launch plan cannot hold."""
