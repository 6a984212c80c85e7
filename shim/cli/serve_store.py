"""Which database, which keys, which policies and resources does `shim serve` mean?"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from attestation.errors import EvidenceFormatError
from attestation.files import read_limited
from attestation.policy import Policy
from attestation.reference_files import load_policy
from attestation.relying_party import keys, resources, vault, wrong_clock
from attestation.relying_party.database import Database
from attestation.relying_party.errors import KeyFileError, UnknownResourceError
from attestation.relying_party.keys import Keyring
from attestation.relying_party.ledger import Ledger
from attestation.relying_party.requirement import AND
from shim.errors import FoundWantError

CREDENTIAL = "shim-database-key"
_POSTGRESQL = ("postgresql://", "postgres://")
_POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class MissingLibraryError(FoundWantError):
    """A library that only this command needs is not installed."""


@dataclass(frozen=True, slots=True)
class Given:
    """A resource as the command line names it: its name, its policy if that is said, and a file."""

    name: str
    policy: str | None
    path: Path


def keyring(path: Path | None, environment: Mapping[str, str]) -> Keyring | None:
    """
    Return the keys in the file, or in the credential that systemd passed on; None where there is neither.

    Raises:
        KeyFileError: it cannot be used.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if path is None and folder is not None and (Path(folder) / CREDENTIAL).exists():
        path = Path(folder) / CREDENTIAL
    if path is None:
        return None
    try:
        return keys.load(read_limited(path, "key", 1 << 14), str(path))
    except EvidenceFormatError as error:
        raise KeyFileError(str(path), error.found, error.want) from error


def fresh_keyring() -> Keyring:
    """Return a key that nobody keeps."""
    return Keyring((keys.master_key(secrets.token_bytes(keys.SIZE)),))


def database(where: str) -> Database:
    """
    Return the database in a file, or the PostgreSQL that a URL names.

    Raises:
        UnavailableError: it cannot be used.
        MissingLibraryError: psycopg is not installed.
    """
    if not where.startswith(_POSTGRESQL):
        from attestation.relying_party.sqlite import Sqlite

        return Sqlite(Path(where))
    try:
        from attestation.relying_party.postgresql import Postgresql
    except ImportError as error:
        want = "it: pip install 'tee-shim[serve-postgresql]'"
        raise MissingLibraryError("shim serve --database", "no module psycopg", want) from error
    return Postgresql(where)


def policies(given: tuple[str, ...]) -> Mapping[str, Policy]:
    """
    Return the policies that are named as FILE or NAME=FILE; a file's own name is its stem.

    Raises:
        click.BadParameter: no such file, a name that cannot be one, or two of one name.
        PolicyError, ReferenceValueError: one of them cannot be used.
    """
    found: dict[str, Policy] = {}
    for text in given:
        name, _, file = text.rpartition("=")
        path = Path(file)
        name = name or path.stem
        if not _POLICY_NAME.fullmatch(name) or name in found:
            raise click.BadParameter(f"found {name!r}, want a name of its own", param_hint="--policy")
        if not path.is_file():
            raise click.BadParameter(f"found no file {file!r}, want a policy", param_hint="--policy")
        found[name] = load_policy(path)
    return found


def given_resource(text: str) -> Given:
    """
    Return what NAME=FILE or NAME@POLICY=FILE stands for; POLICY may be MACHINE+DEVICE.

    Raises:
        click.BadParameter: something else.
    """
    left, is_assignment, file = text.partition("=")
    name, at, policy = left.partition("@")
    are_names = all(_POLICY_NAME.fullmatch(one) for one in policy.split(AND))
    if not is_assignment or not resources.NAME.fullmatch(name) or (at and not are_names):
        raise click.BadParameter(
            f"found {text!r}, want NAME=FILE or NAME@POLICY=FILE", param_hint="--resource"
        )
    return Given(name, policy or None, Path(file))


def put(ledger: Ledger, given: tuple[Given, ...], known: Mapping[str, Policy]) -> list[str]:
    """
    Keep resources that are not what is kept already, and return a line for each.

    Raises:
        click.UsageError: a resource without a policy, where not exactly one is known.
        RequestError: a file that is empty or too large.
        UnavailableError, StoreIntegrityError: the database cannot be used.
    """
    lines = []
    for one in given:
        policy = one.policy or (next(iter(known)) if len(known) == 1 else None)
        if policy is None:
            raise click.UsageError(f"--resource {one.name}: found no policy, want {one.name}@POLICY=FILE")
        value = read_limited(one.path, f"resource {one.name}", vault.LARGEST)
        kept = _kept(ledger, one.name)
        if kept is not None and (kept.value, kept.policy) == (value, policy):
            lines.append(f"{one.name}: version {kept.version} as before, released by {policy}")
            continue
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        version = resources.put(ledger, one.name, policy, value, random=secrets.token_bytes, at=at)
        lines.append(f"{one.name}: version {version}, released by {policy}")
    return lines


def remove(ledger: Ledger, names: tuple[str, ...]) -> list[str]:
    """
    Forget resources, and return a line for each.

    Raises:
        UnavailableError: the database cannot be used.
    """
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    counts = [(name, resources.remove(ledger, name, at=at)) for name in names]
    return [f"{name}: {count} versions removed" for name, count in counts]


def set_clock_back(ledger: Ledger) -> str:
    """
    Let nonces of now count again, and return a line about it.

    Raises:
        UnavailableError: the database cannot be used.
    """
    now = datetime.now(UTC)
    earlier = wrong_clock.set_back(
        ledger, now=int(now.timestamp()), at=now.isoformat(timespec="milliseconds")
    )
    return (
        f"nonces count again: a clock was {earlier} seconds ahead"
        if earlier
        else "no clock was ahead: nothing changed"
    )


def _kept(ledger: Ledger, name: str) -> resources.Resource | None:
    try:
        return resources.find(ledger.database, ledger.keys, name)
    except UnknownResourceError:
        return None
