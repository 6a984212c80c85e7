"""One file, for one machine: SQLite with a write-ahead log that is on disk before a reply leaves."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from attestation.relying_party.database import TABLES, Row, Statements, Value
from attestation.relying_party.errors import UnavailableError

_WAIT = 10.0  # seconds for another process that writes
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # the log is flushed at every commit, not only at checkpoints
    "PRAGMA trusted_schema = OFF",
)
# What was written stays; a hand that slips in a shell is told so.
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS audit_{verb} BEFORE {verb.upper()} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    for verb in ("update", "delete")
)


class Sqlite:
    """The database in a file, which is made if it is not there, for its owner alone."""

    lock = share = ""  # there is one writer at a time

    def __init__(self, path: Path) -> None:
        """
        Open or make it.

        Raises:
            UnavailableError: it cannot be, or is something else.
        """
        self._path = path
        self._writing, self._reading = threading.Lock(), threading.Lock()
        with self._told():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer, self._reader = self._connection(), self._connection()
        with self.transaction() as statements:
            for table in TABLES:
                statements.change(table.format(bytes="BLOB"))
            for trigger in _APPEND_ONLY:
                statements.change(trigger)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Statements]:
        """See `Database.transaction`."""
        with self._writing, self._told():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield _Statements(self._writer)
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """See `Database.rows`."""
        with self._reading, self._told():
            return self._reader.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close its connections."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def _connection(self) -> sqlite3.Connection:
        # Used by several threads, one at a time.
        made = sqlite3.connect(self._path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        for setting in _SETTINGS:
            made.execute(setting)
        return made

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(
                f"store {self._path}", str(error), "a database that can be used"
            ) from error


class _Statements:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, values: Sequence[Value] = ()) -> int:
        return self._connection.execute(statement, values).rowcount
