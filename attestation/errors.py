"""
What can go wrong with evidence, endorsements and policies, as types.

One type per verdict, so that a caller can tell the refusals apart without reading text.  Facts live in
attributes (`where`, `found`, `want`, `source`); the text is made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from attestation.verdict import Verdict
from shim.errors import FoundWantError, ShimError

if TYPE_CHECKING:
    from attestation.result import AttestationResult, Mismatch
    from attestation.tpm.credential import Target


class AttestationError(ShimError):
    """Base of everything that this package raises on purpose; `exit_code` is for the command line."""

    exit_code: int = 1


class AuthenticationError(FoundWantError, AttestationError):
    """The question "did the hardware say it" was not answered with yes; `verdict` says with what."""

    verdict: ClassVar[Verdict]

    def __init_subclass__(cls) -> None:
        cls.exit_code = cls.verdict.exit_code


class EvidenceFormatError(AuthenticationError):
    """
    Bytes that do not have the layout of their structure, or a layout that is not known.

    Attributes:
        structure: What was being read: "report", "certificate", "certificate table", ...
        field: The part of it that is wrong, by its name in the specification.
        offset: Where that part starts in the structure, in bytes, or None when that says nothing.
    """

    verdict = Verdict.MALFORMED

    def __init__(
        self,
        structure: str,
        field: str,
        found: str,
        want: str,
        source: str = "",
        *,
        offset: int | None = None,
    ) -> None:
        self.structure = structure
        self.field = field
        self.offset = offset
        place = "" if offset is None else f" at 0x{offset:x}"
        super().__init__(f"{structure}.{field}{place}" if field else structure, found, want, source)


class NotAuthenticError(AuthenticationError):
    """Signature, chain or identity contradict each other: the hardware did not say this."""

    verdict = Verdict.NOT_AUTHENTIC


class SignatureError(NotAuthenticError):
    """A signature that its key did not make."""


class RevokedError(AuthenticationError):
    """A certificate of the chain is on its issuer's revocation list."""

    verdict = Verdict.REVOKED


class ValidityError(AuthenticationError):
    """A certificate or revocation list that is expired or not yet valid at the given time."""

    verdict = Verdict.EXPIRED


class MissingEndorsementError(AuthenticationError):
    """A certificate or revocation list that is needed was not supplied: nothing can be said."""

    verdict = Verdict.CANNOT_TELL


class TcbError(AuthenticationError):
    """A platform, module or enclave that is older than everything that its vendor still has a word for."""

    verdict = Verdict.TCB_TOO_LOW


class AppraisalError(AttestationError):
    """
    Evidence that is not accepted.

    Attributes:
        result: The full result, with every mismatch and everything that was left unchecked.
        exit_code: The exit code of its verdict.
    """

    def __init__(self, result: AttestationResult) -> None:
        self.result = result
        self.exit_code = result.verdict.exit_code
        super().__init__(result)

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Every reason for the refusal, not only the first."""
        return self.result.mismatches

    def __str__(self) -> str:
        more = f" (and {len(self.mismatches) - 1} more)" if len(self.mismatches) > 1 else ""
        label = self.result.label
        kind = "" if label == self.result.tee else f"{label}: "
        return f"{kind}{self.result.verdict.value}: {self.mismatches[0]}{more}"


class ActivationError(AppraisalError):
    """
    Evidence that is accepted but for one thing: nobody has shown that its two keys are in one TPM.

    Attributes:
        target: For whom a credential has to be, which shows it: `attestation.tpm.credential`.
    """

    def __init__(self, result: AttestationResult, target: Target) -> None:
        super().__init__(result)
        self.target = target


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One thing that is wrong with a policy file: the line (from 1), the key, what stood there, what may."""

    line: int
    key: str
    found: str
    want: str


class PolicyError(AttestationError):
    """
    A policy file that cannot be used.

    Attributes:
        where: The name of the file.
        problems: Everything that is wrong with it, in the order of the lines.
    """

    exit_code = 2

    def __init__(self, where: str, problems: tuple[PolicyProblem, ...]) -> None:
        self.where = where
        self.problems = problems
        super().__init__(where, problems)

    def __str__(self) -> str:
        return "\n".join(
            f"{self.where}:{problem.line}: {problem.key}: found {problem.found}, want {problem.want}"
            for problem in self.problems
        )


class CollectError(FoundWantError, AttestationError):
    """Evidence could not be collected on this machine."""


class KernelError(CollectError):
    """
    The kernel refused something that collection asked for.

    Attributes:
        number: Its errno.
    """

    def __init__(self, where: str, found: str, want: str, source: str = "", *, number: int) -> None:
        self.number = number
        super().__init__(where, found, want, source)


class NoTeeError(CollectError):
    """No trusted execution environment that is known was found on this machine."""


class UnsupportedTeeError(CollectError):
    """There is one, but collecting its evidence is not supported here."""
