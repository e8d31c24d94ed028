"""The database of a register, on SQLite and on PostgreSQL."""

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from issuer.errors import (
    AlreadyInitialised,
    AlreadyServed,
    NotInitialised,
    RegisterRefused,
    RegisterUnavailable,
    SchemaMismatch,
    SettingsError,
    SetupError,
)
from issuer.register import address, postgresql, sqlite
from issuer.register.database import Database
from issuer.register.migrations import HEAD
from issuer.register.schema import holders, outbox
from tests.eventually import eventually
from tests.issuer.postgres_server import PostgresServer

ROW = {"credential_index": 7}
CANARY = "CANARY110101"
HOLDER = {
    "name": CANARY,
    "document_type": "ID",
    "document_hash": CANARY.encode(),
    "document_last_four": "0101",
    "region": "",
    "enrolled_at": 1,
}


def add_row(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(outbox), ROW)


def add_rows_around(database: Database, event: Callable[[], None]) -> None:
    """Have something happen in the middle of a transaction."""
    with database.write() as connection:
        connection.execute(insert(outbox), ROW)
        event()
        connection.execute(insert(outbox), ROW)


def count_rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(outbox)) or 0


# Transactions


def test_what_was_written_is_read(database: Database) -> None:
    add_row(database)
    assert count_rows(database) == 1


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        add_rows_around(database, fail)
    assert count_rows(database) == 0


def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    with database.read() as connection:
        counted = select(func.count()).select_from(outbox)
        before = connection.scalar(counted)
        add_row(database)
        assert connection.scalar(counted) == before
    assert count_rows(database) == 1


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(RegisterUnavailable), database.read() as connection:
        connection.execute(insert(outbox), ROW)
    assert count_rows(database) == 0


def test_writers_of_many_threads_take_turns(database: Database) -> None:
    def work() -> None:
        for _ in range(25):
            with database.write() as connection:
                counted = connection.scalar(select(func.count()).select_from(outbox)) or 0
                connection.execute(insert(outbox), {"credential_index": counted + 1})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        written = connection.scalars(select(outbox.c.credential_index).order_by(outbox.c.seq)).all()
    assert written == list(range(1, 201))


def test_more_readers_than_connections_wait_for_their_turn(database: Database) -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(count_rows(database))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 100


def test_a_number_of_the_outbox_is_never_given_twice(database: Database) -> None:
    add_row(database)
    with database.write() as connection:
        connection.execute(outbox.delete())
    add_row(database)
    with database.read() as connection:
        assert connection.scalars(select(outbox.c.seq)).all() == [2]


def test_a_reader_in_the_middle_of_many_rows_does_not_hold_up_writers(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(outbox), [ROW] * 5_000)
    with (
        database.read() as connection,
        connection.execution_options(yield_per=10).execute(select(outbox)) as stream,
    ):
        stream.fetchone()
        add_row(database)
    assert count_rows(database) == 5_001


# Errors


