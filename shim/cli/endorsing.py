"""What `shim inspect` and `shim verify` judge by: files that are named, or what was fetched before."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attestation import files, needed
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError
from attestation.kind import Kind
from attestation.store.store import Store
from attestation.verdict import Verdict
from attestation.wanted import Wanted
from shim.errors import ShimError


def store_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where endorsements are kept for this user, None where the environment does not say it."""
    home = environment.get("HOME", "")
    base = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    return Path(base) / "shim" / "endorsements" if base.startswith("/") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """
    Where to look for the endorsements of some evidence.

    Attributes:
        kind: Of the evidence.
        data: The evidence.
        evidence_path: Its name, for messages.
        paths: Files and directories that were named; with any, the store is not looked at.
        store_path: The store that was named, or None for the user's.
        no_store: Whether not to look at it.
        early: Of collateral, whether to take what counts after the next TCB recovery.
    """

    kind: Kind[Any, Any, Any, Any]
    data: bytes
    evidence_path: Path
    paths: tuple[Path, ...] = ()
    store_path: Path | None = None
    no_store: bool = False
    early: bool = False

    @property
    def store(self) -> Store | None:
        """The store to look at, None for none."""
        directory = self.store_path or store_directory(os.environ)
        return None if self.paths or self.no_store or directory is None else Store(directory)

    def wanted(self, *, early: bool) -> tuple[Wanted, ...]:
        """Return what the evidence needs that vendors hand out; none where it cannot be read."""
        if self.kind.simulated:
            return ()
        try:
            return needed.of_evidence(self.kind.parse(self.data), early=early)
        except AuthenticationError:
            return ()

    def endorsements(self) -> Endorsements:
        """
        Return what there is.

        Raises:
            EvidenceFormatError: a file cannot be read.
        """
        if self.store is None:
            return files.read_endorsements(self.paths)
        return self.store.supply(self.wanted(early=self.early))[0]

    def advise(self, error: ShimError, verdict: Verdict) -> None:
        """Add to an error the command that fetches what is missing or too old, if there is one."""
        wanted = self.wanted(early=False)
        if verdict not in {Verdict.CANNOT_TELL, Verdict.EXPIRED} or not wanted:
            return
        command = f"shim fetch {shlex.quote(str(self.evidence_path))}"
        if self.store_path is not None:
            command += f" --store {shlex.quote(str(self.store_path))}"
        if needed.is_ambiguous(wanted):
            command += " --product Milan (or Genoa)"
        if self.paths or self.no_store:
            command += f", and leave out {'--endorsements' if self.paths else '--no-store'}"
        error.add_note(f"to fetch what is missing or too old: {command}")

    def warning(self, supplied: Endorsements, at: datetime) -> str:
        """
        Return what Intel's next TCB recovery makes of a platform, "" if it is not known or changes nothing.

        Raises:
            EvidenceFormatError: something that is kept cannot be read.
        """
        wanted = self.wanted(early=True)
        if self.store is None or self.early or wanted == self.wanted(early=False):
            return ""
        soon, missing = self.store.supply(wanted)
        if missing:
            return ""
        level, then = self._status(supplied, at), self._status(soon, at)
        return "" if level == then else f"TCB: {level} now, after the next TCB recovery {then}"

    def _status(self, supplied: Endorsements, at: datetime) -> str:
        """Return the status of a platform's TCB, or why it has none."""
        evidence, roots = self.kind.parse(self.data), self.kind.roots
        try:
            found: Any = self.kind.authenticate(
                evidence, supplied, roots, now=at, skew=timedelta(0), crl_required=False, cache=None
            )
        except AuthenticationError as error:
            return str(error)
        level = getattr(found, "hardware", found).tcb
        return "unknown" if level is None else f"{level.status.value}"
