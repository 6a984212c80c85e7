"""Databases for the tests of the relying party: a file, and a real PostgreSQL where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attestation.relying_party.database import Database
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.sqlite import Sqlite
from tests.fakes import relying_party as fakes


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    if fakes.postgresql_programs() is None:
        pytest.skip("no PostgreSQL here: apt install postgresql")
    # Not below the folder of the tests, into which its own user may not look.
    with tempfile.TemporaryDirectory(prefix="shim-pg-") as folder, fakes.postgresql(Path(folder)) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """What connects to one empty database, as often as it is asked to."""
    made: list[Database] = []
    address = request.getfixturevalue("postgresql") if request.param == "postgresql" else ""
    if address:
        import psycopg  # noqa: PLC0415

        from attestation.relying_party.postgresql import Postgresql  # noqa: PLC0415  # only where it is

        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def connected() -> Database:
        made.append(Postgresql(address) if address else Sqlite(tmp_path / "database"))
        return made[-1]

    yield connected
    for one in made:
        one.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Sqlite(tmp_path / "database")
    yield made
    made.close()


@pytest.fixture
def party(database: Database) -> RelyingParty:
    return fakes.party(database)