def test_a_broken_rule_is_refused_and_named_without_its_values(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(holders), HOLDER)
    with pytest.raises(RegisterRefused, match="document_hash") as caught, database.write() as connection:
        connection.execute(insert(holders), HOLDER)
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_error_of_the_database_carries_no_parameters(database: Database) -> None:
    with pytest.raises(RegisterUnavailable) as caught, database.read() as connection:
        connection.execute(text("SELECT * FROM nowhere WHERE name = :name"), {"name": CANARY})
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_value_that_does_not_fit_is_not_told(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    with pytest.raises(RegisterUnavailable) as caught, database.write() as connection:
        connection.execute(text("SELECT CAST(:name AS INTEGER)"), {"name": CANARY})
    assert "22P02" in str(caught.value)
    assert CANARY not in str(caught.value)
    database.close()


# Where it lies


def test_a_register_is_opened_again(database: Database, database_url: str) -> None:
    add_row(database)
    again = Database.open(database_url)
    assert count_rows(again) == 1
    again.close()


def test_a_register_is_never_overwritten(database: Database, database_url: str) -> None:
    add_row(database)
    with pytest.raises(AlreadyInitialised, match="nothing was touched"):
        Database.create(database_url)
    assert count_rows(database) == 1


def test_it_says_which_database_it_is(database: Database, database_url: str) -> None:
    assert database_url.startswith(database.dialect)
    assert (database.path is None) == (database.dialect == address.POSTGRESQL)


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_file_is_named_by_its_path_or_as_a_url(tmp_path: Path, prefix: str) -> None:
    Database.create(f"{prefix}{tmp_path / 'a.db'}").close()
    Database.open(tmp_path / "a.db").close()


def test_a_missing_file_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="gatelight-issuer init"):
        Database.open(tmp_path / "register.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_of_a_server_is_no_register(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("empty")
    with pytest.raises(NotInitialised, match="gatelight-issuer init"):
        Database.open(url)
    Database.create(url).close()
    Database.open(url).close()
    postgres_server.drop_database("empty")


def test_a_database_of_another_program_is_left_alone(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("foreign")
    other = Database(url)
    with other.write() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    other.close()
    with pytest.raises(SchemaMismatch, match="not a register"):
        Database.open(url)
    with pytest.raises(AlreadyInitialised, match="not empty"):
        Database.create(url)
    postgres_server.drop_database("foreign")


def test_tables_that_nothing_was_entered_into_are_taken_for_a_new_register(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.create_database("begun")
    Database.create(url).close()
    database = Database.create(url)
    add_row(database)
    with pytest.raises(AlreadyInitialised, match="not empty"):
        Database.create(url)
    database.close()
    postgres_server.drop_database("begun")


def test_a_file_that_is_no_register_is_refused(tmp_path: Path) -> None:
    (tmp_path / "register.db").touch()
    with pytest.raises(SchemaMismatch, match="not a register"):
        Database.open(tmp_path / "register.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "register.db").write_bytes(b"nonsense" * 1_000)
    with pytest.raises(RegisterUnavailable, match="not a database"):
        Database.open(tmp_path / "register.db")


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        Database.create(tmp_path / "nowhere" / "register.db")


@pytest.mark.parametrize(
    ("found", "what_to_do"),
    [("0001", "gatelight-issuer register migrate"), ("9999", "run the version of gatelight that made it")],
)
def test_a_schema_of_another_version_is_refused(
    database: Database, database_url: str, found: str, what_to_do: str
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    with pytest.raises(SchemaMismatch, match=f"schema {found}.*{HEAD}.*{what_to_do}"):
        Database.open(database_url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is empty"),
        ("postgresql://city:secret@host/register", r"write postgresql\+psycopg://"),
        ("postgres://city:secret@host/register", r"write postgresql\+psycopg://"),
        ("mysql://city:secret@host/register", "has the scheme mysql"),
        ("secret@host://register", "has the scheme of no database"),
        ("postgresql+psycopg://city:secret@host:port/register", "cannot be read"),
        ("postgresql+psycopg://city:secret@host", "names no database"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///register.db?mode=secret", "more than a path"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        Database.open(url)
    assert "secret" not in str(caught.value)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install 'gatelight\[postgres\]'"):
        Database.open("postgresql+psycopg://city@host/register")


def test_a_password_is_in_no_name_and_no_error() -> None:
    url = "postgresql+psycopg://city:secret@127.0.0.1:1/register?sslpassword=secret"
    with pytest.raises(RegisterUnavailable, match="refused") as caught:
        Database.open(url)
    assert "secret" not in str(caught.value)
    assert Database(url).name == "the PostgreSQL database register at 127.0.0.1:1"


# The file


def test_a_register_is_for_its_owner_alone(sqlite_url: str, tmp_path: Path) -> None:
    created = Database.create(tmp_path / "created.db")
    add_row(created)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("created.db*")}
    assert modes == dict.fromkeys(("created.db", "created.db-wal", "created.db-shm"), 0o600)
    created.close()


def test_what_was_acknowledged_is_synced_to_disk(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_a_register_that_could_not_be_made_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "register.db.replaced-1").write_text("an older register")
    monkeypatch.setattr("issuer.register.migrate.HEAD", "no such revision")
    with pytest.raises(Exception, match="no such revision"):
        Database.create(tmp_path / "register.db")
    assert [path.name for path in tmp_path.iterdir()] == ["register.db.replaced-1"]


def test_a_locked_register_is_unavailable_and_nothing_is_changed(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 0.05)
    impatient = Database(sqlite_url)
    other = sqlite3.connect(tmp_path / "register.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegisterUnavailable, match="locked"), impatient.write():
        pass
    other.close()
    add_row(impatient)
    impatient.close()


def test_a_writer_that_waited_too_long_is_told_and_the_next_one_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issuer.register.database._TURN_WAIT_S", 0.05)
    with database.write():
        failures: list[str] = []

        def wait() -> None:
            try:
                add_row(database)
            except RegisterUnavailable as error:
                failures.append(str(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join()
    assert failures == ["the register is busy"]
    add_row(database)


# The server


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can wait for."""
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(postgresql, "_GRACE_S", 0.3)
    monkeypatch.setattr(postgresql, "_PING_TIMEOUT_S", 0.3)
    monkeypatch.setattr(postgresql.BoundedConnection, "patience_s", 0.3)
    monkeypatch.setitem(postgresql._CONNECTION_DEFAULTS, "connect_timeout", 2)


@pytest.fixture
def own_database(own_postgres: PostgresServer, impatience: None) -> Iterator[Database]:
    """A register on a server of the test's own."""
    Database.create(own_postgres.create_database("register")).close()
    database = Database.open(own_postgres.url("register"))
    yield database
    database.close()
    own_postgres.mend()
    own_postgres.drop_database("register")


def test_a_server_that_was_restarted_is_used_again_at_once(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    add_row(own_database)
    assert count_rows(own_database) == 1
    own_postgres.kill()
    own_postgres.start()
    add_row(own_database)
    assert count_rows(own_database) == 2


def test_a_dead_server_makes_the_register_unavailable(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    add_row(own_database)
    own_postgres.kill()
    with pytest.raises(RegisterUnavailable, match="cannot be used"):
        add_row(own_database)
    with pytest.raises(RegisterUnavailable, match="cannot be used"):
        count_rows(own_database)


def test_a_server_that_dies_within_a_transaction_makes_the_register_unavailable(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    with pytest.raises(RegisterUnavailable):
        add_rows_around(own_database, own_postgres.kill)
    own_postgres.start()
    assert count_rows(own_database) == 0


def test_a_frozen_server_makes_the_register_unavailable_and_a_thawed_one_is_used_again(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    add_row(own_database)
    own_postgres.freeze()
    with pytest.raises(RegisterUnavailable, match="timeout"):
        add_row(own_database)
    with pytest.raises(RegisterUnavailable, match="timeout"):
        count_rows(own_database)
    own_postgres.thaw()
    add_row(own_database)
    assert count_rows(own_database) == 2


def test_a_server_that_freezes_within_a_transaction_is_waited_for_a_bounded_time(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    with pytest.raises(RegisterUnavailable, match="the connection broke"):
        add_rows_around(own_database, own_postgres.freeze)
    own_postgres.thaw()
    assert count_rows(own_database) == 0


def test_a_statement_that_takes_too_long_is_given_up_by_the_server(own_database: Database) -> None:
    with pytest.raises(RegisterUnavailable, match="QueryCanceled"), own_database.read() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))


# One process serves


def test_a_second_process_cannot_serve_the_same_register(postgres_url: str) -> None:
    first, second = Database.open(postgres_url), Database.open(postgres_url)
    with first.lock_for_serving():
        with pytest.raises(AlreadyServed, match="stop that one first"), second.lock_for_serving():
            pass
        add_row(first)
    with second.lock_for_serving():
        add_row(second)
    first.close()
    second.close()


def test_the_lock_of_one_register_is_not_that_of_another(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    other_url = postgres_server.create_database("neighbour")
    other = Database.create(other_url)
    mine = Database.open(postgres_url)
    with mine.lock_for_serving(), other.lock_for_serving():
        pass
    mine.close()
    other.close()
    postgres_server.drop_database("neighbour")


def test_the_lock_is_taken_again_after_a_restart(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    second = Database.open(own_postgres.url("register"))
    with own_database.lock_for_serving():
        own_postgres.kill()
        own_postgres.start()
        add_row(own_database)
        with pytest.raises(AlreadyServed), second.lock_for_serving():
            pass
    second.close()


def test_a_process_that_lost_the_lock_to_another_writes_no_more(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    second = Database.open(own_postgres.url("register"))
    with own_database.lock_for_serving():
        own_postgres.kill()
        own_postgres.start()
        with second.lock_for_serving():
            with pytest.raises(RegisterUnavailable, match="another process"):
                add_row(own_database)
            with pytest.raises(RegisterUnavailable, match="another process"):
                add_row(own_database)
            add_row(second)
        add_row(own_database)  # the other one is gone
    second.close()


def test_a_lock_that_was_lost_without_a_restart_is_noticed_at_the_next_change(
    own_postgres: PostgresServer, own_database: Database
) -> None:
    second = Database.open(own_postgres.url("register"))
    with own_database.lock_for_serving():
        add_row(own_database)
        with second.write() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            )
        eventually(lambda: is_free(second))
        with second.lock_for_serving(), pytest.raises(RegisterUnavailable, match="another process"):
            add_row(own_database)
    second.close()


def is_free(database: Database) -> bool:
    with database.read() as connection:
        return not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))


def test_a_file_needs_no_lock_of_its_own(sqlite_url: str) -> None:
    first, second = Database.open(sqlite_url), Database.open(sqlite_url)
    with first.lock_for_serving(), second.lock_for_serving():
        pass
    first.close()
    second.close()
