"""Which keys and configuration are there to be released, and by which policy each?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from attestation.relying_party import vault
from attestation.relying_party.database import Database, Row
from attestation.relying_party.errors import RequestError, StoreIntegrityError, UnknownResourceError
from attestation.relying_party.keys import Keyring
from attestation.relying_party.ledger import Ledger, Writing
from attestation.relying_party.vault import Label, Sealed

# As the KBS protocol has them, so that both interfaces name the same things.
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,2}}")
_QUERY = "SELECT name, version, policy, key_id, sealed FROM resources"


@dataclass(frozen=True, slots=True)
class Resource:
    """A value with its name, its version (from 1 on) and the name of the policy that it is released by."""

    name: str
    version: int
    policy: str
    value: bytes

    def __repr__(self) -> str:
        return f"Resource({self.name}, version {self.version}, policy {self.policy})"


def check_name(name: str) -> str:
    """
    Return `name` if a resource can be called that.

    Raises:
        RequestError: it cannot.
    """
    if not NAME.fullmatch(name):
        want = "one to three parts of letters, digits and ._- with / between, each at most 64 long"
        raise RequestError("resource", repr(name)[:80], want)
    return name


def find(database: Database, keys: Keyring, name: str) -> Resource:
    """
    Return the newest version of a resource.

    Raises:
        UnknownResourceError: there is none.
        StoreIntegrityError: what is kept was changed, or its key is not known.
        UnavailableError: the store cannot be read.
    """
    for row in database.rows(f"{_QUERY} WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)):
        label, sealed = _parts(row)
        return Resource(label.name, label.version, label.policy, vault.open_sealed(keys, label, sealed))
    raise UnknownResourceError(name)


def labels(database: Database) -> tuple[Label, ...]:
    """
    Return names, newest versions and policies of all resources; what they are is not opened.

    Raises:
        UnavailableError: the store cannot be read.
    """
    newest = {
        label.name: label
        for label in (_parts(row)[0] for row in database.rows(f"{_QUERY} ORDER BY name, version"))
    }
    return tuple(newest.values())


def put(
    ledger: Ledger, name: str, policy: str, value: bytes, *, random: Callable[[int], bytes], at: str
) -> int:
    """
    Keep a value as the newest version of a resource, record that, and return the version.

    Args:
        ledger: Where.
        name: What it is called.
        policy: The name of the policy that it is released by.
        value: At most 64 KiB.
        random: Returns as many random bytes as it is asked for.
        at: The time, for the record.

    Raises:
        RequestError: a name that cannot be one, or a value that is empty or too large.
        UnavailableError: the store cannot be written.
    """
    check_name(name)
    if not 0 < len(value) <= vault.LARGEST:
        raise RequestError(f"resource {name}", f"{len(value)} bytes", f"1 to {vault.LARGEST} bytes")

    def work(writing: Writing) -> int:
        query = "SELECT COALESCE(MAX(version), 0) FROM resources WHERE name = ?"
        version = int(writing.statements.rows(query, (name,))[0][0] or 0) + 1
        sealed = vault.seal(ledger.keys, Label(name, version, policy), value, random)
        writing.statements.change(
            "INSERT INTO resources VALUES (?, ?, ?, ?, ?)",
            (name, version, policy, sealed.key_id, sealed.data),
        )
        writing.record({"event": "put", "at": at, "resource": name, "version": version, "policy": policy})
        return version

    return ledger.commit(name.encode(), work)


def remove(ledger: Ledger, name: str, *, at: str) -> int:
    """
    Forget all versions of a resource, record that, and return how many there were.

    Raises:
        UnavailableError: the store cannot be written.
    """

    def work(writing: Writing) -> int:
        removed = writing.statements.change("DELETE FROM resources WHERE name = ?", (name,))
        if removed:
            writing.record({"event": "removed", "at": at, "resource": name})
        return removed

    return ledger.commit(name.encode(), work)


def _parts(row: Row) -> tuple[Label, Sealed]:
    called, version, policy, key_id, data = row
    name = str(called)
    if not (isinstance(version, int) and isinstance(key_id, bytes) and isinstance(data, bytes)):
        raise StoreIntegrityError(f"resource {name}", "another type", "a sealed value")
    return Label(name, version, str(policy)), Sealed(key_id, data)
