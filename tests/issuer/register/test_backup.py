"""Backups of a register, and putting one in its place."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update

from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.errors import (
    NotInitialised,
    RegisterUnavailable,
    SchemaMismatch,
    SettingsError,
    SetupError,
)
from issuer.register import gate_list
from issuer.register.backup import back_up, restore
from issuer.register.database import Database
from issuer.register.gates import GateCredential, Gates
from issuer.register.migrate import migrate
from issuer.register.migrations import HEAD
from issuer.register.schema import clients, credentials, holders, key_sets, outbox, publication, signing_keys
from issuer.register.taken_over import SKIPPED_NUMBERS
from tests.issuer.register.people import add_client, enrol, request
from tests.issuer.register.test_migrations import first_release
from verifier.verdict import Policy

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


def test_a_register_without_a_log_is_kept_without_one(
    register: Database, backup: Path, tmp_path: Path
) -> None:
    register.close()
    content = (tmp_path / "register.db").read_bytes()
    restore(backup, tmp_path / "register.db", now=NOW)
    (kept,) = tmp_path.glob("register.db.replaced-*")
    assert kept.read_bytes() == content


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


# What a restore must not undo


PREPARED, ACTIVE, RETIRED, REVOKED = 1, 2, 3, 4


@pytest.fixture
def city(register: Database) -> Database:
    """The register with a person, a client, a key and a key set."""
    enrol(register)
    add_client(register, "thief")
    add_key(register, b"first")
    add_key_set(register, 1)
    return register


@pytest.fixture
def before(city: Database, tmp_path: Path) -> Path:
    """A backup of it."""
    back_up(city, tmp_path / "before")
    return tmp_path / "before"


def add_key(database: Database, key_id: bytes, state: int = ACTIVE) -> None:
    key = {"key_id": key_id, "public_key": key_id, "state": state, "created_at": NOW, "last_expires_at": NOW}
    with database.write() as connection:
        connection.execute(insert(signing_keys).values(key))


def add_key_set(database: Database, version: int, signed: bytes = b"signed by our root") -> None:
    row = {"version": version, "signed": signed + bytes([version]), "issued_at": NOW, "expires_at": NOW}
    with database.write() as connection:
        connection.execute(insert(key_sets).values(row))


def revoke_key(database: Database, key_id: bytes) -> None:
    first, second = add_client(database, "first"), add_client(database, "second")
    approval_id = request(
        database, first, kind=ApprovalKind.REVOKE_KEY, state=ApprovalState.APPROVED, settled_by=second
    )
    revoked = {"state": REVOKED, "ended_at": NOW + 5, "approval_id": approval_id}
    with database.write() as connection:
        connection.execute(update(signing_keys).where(signing_keys.c.key_id == key_id).values(revoked))


def put_back(database: Database, backup: Path, tmp_path: Path) -> Database:
    """Restore a backup in the place of a register, and open that."""
    database.close()
    restore(backup, tmp_path / "register.db", now=NOW)
    return Database.open(tmp_path / "register.db")


def numbers(database: Database) -> dict[str, int]:
    with database.read() as connection:
        rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
    return {row.name: row.seq for row in rows}


def keys_of(database: Database) -> dict[bytes, tuple[int, int | None]]:
    with database.read() as connection:
        rows = connection.execute(select(signing_keys)).all()
    return {row.key_id: (row.state, row.ended_at) for row in rows}


def test_no_number_that_was_given_since_the_backup_is_given_again(
    city: Database, before: Path, tmp_path: Path
) -> None:
    enrol(city, 3)
    request(city, add_client(city, "later"))
    add_row(city)
    given = numbers(city)
    restored = put_back(city, before, tmp_path)
    assert {table: numbers(restored)[table] for table in given} == given
    enrol(restored)
    with restored.read() as connection:
        assert connection.scalar(select(func.max(holders.c.id))) == given["holders"] + 1
        assert connection.scalar(select(func.max(credentials.c.credential_index))) == given["credentials"] + 1
    restored.close()


def test_a_client_that_was_revoked_since_the_backup_stays_revoked(
    city: Database, before: Path, tmp_path: Path
) -> None:
    with city.write() as connection:
        connection.execute(update(clients).where(clients.c.name == "thief").values(revoked_at=NOW + 5))
    restored = put_back(city, before, tmp_path)
    with restored.read() as connection:
        assert connection.scalar(select(clients.c.revoked_at).where(clients.c.name == "thief")) == NOW + 5
    restored.close()


def test_a_key_that_was_revoked_since_the_backup_stays_out_of_force(
    city: Database, before: Path, tmp_path: Path
) -> None:
    revoke_key(city, b"first")
    restored = put_back(city, before, tmp_path)
    assert keys_of(restored) == {b"first": (RETIRED, NOW + 5)}
    restored.close()


def test_a_key_that_was_revoked_before_the_backup_stays_revoked(city: Database, tmp_path: Path) -> None:
    revoke_key(city, b"first")
    back_up(city, tmp_path / "after")
    restored = put_back(city, tmp_path / "after", tmp_path)
    assert keys_of(restored) == {b"first": (REVOKED, NOW + 5)}
    restored.close()


def test_keys_and_key_sets_made_since_the_backup_are_known(
    city: Database, before: Path, tmp_path: Path
) -> None:
    add_key(city, b"second")
    add_key_set(city, 2)
    restored = put_back(city, before, tmp_path)
    assert keys_of(restored) == {b"first": (ACTIVE, None), b"second": (ACTIVE, None)}
    with restored.read() as connection:
        assert connection.scalars(select(key_sets.c.version)).all() == [1, 2]
    restored.close()


def test_putting_an_older_register_over_a_newer_one_ends_nothing_that_is_not_ended(
    city: Database, before: Path, tmp_path: Path
) -> None:
    add_key(city, b"second", PREPARED)
    back_up(city, tmp_path / "newer")
    older = put_back(city, before, tmp_path)
    older.close()
    done = restore(tmp_path / "newer", tmp_path / "register.db", now=NOW + 1)
    assert (done.skipped_numbers, done.keeps_endings) == (0, True)


def gate_key(number: int) -> GateCredential:
    return GateCredential(bytes([number]) * 32, is_certificate=False)


def test_a_gates_credential_that_was_taken_away_since_the_backup_opens_nothing_again(
    city: Database, tmp_path: Path
) -> None:
    gates = Gates(database=city)
    gates.add_group("stations", Policy(), now=NOW)
    gates.add("north-3", "stations", gate_key(1), now=NOW)
    gates.add("north-4", "stations", gate_key(2), now=NOW)
    back_up(city, tmp_path / "with-gates")
    gates.add_credential("north-3", gate_key(3), now=NOW)
    gates.remove_credential("north-3", gate_key(1), now=NOW)
    restored = put_back(city, tmp_path / "with-gates", tmp_path)
    entries, _ = Gates(database=restored).page(group="", page_size=9, after_gate_id="")
    assert {entry.gate_id: list(entry.credentials) for entry in entries} == {
        "north-3": [],
        "north-4": [gate_key(2)],
    }
    restored.close()


def test_the_version_of_the_gate_list_does_not_go_back(city: Database, before: Path, tmp_path: Path) -> None:
    Gates(database=city).add_group("stations", Policy(), now=NOW + 7)
    restored = put_back(city, before, tmp_path)
    with restored.write() as connection:
        assert gate_list.read_version(connection) == NOW + 7
        gate_list.raise_version(connection, now=NOW)
        assert gate_list.read_version(connection) == NOW + 8
    restored.close()


def no_register(path: Path) -> None:
    path.unlink()


def damaged_register(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1_000)


def register_of_another(path: Path) -> None:
    path.unlink()
    another = Database.create(path)
    add_key_set(another, 1, b"signed by another root")
    another.close()


@pytest.mark.parametrize("spoil", [no_register, damaged_register, register_of_another])
def test_where_nobody_can_tell_what_was_given_since_numbers_are_skipped(
    city: Database, before: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    given = numbers(city)
    city.close()
    spoil(tmp_path / "register.db")
    done = restore(before, tmp_path / "register.db", now=NOW)
    assert (done.skipped_numbers, done.keeps_endings) == (SKIPPED_NUMBERS, False)
    restored = Database.open(tmp_path / "register.db")
    assert numbers(restored)["credentials"] == given["credentials"] + 1_000_000
    enrol(restored)
    restored.close()


def test_numbers_stay_above_those_given_when_a_backup_of_the_first_release_is_migrated(
    city: Database, tmp_path: Path
) -> None:
    first_release(tmp_path / "first.db")
    with sqlite3.connect(tmp_path / "first.db") as connection:
        connection.execute("DELETE FROM key_sets")
    connection.close()
    enrol(city, 50)
    given = numbers(city)
    city.close()
    done = restore(tmp_path / "first.db", tmp_path / "register.db", now=NOW)
    assert (done.skipped_numbers, done.keeps_endings) == (0, False)
    migrate(tmp_path / "register.db")
    restored = Database.open(tmp_path / "register.db")
    assert all(numbers(restored)[table] >= number for table, number in given.items())
    restored.close()


def test_postgresql_has_its_own_programs_for_both(postgres_url: str, tmp_path: Path) -> None:
    database = Database.open(postgres_url)
    with pytest.raises(SettingsError, match="pg_dump"):
        back_up(database, tmp_path / "backup")
    database.close()
    with pytest.raises(SettingsError, match=r"pg_restore.*cache rebuild"):
        restore(tmp_path / "backup", postgres_url, now=NOW)
