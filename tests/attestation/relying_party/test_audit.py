"""The audit log: every way to change what was written shows, also to remove its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from attestation.relying_party import audit
from attestation.relying_party.audit import Head, parse_head
from attestation.relying_party.database import Database
from attestation.relying_party.errors import AuditError, StoreIntegrityError, UnavailableError
from attestation.relying_party.keys import Keyring, master_key
from attestation.relying_party.ledger import Ledger
from tests.fakes.relying_party import KEYS

Connect = Callable[[], Database]


def written(database: Database, count: int = 5, instance: str = "one") -> Ledger:
    own = Ledger(database, KEYS, instance)
    for number in range(count):
        own.commit(b"", lambda writing, number=number: writing.record({"event": "x", "number": number}))
    return own


def tamper(database: Database, *changes: str) -> None:
    """Change what is append-only, as somebody can who has the database but no key."""
    with database.transaction() as statements:
        if database.lock:
            statements.change("ALTER TABLE audit DISABLE TRIGGER USER")
        else:
            statements.change("DROP TRIGGER audit_update")
            statements.change("DROP TRIGGER audit_delete")
        for change in changes:
            assert statements.change(change) > 0, change


def problems(database: Database, *noted: Head, keys: Keyring = KEYS) -> str:
    with pytest.raises(AuditError) as caught:
        audit.verify(database, keys, noted)
    return str(caught.value)


def test_what_was_written_is_what_is_there(connect: Connect) -> None:
    database = connect()
    written(database)
    written(database, 3, "two")
    first, second = audit.verify(database, KEYS)
    assert (first.instance, first.sequence, second.instance, second.sequence) == ("one", 5, "two", 3)
    said = [json.loads(entry) for _, _, entry, _ in audit.entries(database, "one")]
    assert [one["number"] for one in said] == [0, 1, 2, 3, 4]
    assert audit.verify(database, KEYS, (parse_head(str(first)),)) == (first, second)


CHANGES = {
    "a changed entry": (
        "UPDATE audit SET entry = REPLACE(entry, ':2', ':7') WHERE sequence = 3",
        "changed entry",
    ),
    "a changed code": ("UPDATE audit SET mac = key_id WHERE sequence = 3", "entry 3: found a changed entry"),
    "one removed in the middle": (
        "DELETE FROM audit WHERE sequence = 3",
        "found after entry 2, want entry 3",
    ),
    "the first removed": ("DELETE FROM audit WHERE sequence = 1", "found after entry 0, want entry 1"),
    "the last removed": ("DELETE FROM audit WHERE sequence = 5", "found 4 entries, want 5, as its head says"),
    "all removed": ("DELETE FROM audit", "found 0 entries, want 5, as its head says"),
    "the head removed": ("DELETE FROM audit_heads", "found no head"),
    "the head set back": ("UPDATE audit_heads SET sequence = 4", "head: found a changed one"),
    "another instance's name": ("UPDATE audit SET instance = 'two'", "entry of another place"),
    "another key's name": ("UPDATE audit SET key_id = mac WHERE sequence = 2", "something made with key"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(connect: Connect, change: str) -> None:
    database = connect()
    written(database)
    statement, said = CHANGES[change]
    tamper(database, statement)
    assert said in problems(database)


def test_entries_that_changed_places_show(connect: Connect) -> None:
    database = connect()
    written(database)
    tamper(
        database,
        "UPDATE audit SET sequence = 99 WHERE sequence = 2",
        "UPDATE audit SET sequence = 2 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 99",
    )
    assert "entry 2: found an entry of another place" in problems(database)


def test_an_entry_of_another_chain_shows(connect: Connect) -> None:
    database = connect()
    written(database)
    written(database, 7, "two")
    tamper(
        database,
        "DELETE FROM audit WHERE instance = 'one' AND sequence = 5",
        "UPDATE audit SET instance = 'one' WHERE instance = 'two' AND sequence = 5",
    )
    said = problems(database)
    assert "audit one, entry 5: found an entry of another place" in said
    assert "audit two, entry 6: found after entry 4" in said


def test_the_end_removed_with_a_head_of_then_shows_to_who_noted_a_later_one(connect: Connect) -> None:
    """The whole store set back to an earlier state is consistent in itself: only what was noted tells."""
    database = connect()
    own = written(database, 3)
    row = database.rows("SELECT sequence, last, mac FROM audit_heads")[0]
    written(own.database, 2)
    (noted,) = audit.verify(database, KEYS)
    tamper(database, "DELETE FROM audit WHERE sequence > 3")
    with database.transaction() as statements:
        statements.change("UPDATE audit_heads SET sequence = ?, last = ?, mac = ?", row)
    assert audit.verify(database, KEYS)[0].sequence == 3
    assert "found 3 entries, want 5, as was noted" in problems(database, noted)


def test_another_history_of_the_same_length_shows_to_who_noted(connect: Connect) -> None:
    database = connect()
    written(database, 3)
    (noted,) = audit.verify(database, KEYS)
    tamper(database, "DELETE FROM audit", "DELETE FROM audit_heads")
    own = Ledger(database, KEYS, "one")
    for _ in range(4):
        own.commit(b"", lambda writing: writing.record({"event": "y"}))
    assert "entry 3: found another entry than was noted" in problems(database, noted)
    assert "audit three: found no head" in problems(database, Head("three", 1, bytes(32)))


def test_it_is_verified_while_instances_go_on_writing(connect: Connect) -> None:
    database = connect()
    own = written(database)

    def write() -> None:
        for _ in range(60):
            own.commit(b"", lambda writing: writing.record({"event": "x"}))

    thread = threading.Thread(target=write)
    thread.start()
    lengths = []
    while thread.is_alive():
        lengths.append(audit.verify(database, KEYS)[0].sequence)
    assert lengths == sorted(lengths)
    assert audit.verify(database, KEYS)[0].sequence == 65


def test_what_was_noted_twice_has_to_be_the_same(connect: Connect) -> None:
    database = connect()
    written(database)
    (end,) = audit.verify(database, KEYS)
    assert "another entry than was noted" in problems(database, end, Head("one", 5, bytes(32)))
    assert "another entry than was noted" in problems(database, Head("one", 5, bytes(32)), end)


def test_without_the_key_nobody_writes_an_entry(connect: Connect) -> None:
    database = connect()
    written(database)
    stranger = Keyring((master_key(b"x" * 32),))
    assert "something made with key" in problems(database, keys=stranger)
    with pytest.raises(StoreIntegrityError):
        Ledger(database, stranger, "one").commit(b"", lambda writing: writing.record({"event": "forged"}))


def test_nothing_is_appended_to_a_log_with_a_changed_head(connect: Connect) -> None:
    database = connect()
    own = written(database)
    tamper(database, "UPDATE audit_heads SET sequence = 2")
    with pytest.raises(StoreIntegrityError):
        own.commit(b"", lambda writing: writing.record({"event": "x"}))


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET entry = ''"])
def test_the_database_itself_refuses_to_change_it(connect: Connect, statement: str) -> None:
    database = connect()
    written(database)
    with pytest.raises(UnavailableError, match="append-only"), database.transaction() as statements:
        statements.change(statement)
    assert audit.verify(database, KEYS)[0].sequence == 5


@pytest.mark.parametrize("text", ["", "one", "one:5", "one:x:00", "one:5:zz"])
def test_what_is_no_head(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # from several places
        parse_head(text)
