"""What `shim inspect` and `shim verify` judge by: files that are named, or what was fetched before."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attestation import endorsements, files, kinds
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError, EvidenceFormatError
from attestation.kind import Kind
from attestation.verdict import Verdict
from shim.errors import ShimError

if TYPE_CHECKING:  # what vendors hand out is loaded only where somebody looks for it
    from attestation.store.store import Store
    from attestation.wanted import Wanted


_MOST_NAMED = 8


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
        early_paths: Collateral of a TCB recovery that is not in force; a store that has it is asked too.
    """

    kind: Kind[Any, Any, Any, Any]
    data: bytes
    evidence_path: Path
    paths: tuple[Path, ...] = ()
    store_path: Path | None = None
    no_store: bool = False
    early_paths: tuple[Path, ...] = ()

    @property
    def store(self) -> Store | None:
        """The store to look at, None for none."""
        directory = self.store_path or store_directory(os.environ)
        if self.paths or self.no_store or directory is None:
            return None
        from attestation.store.store import Store

        return Store(directory)

    def wanted(self, *, early: bool) -> tuple[Wanted, ...]:
        """Return what the evidence needs that vendors hand out; none where it cannot be read."""
        if self.kind.simulated:
            return ()
        from attestation import needed

        try:
            return needed.of_evidence(self.kind.parse(self.data), early=early)
        except AuthenticationError:
            return ()

    def endorsements(self, at: datetime) -> Endorsements:
        """
        Return what there is, to judge as of `at`.

        Raises:
            EvidenceFormatError: a file, or something that is kept, cannot be read.
        """
        announced = read_named(self.early_paths).as_early()
        if self.store is None:
            return read_named(self.paths) | announced
        return self.store.supply(self.wanted(early=False))[0] | announced | self._announced(self.store, at)

    def _announced(self, store: Store, at: datetime) -> Endorsements:
        """Return what is kept of a TCB recovery not in force; nobody asked for it, so it must be good."""
        wanted = self.wanted(early=True)
        if wanted == self.wanted(early=False):
            return Endorsements()
        from attestation import json_document
        from attestation.intel import tcb_info

        soon, missing = store.supply(wanted)
        read = [tcb_info.read(json_document.read(one.body, "collateral")) for one in soon.documents]
        is_good = all(one.issued <= at <= one.next_update for one in read)
        return soon.as_early() if is_good and not missing else Endorsements()

    def advise(self, error: ShimError, verdict: Verdict) -> None:
        """Add to an error the command that fetches what is missing or too old, if there is one."""
        if verdict not in {Verdict.CANNOT_TELL, Verdict.EXPIRED}:
            return
        wanted = self.wanted(early=False)
        if not wanted:
            return
        from attestation import needed

        command = f"shim fetch {shlex.quote(str(self.evidence_path))}"
        if self.store_path is not None:
            command += f" --store {shlex.quote(str(self.store_path))}"
        if needed.is_ambiguous(wanted):
            command += " --product Milan (or Genoa)"
        if self.paths or self.no_store:
            command += f", and leave out {'--endorsements' if self.paths else '--no-store'}"
        error.add_note(f"to fetch what is missing or too old: {command}")


def read_named(paths: tuple[Path, ...]) -> Endorsements:
    """
    Return what is in files and directories that a user names, and name what is left of a directory.

    Raises:
        EvidenceFormatError: a file cannot be read, or is neither.
    """
    found = files.find_endorsements(paths)
    if found.left:
        named = [shlex.quote(str(one)) for one in found.left[:_MOST_NAMED]]
        more = f" and {len(found.left) - _MOST_NAMED} more" if len(found.left) > _MOST_NAMED else ""
        click.echo(f"shim: not read as endorsements: {', '.join(named)}{more}", err=True)
    return found.endorsements


def parsed(data: bytes, tee: str) -> object:
    """
    Return evidence; where it is of another kind, the error says of which.

    Raises:
        EvidenceFormatError: it is of no kind.
        click.UsageError: it is of another.
    """
    try:
        evidence: object = kinds.KINDS[tee].parse(data)
    except EvidenceFormatError as error:
        other = readable_as(data)
        if other is None:
            advise_on_malformed(error, data, tee)
            raise
        raise click.UsageError(f"{error}; it can be read as {other}: --tee {other}") from error
    return evidence


def advise_on_malformed(error: ShimError, data: bytes, tee: str) -> None:
    """Add to an error what the data is instead: evidence of another kind than `tee`, or written as text."""
    other = readable_as(data)
    if other not in {None, tee}:
        error.add_note(f"the policy is for {tee}, and this can be read as {other}")
    elif readable_as(endorsements.from_text(data.strip())) is not None:
        error.add_note("this is evidence in hexadecimal or base64: decode it first")


def readable_as(data: bytes) -> str | None:
    """Return the first kind of evidence that data can be read as, None for none."""
    for name, kind in kinds.KINDS.items():
        with contextlib.suppress(AuthenticationError):
            kind.parse(data)
            return name
    return None
