"""
What happened, so that nobody can change it unseen.

Every instance has a chain: an entry holds the authentication code of the one before it and its own place, and
is itself authenticated under a key that is not in the store.  A head, authenticated too, says where the chain
ends.  So a changed, moved, inserted or removed entry shows, at the end as well.

Not detected: a whole store that was put back to how it once was.  Heads that were noted elsewhere show that:
`verify` takes them.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from attestation.relying_party.database import Database, Row, Statements
from attestation.relying_party.errors import AuditError, StoreIntegrityError
from attestation.relying_party.keys import Keyring
from shim.canonical import JsonValue, canonical_bytes

START = bytes(32)  # what the first entry has in place of one before it
_ENTRY, _HEAD = "audit entry", "audit head"
_PAGE = 1000
_FAR = (1 << 63) - 1
_QUERY_HEAD = "SELECT instance, sequence, key_id, last, mac FROM audit_heads WHERE instance = ?"


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: how many entries it has, and the code of the last one."""

    instance: str
    sequence: int
    last: bytes

    def __str__(self) -> str:
        return f"{self.instance}:{self.sequence}:{self.last.hex()}"


def parse_head(text: str) -> Head:
    """
    Return the head that was printed as `text`.

    Raises:
        ValueError: it is none.
    """
    instance, sequence, last = text.rsplit(":", 2)
    return Head(instance, int(sequence), bytes.fromhex(last))


class Chain:
    """The chain of one instance inside one transaction: read once, extended, and its head written."""

    def __init__(self, keys: Keyring, instance: str, statements: Statements, lock: str) -> None:
        """
        Read where the chain ends, and keep others from extending it.

        Raises:
            StoreIntegrityError: the head is not ours: nothing is appended to a changed log.
        """
        self._keys, self._instance, self._statements = keys, instance, statements
        # So that there is a row to lock, also for the first entry of all.
        statements.change(
            "INSERT INTO audit_heads VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            _head_row(keys, Head(instance, 0, START)),
        )
        self._head = _head(keys, statements.rows(_QUERY_HEAD + lock, (instance,))[0])

    def append(self, event: Mapping[str, JsonValue]) -> None:
        """Add one entry."""
        sequence, key = self._head.sequence + 1, self._keys.current
        place: dict[str, JsonValue] = {
            "instance": self._instance,
            "sequence": sequence,
            "previous": self._head.last.hex(),
        }
        entry = canonical_bytes({**event, **place})
        mac = key.mac(_ENTRY, entry)
        self._statements.change(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?)",
            (self._instance, sequence, key.id, entry.decode(), mac),
        )
        self._head = Head(self._instance, sequence, mac)

    def close(self) -> None:
        """Write where the chain ends now."""
        row = _head_row(self._keys, self._head)
        self._statements.change(
            "UPDATE audit_heads SET sequence = ?, key_id = ?, last = ?, mac = ? WHERE instance = ?",
            (*row[1:], row[0]),
        )


def verify(database: Database, keys: Keyring, noted: tuple[Head, ...] = ()) -> tuple[Head, ...]:
    """
    Return where each chain ends, after every entry of it was checked.

    Args:
        database: Where it is kept.
        keys: All keys that entries were made with.
        noted: Heads that were printed before and kept elsewhere; each has to be part of its chain still.

    Raises:
        AuditError: with everything that is wrong.
    """
    problems: list[str] = []
    ends: list[Head] = []
    with_entries = "SELECT instance FROM audit UNION SELECT instance FROM audit_heads"
    names = {str(row[0]) for row in database.rows(with_entries)}
    for instance in sorted(names | {head.instance for head in noted}):
        walk = _Walk(keys, instance, tuple(head for head in noted if head.instance == instance))
        try:
            ends.append(_check_chain(database, walk))
        except (StoreIntegrityError, _BrokenError) as error:
            problems.append(str(error))
        problems += walk.problems
    if problems:
        raise AuditError(tuple(problems))
    return tuple(ends)


