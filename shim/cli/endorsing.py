"""What `shim inspect` and `shim verify` judge by: files that are named, or what was fetched before."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from attestation import files, needed
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError
from attestation.kind import Kind
from attestation.store.store import Store
from attestation.verdict import Verdict
from attestation.wanted import Wanted
from shim.errors import ShimError

AnyKind: TypeAlias = Kind[Any, Any, Any, Any]


def store_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where endorsements are kept for this user, None where the environment does not say it."""
    home = environment.get("HOME", "")
    base = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    return Path(base) / "shim" / "endorsements" if base.startswith("/") else None


def store_of(path: Path | None, *, unused: bool) -> Store | None:
    """Return the store to look into, None for none."""
    directory = path or store_directory(os.environ)
    return None if unused or directory is None else Store(directory)


@dataclass(frozen=True, slots=True)
class Supply:
    """
    What there is.

    Attributes:
        endorsements: All of it.
        missing: What evidence needs and the store does not have; none where the store was not looked at.
    """

    endorsements: Endorsements
    missing: tuple[Wanted, ...] = ()


def supplied(
    paths: tuple[Path, ...], kind: AnyKind, data: bytes, store: Store | None, *, early: bool
) -> Supply:
    """
    Return what is in the files that are named, or without any what the store has for this evidence.

    Raises:
        EvidenceFormatError: a file cannot be read.
    """
    if paths or store is None:
        return Supply(files.read_endorsements(paths))
    return Supply(*store.supply(_needed(kind, data, early=early)))


def _needed(kind: AnyKind, data: bytes, *, early: bool) -> tuple[Wanted, ...]:
    """Return what evidence needs that vendors hand out; none where it cannot be read."""
    if kind.simulated:
        return ()
    try:
        return needed.of_evidence(kind.parse(data), early=early)
    except AuthenticationError:
        return ()


def advise(
    error: ShimError, verdict: Verdict, kind: AnyKind, data: bytes, path: Path, store: Path | None
) -> None:
    """Add to an error the command that fetches what is missing or too old, if there is one."""
    if verdict not in {Verdict.CANNOT_TELL, Verdict.EXPIRED}:
        return
    wanted = _needed(kind, data, early=False)
    if not wanted:
        return
    where = "" if store is None else f" --store {shlex.quote(str(store))}"
    product = " --product Milan (or Genoa)" if needed.is_ambiguous(wanted) else ""
    command = f"shim fetch {shlex.quote(str(path))}{where}{product}"
    error.add_note(f"to fetch what is missing or too old: {command}")


def warn_early(kind: AnyKind, data: bytes, supply: Supply, store: Store | None, at: datetime) -> str | None:
    """
    Return what Intel's next TCB recovery makes of a platform, if that was fetched and is something else.

    Raises:
        EvidenceFormatError: something that is kept cannot be read.
    """
    wanted = _needed(kind, data, early=True)
    if store is None or wanted == _needed(kind, data, early=False):
        return None
    early, missing = store.supply(wanted)
    if missing:
        return None
    level, soon = (_status(kind, data, one, at) for one in (supply.endorsements, early))
    return None if level == soon else f"TCB: {level} now, after the next TCB recovery {soon}"


def _status(kind: AnyKind, data: bytes, supplied: Endorsements, at: datetime) -> str:
    """Return the status of a platform's TCB, or why it has none."""
    try:
        authenticated: Any = kind.authenticate(
            kind.parse(data), supplied, kind.roots, now=at, skew=timedelta(0), crl_required=False, cache=None
        )
    except AuthenticationError as error:
        return str(error)
    level = getattr(authenticated, "hardware", authenticated).tcb
    return "unknown" if level is None else f"{level.status.value}"
