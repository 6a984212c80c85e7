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
from dataclasses import dataclass

from attestation.relying_party.database import Database, Row, Statements
from attestation.relying_party.errors import AuditError, StoreIntegrityError
from attestation.relying_party.keys import Keyring
from shim.canonical import JsonValue, canonical_bytes

START = bytes(32)  # what the first entry has in place of one before it
_ENTRY, _HEAD = "audit entry", "audit head"
_PAGE = 1000


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
        query = "SELECT instance, sequence, key_id, last, mac FROM audit_heads WHERE instance = ?"
        self._head = _head(keys, statements.rows(query + lock, (instance,))[0])

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
    heads = _heads(database, keys, problems)
    wanted = {
        head.instance: [one for one in noted if one.instance == head.instance] for head in (*heads, *noted)
    }
    with_entries = {str(row[0]) for row in database.rows("SELECT DISTINCT instance FROM audit")}
    for instance in sorted(with_entries | set(wanted)):
        end = next((head for head in heads if head.instance == instance), None)
        problems += _check_chain(database, keys, instance, end, wanted.get(instance, []))
    if problems:
        raise AuditError(tuple(problems))
    return tuple(heads)


def entries(database: Database, instance: str) -> Iterator[tuple[int, bytes, str, bytes]]:
    """Yield place, key, text and code of each entry of a chain, in order; only a page of them is held."""
    after = 0
    query = (
        "SELECT sequence, key_id, entry, mac FROM audit "
        "WHERE instance = ? AND sequence > ? ORDER BY sequence LIMIT ?"
    )
    while page := database.rows(query, (instance, after, _PAGE)):
        for sequence, key_id, entry, mac in page:
            if not (isinstance(sequence, int) and isinstance(key_id, bytes) and isinstance(mac, bytes)):
                raise StoreIntegrityError(f"audit {instance}", "another type", "an entry")
            after = sequence
            yield sequence, key_id, str(entry), mac


def _check_chain(
    database: Database, keys: Keyring, instance: str, end: Head | None, noted: list[Head]
) -> Iterator[str]:
    """Yield what is wrong with one chain; what follows a wrong entry is not looked at."""
    last, count = START, 0
    missing = {head.sequence: head for head in noted}
    for sequence, key_id, entry, mac in entries(database, instance):
        where = f"audit {instance}, entry {sequence}"
        if sequence != count + 1:
            yield f"{where}: found after entry {count}, want entry {count + 1}"
            return
        try:
            genuine = hmac.compare_digest(keys.named(key_id).mac(_ENTRY, entry.encode()), mac)
        except StoreIntegrityError as error:
            yield f"{where}: {error}"
            return
        if not genuine:
            yield f"{where}: found a changed entry, want the one that was written"
            return
        said = json.loads(entry)
        if (said["instance"], said["sequence"], said["previous"]) != (instance, sequence, last.hex()):
            yield f"{where}: found an entry of another place, want the one that was written here"
            return
        last, count = mac, sequence
        head = missing.pop(sequence, None)
        if head is not None and head.last != mac:
            yield f"{where}: found another entry than was noted, want {head}"
    for head in missing.values():
        if head.sequence > 0 or head.last != START:
            yield f"audit {instance}: found {count} entries, want {head.sequence}, as was noted"
    if end is None:
        yield f"audit {instance}: found no head, want one that says where it ends"
    elif (end.sequence, end.last) != (count, last):
        yield f"audit {instance}: found {count} entries, want {end.sequence}, as its head says"


def _heads(database: Database, keys: Keyring, problems: list[str]) -> list[Head]:
    found = []
    for row in database.rows(
        "SELECT instance, sequence, key_id, last, mac FROM audit_heads ORDER BY instance"
    ):
        try:
            found.append(_head(keys, row))
        except StoreIntegrityError as error:
            problems.append(str(error))
    return found


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
