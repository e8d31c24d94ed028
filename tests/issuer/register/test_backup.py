"""Backups of a register, and putting one in its place."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from issuer.errors import (
    NotInitialised,
    RegisterUnavailable,
    SchemaMismatch,
    SettingsError,
    SetupError,
)
from issuer.register.backup import back_up, restore
from issuer.register.database import Database
from issuer.register.migrations import HEAD
from issuer.register.schema import outbox, publication
from tests.issuer.register.test_migrations import first_release

NOW = 1_800_000_000


@pytest.fixture
def register(sqlite_url: str) -> Iterator[Database]:
    """A register in a file, which has published something and has something to publish."""
    database = Database.open(sqlite_url)
    with database.write() as connection:
        connection.execute(insert(publication).values(partition=0, epoch="e", feed_id="1-0"))
    add_row(database)
    yield database
    database.close()


@pytest.fixture
def backup(register: Database, tmp_path: Path) -> Path:
    """A backup of it."""
    back_up(register, tmp_path / "backup")
    return tmp_path / "backup"


def add_row(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(outbox).values(credential_index=7))


def counts(path: Path) -> tuple[int, int]:
    """Return how many rows wait, and how many positions are noted."""
    database = Database.open(path)
    with database.read() as connection:
        rows = connection.scalar(select(func.count()).select_from(outbox)) or 0
        positions = connection.scalar(select(func.count()).select_from(publication)) or 0
    database.close()
    return rows, positions


def test_a_backup_is_the_register_of_one_instant(register: Database, backup: Path) -> None:
    add_row(register)
    assert counts(backup) == (1, 1)


def test_a_backup_is_taken_while_others_write(register: Database, tmp_path: Path) -> None:
    with register.write() as connection:
        connection.execute(insert(outbox).values(credential_index=8))
        back_up(register, tmp_path / "backup")
    assert counts(tmp_path / "backup") == (1, 1)


def test_a_backup_is_for_its_owner_alone_and_nothing_else_is_left(backup: Path, tmp_path: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "register.db" not in path.name) == ["backup"]


def test_a_backup_never_overwrites_a_file(register: Database, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("mine")
    with pytest.raises(SetupError, match="exists already"):
        back_up(register, tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "mine"


def test_a_backup_to_a_folder_that_is_not_there_is_explained(register: Database, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be written: No such file"):
        back_up(register, tmp_path / "nowhere" / "backup")


def test_a_restored_register_is_that_of_the_backup(register: Database, backup: Path, tmp_path: Path) -> None:
    add_row(register)
    register.close()
    restored = restore(backup, tmp_path / "register.db", now=NOW)
    assert restored.revision == HEAD
    assert counts(tmp_path / "register.db")[0] == 1
    assert (tmp_path / "register.db").stat().st_mode & 0o777 == 0o600


def test_a_restored_register_has_forgotten_what_it_published(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    register.close()
    restore(backup, tmp_path / "register.db", now=NOW)
    assert counts(tmp_path / "register.db")[1] == 0
    assert counts(backup)[1] == 1  # the backup is as it was


def test_the_register_that_was_there_is_kept_with_what_is_only_in_its_log(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    add_row(register)
    restored = restore(backup, tmp_path / "register.db", now=NOW)
    assert restored.replaced == tmp_path / f"register.db.replaced-{NOW}"
    assert (tmp_path / f"register.db.replaced-{NOW}-wal").stat().st_size > 0
    register.close()
    assert counts(restored.replaced)[0] == 2


def test_the_log_of_the_register_that_was_there_is_not_taken_for_that_of_the_backup(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    add_row(register)
    (tmp_path / "register.db").unlink()  # its log stays
    restored = restore(backup, tmp_path / "register.db", now=NOW)
    assert restored.replaced is None
    assert counts(tmp_path / "register.db")[0] == 1


def test_a_backup_is_restored_where_there_is_no_register(backup: Path, tmp_path: Path) -> None:
    restored = restore(backup, tmp_path / "new.db", now=NOW)
    assert restored.replaced is None
    assert counts(tmp_path / "new.db")[0] == 1


def test_a_copy_that_has_its_log_beside_it_is_restored_whole(register: Database, tmp_path: Path) -> None:
    add_row(register)
    restore(tmp_path / "register.db", tmp_path / "new.db", now=NOW)
    assert counts(tmp_path / "new.db")[0] == 2


def test_a_backup_of_the_first_release_is_restored_and_says_its_schema(
    register: Database, tmp_path: Path
) -> None:
    first_release(tmp_path / "first.db")
    register.close()
    assert restore(tmp_path / "first.db", tmp_path / "register.db", now=NOW).revision == "0001"
    with pytest.raises(SchemaMismatch, match="register migrate"):
        Database.open(tmp_path / "register.db")


def test_a_missing_backup_is_said_and_the_register_stays(register: Database, tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="there is no backup"):
        restore(tmp_path / "nothing", tmp_path / "register.db", now=NOW)
    add_row(register)


@pytest.mark.parametrize("content", [b"nonsense" * 1_000, b""])
def test_what_is_no_backup_is_refused_and_the_register_stays(
    register: Database, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "backup").write_bytes(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises((RegisterUnavailable, SchemaMismatch)):
        restore(tmp_path / "backup", tmp_path / "register.db", now=NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert counts(tmp_path / "register.db") == (1, 1)


def test_a_damaged_backup_is_refused_and_the_register_stays(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(backup) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_clients_1'"
        ).fetchone()[0]
    connection.close()
    content = bytearray(backup.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\x0d" * 4096
    backup.write_bytes(content)
    with pytest.raises(RegisterUnavailable, match="damaged"):
        restore(backup, tmp_path / "register.db", now=NOW)
    assert counts(tmp_path / "register.db") == (1, 1)


def test_two_restores_in_one_second_do_not_overwrite_what_was_kept(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    register.close()
    restore(backup, tmp_path / "register.db", now=NOW)
    with pytest.raises(SetupError, match="exists already"):
        restore(backup, tmp_path / "register.db", now=NOW)


def test_postgresql_has_its_own_programs_for_both(postgres_url: str, tmp_path: Path) -> None:
    database = Database.open(postgres_url)
    with pytest.raises(SettingsError, match="pg_dump"):
        back_up(database, tmp_path / "backup")
    database.close()
    with pytest.raises(SettingsError, match=r"pg_restore.*cache rebuild"):
        restore(tmp_path / "backup", postgres_url, now=NOW)
