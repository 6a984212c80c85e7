"""
What does the relying party need of a database, whichever it is?

SQLite for one machine, PostgreSQL for several.  A dozen statements in the part of SQL that both have: a
library that abstracts over databases would be larger than what it saves.  Both modules have the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS resources (
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        policy TEXT NOT NULL,
        key_id {bytes} NOT NULL,
        sealed {bytes} NOT NULL,
        PRIMARY KEY (name, version)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS nonces (
        nonce {bytes} PRIMARY KEY,
        expires BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS sessions (
        id {bytes} PRIMARY KEY,
        expires BIGINT NOT NULL,
        key_id {bytes} NOT NULL,
        body TEXT NOT NULL,
        mac {bytes} NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS releases (
        nonce {bytes} NOT NULL,
        resource TEXT NOT NULL,
        expires BIGINT NOT NULL,
        PRIMARY KEY (nonce, resource)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS audit (
        instance TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        key_id {bytes} NOT NULL,
        entry TEXT NOT NULL,
        mac {bytes} NOT NULL,
        PRIMARY KEY (instance, sequence)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS audit_heads (
        instance TEXT PRIMARY KEY,
        sequence BIGINT NOT NULL,
        key_id {bytes} NOT NULL,
        last {bytes} NOT NULL,
        mac {bytes} NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS forgotten (
        which BIGINT PRIMARY KEY,
        before BIGINT NOT NULL
    )
    """,
    "INSERT INTO forgotten VALUES (0, 0) ON CONFLICT DO NOTHING",
    "CREATE INDEX IF NOT EXISTS nonces_expires ON nonces (expires)",
    "CREATE INDEX IF NOT EXISTS sessions_expires ON sessions (expires)",
    "CREATE INDEX IF NOT EXISTS releases_expires ON releases (expires)",
)


class Statements(Protocol):
    """What can be done inside a transaction; `?` stands for a value in every statement."""

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """Return what a query finds."""

    def change(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Return how many rows a statement changed."""


class Database(Protocol):
    """
    A database with `TABLES`.

    Attributes:
        lock: What a query ends in whose row nobody else may change before the transaction is over.
        share: The same, where others may ask for it at the same time.
    """

    lock: str
    share: str

    def transaction(self) -> AbstractContextManager[Statements]:
        """
        Return one that is committed and on disk when it is left, and undone when an error leaves it.

        One at a time; other threads wait.

        Raises:
            UnavailableError: the database cannot be asked, or refused.  What had been changed is undone, or,
                if the connection broke in the middle of the commit, is all there.
        """

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """
        Return what a query finds among what was committed; does not wait for a transaction.

        Raises:
            UnavailableError: the database cannot be asked.
        """

    def close(self) -> None:
        """Close its connections."""
