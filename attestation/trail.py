"""
What was checked, in which order, with what outcome?

Authentication leaves a line behind each check that held, at the place where the check is made: a line cannot
stand for a check that was not.  Where nobody asks for the trail, nothing is written and nothing formatted.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from attestation.certificate import Certificate, RevocationList
from attestation.errors import AuthenticationError
from shim.canonical import JsonValue


class Outcome(enum.Enum):
    """What came of one check."""

    HELD = "held"
    FAILED = "failed"
    UNCHECKED = "unchecked"
    STATED = "stated"  # by the author of the policy: no evidence can show it


@dataclass(frozen=True, slots=True)
class Check:
    """
    One check.

    Attributes:
        field: What was looked at.
        found: What it was; empty where the name of the check says it all.
        want: What it was held against.
        source: The document that defines it.
        outcome: What came of it.
    """

    field: str
    found: str
    want: str
    source: str
    outcome: Outcome

    def to_json(self) -> dict[str, JsonValue]:
        """Return the attributes as a JSON value."""
        return {
            "field": self.field,
            "found": self.found,
            "want": self.want,
            "source": self.source,
            "outcome": self.outcome.value,
        }


@dataclass(slots=True)
class Trail:
    """The checks of one appraisal in their order."""

    checks: list[Check] = field(default_factory=list)

    def held(self, name: str, found: str, want: str, source: str) -> None:
        """Remember a check that held."""
        self.checks.append(Check(name, found, want, source, Outcome.HELD))

    def chain(self, certificates: Sequence[Certificate], root: str, source: str) -> None:
        """Remember that each certificate is signed by the next, and the last one is a pinned `root`."""
        self.links(certificates, source)
        top = certificates[-1]
        self.held(f"root {top.common_name}", f"key {top.key_sha256.hex()}", f"a pinned key of {root}", source)

    def links(self, certificates: Sequence[Certificate], source: str) -> None:
        """Remember that each certificate is signed by the next; nothing says that the last one is trusted."""
        for one, issuer in pairwise(certificates):
            self.held(
                f"certificate {one.common_name}",
                f"serial {one.serial:#x}",
                f"signed by {issuer.common_name}",
                source,
            )

    def signature(self, name: str, certificate: Certificate, source: str) -> None:
        """Remember that the key of a certificate made a signature."""
        key = f"key {certificate.key_sha256.hex()}"
        self.held(name, f"made by {key}", f"the key of {certificate.common_name}", source)

    def lists(self, lists: Iterable[RevocationList | None], source: str, *, required: bool) -> None:
        """Remember which revocation lists were looked at, and that none was where none was asked for."""
        found = [one for one in lists if one is not None]
        for one in found:
            said = f"of {one.this_update:%Y-%m-%d}, {sum(map(len, one.revoked.values()))} serial numbers"
            self.held(
                f"revocation list of {one.issuer.rfc4514_string()}", said, "none of the chain on it", source
            )
        if not found and not required:
            self.checks.append(Check("revocation lists", "none supplied", "", source, Outcome.UNCHECKED))

    def said(self, name: str, found: str, source: str, *, checked: bool) -> None:
        """Remember what an issuer says of something, or that nobody asked."""
        outcome = Outcome.HELD if checked else Outcome.UNCHECKED
        self.checks.append(Check(name, found, "", source, outcome))

    def validity(self, certificates: Iterable[Certificate], now: datetime, source: str) -> None:
        """Remember that certificates are good at a time."""
        for one in certificates:
            period = f"{one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
            self.held(f"validity of {one.common_name}", period, f"good at {now:%Y-%m-%d %H:%M}", source)

    def add(self, checks: Iterable[Check]) -> None:
        """Remember checks that were made elsewhere."""
        self.checks.extend(checks)

    def failed(self, error: AuthenticationError) -> None:
        """Remember the check that ended the authentication."""
        self.checks.append(Check(error.where, error.found, error.want, error.source, Outcome.FAILED))


class _Silent(Trail):
    """Nobody asks: what the methods are given is not even looked at."""

    def held(self, name: str, found: str, want: str, source: str) -> None: ...

    def chain(self, certificates: Sequence[Certificate], root: str, source: str) -> None: ...

    def links(self, certificates: Sequence[Certificate], source: str) -> None: ...

    def signature(self, name: str, certificate: Certificate, source: str) -> None: ...

    def lists(self, lists: Iterable[RevocationList | None], source: str, *, required: bool) -> None: ...

    def said(self, name: str, found: str, source: str, *, checked: bool) -> None: ...

    def validity(self, certificates: Iterable[Certificate], now: datetime, source: str) -> None: ...

    def add(self, checks: Iterable[Check]) -> None: ...

    def failed(self, error: AuthenticationError) -> None: ...


SILENT = _Silent()
