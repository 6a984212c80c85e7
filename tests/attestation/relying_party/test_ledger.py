"""What may happen once happens once: in a file and in PostgreSQL, in one instance and in several."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from attestation.relying_party import audit, resources
from attestation.relying_party.database import Database
from attestation.relying_party.errors import (
    RequestError,
    SessionError,
    StoreIntegrityError,
    UnavailableError,
    UnknownResourceError,
)
from attestation.relying_party.keys import Keyring
from attestation.relying_party.ledger import KEPT, Ledger, Session, Writing
from attestation.relying_party.sqlite import Sqlite
from tests.fakes.relying_party import KEYS

Connect = Callable[[], Database]
SESSION = Session(b"n" * 32, b"e" * 32, ("aa",), "key", 1000)


def ledger(database: Database, name: str = "one") -> Ledger:
    return Ledger(database, KEYS, name)


def spend(to: Ledger, nonce: bytes) -> bool:
    def work(writing: Writing) -> bool:
        is_first = writing.spend(nonce, 1000)
        writing.record({"event": "spent" if is_first else "replayed", "nonce": nonce.hex()})
        return is_first

    return to.commit(nonce, work)


def put(to: Ledger, name: str, value: bytes, policy: str = "p") -> int:
    return resources.put(to, name, policy, value, random=os.urandom, at="now")


def events(database: Database, instance: str = "one") -> list[str]:
    return [entry.split('"event":"')[1].split('"')[0] for _, _, entry, _ in audit.entries(database, instance)]


def test_a_nonce_is_spent_once(connect: Connect) -> None:
    own = ledger(connect())
    assert [spend(own, b"a"), spend(own, b"b"), spend(own, b"a")] == [True, True, False]
    assert events(own.database) == ["spent", "spent", "replayed"]


def test_of_many_that_spend_one_nonce_at_once_one_does(connect: Connect) -> None:
    """Threads of two instances; what they share is the database alone."""
    both = [ledger(connect(), "one"), ledger(connect(), "two")]
    start = threading.Barrier(16)

    def race(number: int) -> list[bool]:
        start.wait()
        return [spend(both[number % 2], bytes([nonce])) for nonce in range(12)]

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(race, range(16)))
    assert [sum(won) for won in zip(*outcomes, strict=True)] == [1] * 12
    heads = audit.verify(both[0].database, KEYS)
    assert [head.instance for head in heads] == ["one", "two"]
    assert sum(head.sequence for head in heads) == 16 * 12


def test_two_processes_of_one_name_extend_one_chain(connect: Connect) -> None:
    first, second = ledger(connect()), ledger(connect())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: spend((first, second)[number % 2], bytes([number])), range(40)))
    (head,) = audit.verify(connect(), KEYS)
    assert head.sequence == 40


def test_an_error_undoes_its_own_part_and_nobody_elses(connect: Connect) -> None:
    own = ledger(connect())
    start = threading.Barrier(8)

    def one(number: int) -> object:
        def work(writing: Writing) -> bool:
            writing.spend(bytes([number]), 1000)
            writing.record({"event": "spent"})
            if number == 3:
                raise RuntimeError("in the middle")
            return True

        start.wait()
        try:
            return own.commit(bytes([number]), work)
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one, range(8)))
    assert outcomes == [True, True, True, "in the middle", True, True, True, True]
    assert spend(own, b"\3")
    assert not spend(own, b"\4")
    assert audit.verify(own.database, KEYS)[0].sequence == 9


def test_what_a_database_refuses_was_not_done(connect: Connect) -> None:
    own = ledger(connect())

    def work(writing: Writing) -> None:
        writing.spend(b"n", 1000)
        writing.statements.change("INSERT INTO nothing_of_this_name VALUES (1)")

    with pytest.raises(UnavailableError):
        own.commit(b"n", work)
    assert spend(own, b"n")


def test_a_session_is_found_by_its_secret_until_its_time_is_over(connect: Connect) -> None:
    own = ledger(connect())
    own.commit(b"n", lambda writing: writing.open_session("secret", SESSION))
    assert own.session("secret", now=1000) == SESSION
    for name, now in (("secret", 1001), ("Secret", 1000), ("", 1000)):
        with pytest.raises(SessionError):
            own.session(name, now=now)
    rows = own.database.rows("SELECT id, body FROM sessions")
    assert not any(
        b"secret" in part if isinstance(part, bytes) else "secret" in str(part) for part in rows[0]
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET body = REPLACE(body, 'key', 'yek')",
        "UPDATE sessions SET body = REPLACE(body, '\"aa\"', '\"bb\"')",
        "UPDATE sessions SET body = REPLACE(body, '1000', '9999'), expires = 9999",
    ],
)
def test_who_writes_into_the_database_makes_no_session(connect: Connect, change: str) -> None:
    own = ledger(connect())
    own.commit(b"n", lambda writing: writing.open_session("secret", SESSION))
    with own.database.transaction() as statements:
        assert statements.change(change) == 1
    with pytest.raises(SessionError):
        own.session("secret", now=1000)


def test_a_session_of_another_secret_is_not_moved(connect: Connect) -> None:
    own = ledger(connect())
    own.commit(b"n", lambda writing: writing.open_session("secret", SESSION))
    own.commit(b"m", lambda writing: writing.open_session("mine", replace(SESSION, key="evil")))
    with own.database.transaction() as statements:
        body, mac = statements.rows("SELECT body, mac FROM sessions WHERE body LIKE '%evil%'")[0]
        statements.change("UPDATE sessions SET body = ?, mac = ?", (body, mac))
    with pytest.raises(SessionError):
        own.session("secret", now=1000)


def test_a_resource_is_released_once_for_a_nonce(connect: Connect) -> None:
    own = ledger(connect())

    def release(session: Session, name: str) -> bool:
        return own.commit(session.nonce, lambda writing: writing.release(session, name))

    other = replace(SESSION, nonce=b"m" * 32)
    assert [release(SESSION, "a"), release(SESSION, "a"), release(SESSION, "b"), release(other, "a")] == [
        True, False, True, True,
    ]  # fmt: skip


def test_only_what_is_long_over_is_forgotten(connect: Connect) -> None:
    own = ledger(connect())
    assert spend(own, b"n")
    own.prune(now=1000 + KEPT)
    assert not spend(own, b"n")
    own.prune(now=1001 + KEPT)
    assert own.database.rows("SELECT nonce FROM nonces") == []
    assert own.commit(b"m", lambda writing: writing.spend(b"m", 1001))


def test_what_may_have_been_forgotten_does_not_count_again(connect: Connect) -> None:
    """A clock that was ahead, here or at another instance, and is right again."""
    own, other = ledger(connect()), ledger(connect(), "two")
    assert spend(own, b"n")
    other.prune(now=1001 + KEPT)
    assert not spend(own, b"n")
    assert not spend(own, b"of the same time")
    other.prune(now=1000)  # nobody can take it back
    assert not spend(own, b"n")
    assert events(own.database) == ["spent", "replayed", "replayed", "replayed"]


def test_a_commit_is_on_disk_when_it_returns(connect: Connect) -> None:
    """What no test on a running machine shows: that is what was asked of the databases."""
    database = connect()
    with database.transaction() as statements:
        if database.lock:
            assert statements.rows("SHOW synchronous_commit") == [("on",)]
        else:
            assert statements.rows("PRAGMA synchronous") == [(2,)]
            assert statements.rows("PRAGMA journal_mode") == [("wal",)]


# --- resources


def test_the_newest_version_counts(connect: Connect) -> None:
    own = ledger(connect())
    assert [put(own, "a", b"1"), put(own, "a", b"2", "q"), put(own, "b/c/d", b"3")] == [1, 2, 1]
    found = resources.find(own.database, KEYS, "a")
    assert (found.version, found.policy, found.value) == (2, "q", b"2")
    assert "value" not in repr(found)
    assert [(one.name, one.version) for one in resources.labels(own.database)] == [("a", 2), ("b/c/d", 1)]
    assert resources.remove(own, "a", at="now") == 2
    assert resources.remove(own, "a", at="now") == 0
    with pytest.raises(UnknownResourceError):
        resources.find(own.database, KEYS, "a")
    assert events(own.database) == ["put", "put", "put", "removed"]


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", "a/b/c/d", "..", ".a", "a b", "a\n", "x" * 65, "ä"]
)
def test_names_that_no_resource_has(database: Database, name: str) -> None:
    with pytest.raises(RequestError):
        put(ledger(database), name, b"1")


@pytest.mark.parametrize("value", [b"", bytes((1 << 16) + 1)])
def test_values_that_are_none_or_too_large(database: Database, value: bytes) -> None:
    with pytest.raises(RequestError):
        put(ledger(database), "a", value)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE resources SET policy = 'lax' WHERE name = 'a'",
        "UPDATE resources SET version = 7 WHERE name = 'a'",
        "UPDATE resources SET name = 'c' WHERE name = 'a'",
        "UPDATE resources SET sealed = (SELECT sealed FROM resources WHERE name = 'b') WHERE name = 'a'",
        "UPDATE resources SET key_id = sealed WHERE name = 'a'",
    ],
)
def test_who_writes_into_the_database_moves_no_value(connect: Connect, change: str) -> None:
    own = ledger(connect())
    put(own, "a", b"strictly kept")
    put(own, "b", b"another")
    with own.database.transaction() as statements:
        assert statements.change(change) == 1
    with pytest.raises(StoreIntegrityError):
        resources.find(own.database, KEYS, "c" if "name = 'c'" in change else "a")


def test_the_file_holds_no_secret_and_is_its_owners_alone(tmp_path: Path) -> None:
    made = Sqlite(tmp_path / "database")
    put(ledger(made), "a", b"nobody reads this in a file")
    made.close()
    for file in tmp_path.iterdir():
        assert b"nobody reads this" not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 50, b""])
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "database"
    path.write_bytes(content)
    if content:
        with pytest.raises(UnavailableError, match="not a database"):
            Sqlite(path)
    else:
        Sqlite(path).close()


def test_places_where_there_can_be_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "database"):
        with pytest.raises(UnavailableError):
            Sqlite(path)


def test_a_postgresql_that_is_not_there() -> None:
    pytest.importorskip("psycopg")
    from attestation.relying_party.postgresql import Postgresql  # noqa: PLC0415

    with pytest.raises(UnavailableError) as caught:
        Postgresql("postgresql:///x?host=/nonexistent&password=hidden")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("connect", ["postgresql"], indirect=True)
def test_a_connection_that_broke_is_made_anew(postgresql: str, connect: Connect) -> None:
    import psycopg  # noqa: PLC0415

    own = ledger(connect())
    assert spend(own, b"a")
    with psycopg.connect(postgresql, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    assert spend(own, b"b")  # it shows before it is used
    assert not spend(own, b"a")

    def broken(writing: Writing) -> None:
        writing.spend(b"c", 1000)
        with psycopg.connect(postgresql, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        writing.spend(b"d", 1000)

    with pytest.raises(UnavailableError):
        own.commit(b"c", broken)
    assert spend(own, b"c")


def test_keys_can_be_changed_while_the_log_goes_on(connect: Connect) -> None:
    new, old = KEYS.keys
    database = connect()
    before = Ledger(database, Keyring((old,)), "one")
    spend(before, b"a")
    put(before, "a", b"value")
    before.commit(b"n", lambda writing: writing.open_session("secret", SESSION))
    after = Ledger(database, Keyring((new, old)), "one")
    spend(after, b"b")
    assert resources.find(database, after.keys, "a").value == b"value"
    assert after.session("secret", now=1) == SESSION
    assert audit.verify(database, KEYS)[0].sequence == 3
    with pytest.raises(StoreIntegrityError, match=new.id.hex()):
        spend(before, b"c")