def entries(
    database: Database, instance: str, after: int = 0, until: int = _FAR
) -> Iterator[tuple[int, bytes, str, bytes]]:
    """Yield place, key, text and code of entries of a chain, in order; only a page of them is held."""
    query = (
        "SELECT sequence, key_id, entry, mac FROM audit "
        "WHERE instance = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
    )
    while page := database.rows(query, (instance, after, until, _PAGE)):
        for sequence, key_id, entry, mac in page:
            if not (isinstance(sequence, int) and isinstance(key_id, bytes) and isinstance(mac, bytes)):
                raise StoreIntegrityError(f"audit {instance}", "another type", "an entry")
            after = sequence
            yield sequence, key_id, str(entry), mac


class _BrokenError(Exception):
    """A chain that holds no further; what follows in it is not looked at."""


@dataclass(slots=True)
class _Walk:
    """How far a chain was followed, and what was wrong without ending it."""

    keys: Keyring
    instance: str
    noted: tuple[Head, ...]
    last: bytes = START
    count: int = 0
    problems: list[str] = field(default_factory=list)

    def step(self, sequence: int, key_id: bytes, entry: str, mac: bytes) -> None:
        """Take one entry more."""
        where = f"audit {self.instance}, entry {sequence}"
        if sequence != self.count + 1:
            raise _BrokenError(f"{where}: found after entry {self.count}, want entry {self.count + 1}")
        try:
            genuine = hmac.compare_digest(self.keys.named(key_id).mac(_ENTRY, entry.encode()), mac)
        except StoreIntegrityError as error:
            raise _BrokenError(f"{where}: {error}") from error
        if not genuine:
            raise _BrokenError(f"{where}: found a changed entry, want the one that was written")
        said = json.loads(entry)
        place = (said["instance"], said["sequence"], said["previous"])
        if place != (self.instance, sequence, self.last.hex()):
            raise _BrokenError(
                f"{where}: found an entry of another place, want the one that was written here"
            )
        self.last, self.count = mac, sequence
        for head in self.noted:
            if head.sequence == sequence and head.last != mac:
                self.problems.append(f"{where}: found another entry than was noted, want {head}")

    def end(self, head: Head) -> None:
        """Compare where it ended with where it should."""
        for one in self.noted:
            if one.sequence > self.count or (one.sequence == 0 and one.last != START):
                found = f"audit {self.instance}: found {self.count} entries"
                self.problems.append(f"{found}, want {one.sequence}, as was noted")
        if (head.sequence, head.last) != (self.count, self.last):
            found = f"audit {self.instance}: found {self.count} entries"
            self.problems.append(f"{found}, want {head.sequence}, as its head says")


def _check_chain(database: Database, walk: _Walk) -> Head:
    """
    Follow one chain to its end, and return that.

    Instances go on writing meanwhile: what is there is read first, then the head, then what came in between.
    """
    for entry in entries(database, walk.instance):
        walk.step(*entry)
    head = _read_head(database, walk.keys, walk.instance)
    for entry in entries(database, walk.instance, walk.count, head.sequence):
        walk.step(*entry)
    walk.end(head)
    return head


def _read_head(database: Database, keys: Keyring, instance: str) -> Head:
    rows = database.rows(_QUERY_HEAD, (instance,))
    if not rows:
        raise StoreIntegrityError(f"audit {instance}", "no head", "one that says where it ends")
    return _head(keys, rows[0])


def _head(keys: Keyring, row: Row) -> Head:
    name, sequence, key_id, last, mac = row
    instance = str(name)
    if not (isinstance(key_id, bytes) and isinstance(last, bytes) and isinstance(mac, bytes)):
        raise StoreIntegrityError(f"audit {instance}: head", "another type", "bytes")
    head = Head(instance, int(sequence or 0), last)
    if not hmac.compare_digest(keys.named(key_id).mac(_HEAD, str(head).encode()), mac):
        raise StoreIntegrityError(f"audit {instance}: head", "a changed one", "the one that was written")
    return head


def _head_row(keys: Keyring, head: Head) -> tuple[str, int, bytes, bytes, bytes]:
    key = keys.current
    return head.instance, head.sequence, key.id, head.last, key.mac(_HEAD, str(head).encode())
