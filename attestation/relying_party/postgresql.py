"""One database for several instances: PostgreSQL, with a commit that is on disk before a reply leaves."""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Iterator, Sequence

import psycopg

from attestation.relying_party.database import TABLES, Row, Statements, Value
from attestation.relying_party.errors import UnavailableError

_CONNECT_TIMEOUT = 5  # seconds
# A server that hangs must not hold up replies for ever; milliseconds.
_SETTINGS = "-c synchronous_commit=on -c statement_timeout=10000 -c lock_timeout=5000 -c timezone=UTC"
_MAKING = 0x5368696D  # the name of the lock under which tables are made: instances start together
_APPEND_ONLY = (
    """
    CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$
    """,
    """
    CREATE OR REPLACE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
)


class Postgresql:
    """The database that a connection string names; a connection that broke is made anew."""

    lock, share = " FOR UPDATE", " FOR SHARE"

    def __init__(self, address: str) -> None:
        """
        Connect, and make what is missing.

        Raises:
            UnavailableError: it cannot be reached, or the tables cannot be made.
        """
        self._address = address
        self._writer, self._reader = _Connection(address), _Connection(address)
        with self.transaction() as statements:
            statements.rows("SELECT pg_advisory_xact_lock(?)", (_MAKING,))
            for statement in TABLES:
                statements.change(statement.format(bytes="BYTEA"))
            for statement in _APPEND_ONLY:
                statements.change(statement)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Statements]:
        """See `Database.transaction`."""
        with self._writer.use() as connection, connection.transaction():
            yield _Statements(connection)

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """See `Database.rows`."""
        with self._reader.use() as connection:
            return _Statements(connection).rows(statement, values)

    def close(self) -> None:
        """Close its connections."""
        self._writer.close()
        self._reader.close()


class _Connection:
    """One connection, for one thread at a time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._made: psycopg.Connection[Row] | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[psycopg.Connection[Row]]:
        with self._lock:
            try:
                if self._made is not None and _is_over(self._made):
                    self._made.close()
                if self._made is None or self._made.closed:
                    self._made = psycopg.connect(
                        self._address, autocommit=True, connect_timeout=_CONNECT_TIMEOUT, options=_SETTINGS
                    )
                yield self._made
            except psycopg.Error as error:
                # Who asks next gets a new one; the message may show the address, but never a password.
                if self._made is not None and self._made.broken:
                    self._made.close()
                    self._made = None
                found = str(error).partition("\n")[0] or type(error).__name__
                raise UnavailableError("store", found, "a PostgreSQL that answers") from error

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made.close()


def _is_over(connection: psycopg.Connection[Row]) -> bool:
    """
    Return whether a connection that nobody uses has something to say: that the server ended it.

    Else a server that was restarted would cost a request on each connection.
    """
    if connection.closed:
        return True
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class _Statements:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        found = self._connection.execute(_spelled(statement), values)
        return found.fetchall() if found.description else []

    def change(self, statement: str, values: Sequence[Value] = ()) -> int:
        return self._connection.execute(_spelled(statement), values).rowcount


def _spelled(statement: str) -> bytes:
    """Return a statement with the library's own sign for a value."""
    return statement.replace("%", "%%").replace("?", "%s").encode()
