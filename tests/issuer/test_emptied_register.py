"""A register that is emptied is as a new one is."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from issuer.register.database import Database
from issuer.register.schema import metadata
from tests.issuer.emptied_register import EmptiedRegister
from tests.issuer.postgres_server import PostgresServer
from tests.issuer.register.people import enrol


@pytest.fixture
def register(postgres_server: PostgresServer, _postgres_template: str) -> Iterator[EmptiedRegister]:
    register = EmptiedRegister(postgres_server, _postgres_template)
    yield register
    register.close()


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = [*metadata.tables, "alembic_version"]
        found = {table: _rows(connection, f"SELECT * FROM {table}") for table in tables}  # noqa: S608
        sequences = "SELECT sequencename::text, last_value FROM pg_sequences ORDER BY 1"
        found |= {"sequences": _rows(connection, sequences)}
    engine.dispose()
    return found


def _rows(connection: Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


def test_rows_and_numbers_are_as_at_first_in_the_same_database(register: EmptiedRegister) -> None:
    url = register.lend()
    before = everything(url)
    database = Database.open(url)
    assert enrol(database) == [1]
    database.close()
    assert everything(url) != before
    register.take_back()
    assert register.lend() == url
    assert everything(url) == before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE status_changes DISABLE TRIGGER ALL",
        "DROP TRIGGER calls_no_truncate ON calls",
        "DROP INDEX credentials_to_expire",
        "ALTER TABLE outbox ADD COLUMN more INTEGER",
        "CREATE TABLE other (id INTEGER)",
        "DROP TABLE outbox",
    ],
)
def test_what_was_changed_beyond_its_rows_is_not_lent_again(register: EmptiedRegister, change: str) -> None:
    url = register.lend()
    before = everything(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    register.take_back()
    other = register.lend()
    assert other != url
    assert everything(other) == before


def test_whoever_is_still_connected_is_sent_away(register: EmptiedRegister) -> None:
    url = register.lend()
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLE outbox"))
        register.take_back()
        connection.invalidate()
    engine.dispose()
    assert register.lend() == url
