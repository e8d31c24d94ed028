"""The migrations: from nothing, and from a register of the first release that people are in."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text, update

from issuer.errors import (
    AlreadyServed,
    NotInitialised,
    RegisterRefused,
    RegisterUnavailable,
    SchemaMismatch,
)
from issuer.register import history, migrations
from issuer.register.database import Database
from issuer.register.migrate import migrate
from issuer.register.migrations import HEAD, city_conversion
from issuer.register.schema import (
    approvals,
    calls,
    clients,
    credentials,
    holder_status,
    holders,
    metadata,
    outbox,
    publication,
    signing_keys,
    status_changes,
)

NOW = 1_800_000_000
GREEN, RED = 1, 3
MANUAL, IMPORT, TEST, ENDED = 1, 2, 3, 4
PENDING, APPROVED, REJECTED, EXPIRED, FAILED = 1, 2, 3, 4, 5
SET_STATUSES, STATUS_IMPORT, ADD_CLIENT, REVOKE_KEY, DRILL_KEYS = 1, 2, 3, 8, 9
ACTIVE, REVOKED = 2, 4


# The schema


def differences(database: Database) -> list[object]:
    with database.read() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_the_migrations_make_the_schema_that_the_program_describes(database: Database) -> None:
    assert differences(database) == []


def test_the_last_migration_is_the_one_that_the_program_expects() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [HEAD]


def structure(connection: Connection) -> set[tuple[object, ...]]:
    """Return what compare_metadata does not look at: rules, conditions of indices, defaults."""
    queries = (
        (
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid::regclass::text NOT LIKE 'pg_%' AND contype <> 'n'",
            "SELECT table_name, column_name, data_type, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_schema = 'public'",
        )
        if connection.dialect.name == "postgresql"
        else ("SELECT tbl_name, name, sql FROM sqlite_master WHERE type IN ('table', 'index')",)
    )
    rows = {tuple(row) for query in queries for row in connection.execute(text(query))}
    return {row for row in rows if row[0] != "alembic_version"}


def test_the_migrations_leave_what_the_description_alone_would_make(
    database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    described_url = str(tmp_path / "described.db")
    if database.dialect == "postgresql":
        described_url = request.getfixturevalue("postgres_server").create_database("described")
    described = Database(described_url)
    with described.write() as connection:
        metadata.create_all(connection)
    with described.read() as expected, database.read() as found:
        assert structure(found) == structure(expected)
    described.close()
    if database.dialect == "postgresql":
        request.getfixturevalue("postgres_server").drop_database("described")


# A register of the first release


def first_release(path: Path) -> None:
    """Make a register as the first release left it: two holders, and numbers missing in their history."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        ScriptDirectory(str(Path(migrations.__file__).parent)).get_revision("0001").module.upgrade()
    engine.dispose()
    register = sqlite3.connect(path)
    register.executescript(
        """
        PRAGMA journal_mode = WAL;
        INSERT INTO schema_version VALUES (1);
        INSERT INTO holders VALUES (1, '王小秀', 'ID', x'aa', '1234', '朝阳', 100);
        INSERT INTO holders VALUES (5, '李雷', 'ID', x'bb', '5678', '', 200);
        INSERT INTO credentials VALUES (1, 1, 1, 3, 1, 110);
        INSERT INTO credentials VALUES (2, 5, 2, 1, 3, 210);
        INSERT INTO status_changes VALUES (1, 1, 1, 7, 0, 'District office', 'li', 120);
        INSERT INTO status_changes VALUES (4, 5, 3, 9, 30000000, '区政府', 'wang', 220);
        INSERT INTO status_changes VALUES (5, 1, 0, 0, 30000001, 'Laboratory', 'lab', 230);
        INSERT INTO holder_status VALUES (1, 1, 7, 30000001), (5, 3, 9, 30000000);
        INSERT INTO outbox VALUES (41, 1, -5), (42, 2, 5);
        INSERT INTO publication VALUES (0, 'epoch', '1-0');
        INSERT INTO signing_keys VALUES (x'0102', x'0304', 'ACTIVE', 90);
        INSERT INTO key_sets VALUES (1, x'd2', 90, 990);
        """
    )
    register.commit()
    register.close()


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The file of a register of the first release."""
    path = tmp_path / "first.db"
    first_release(path)
    return path


@pytest.fixture
def migrated(first: Path) -> Iterator[Database]:
    """The same after its migration."""
    assert migrate(first) == ("0001", HEAD)
    database = Database.open(first)
    yield database
    database.close()


def test_the_register_of_the_first_release_is_the_one_that_was_released(first: Path) -> None:
    """Columns as the release made them, copied from its own file."""
    with sqlite3.connect(first) as register:
        made = {
            table: [row[1] for row in register.execute(f"PRAGMA table_info({table})")]
            for (table,) in register.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        }
    register.close()
    assert made["holders"][-4:] == ["document_hash", "document_last_four", "region", "enrolled_at"]
    assert made["outbox"] == ["seq", "credential_index", "record"]
    assert made["schema_version"] == ["version"]


def test_a_register_of_the_first_release_is_refused_with_the_command_to_run(first: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"schema 0001.*gatelight-issuer register migrate"):
        Database.open(first)


def test_a_migrated_register_has_the_schema_of_a_new_one(migrated: Database) -> None:
    assert differences(migrated) == []


def test_holders_keep_their_ids_and_what_is_known_of_them(migrated: Database) -> None:
    with migrated.read() as connection:
        rows = connection.execute(select(holders).order_by(holders.c.id)).all()
    assert rows == [
        (1, "王小秀", "ID", b"\xaa", None, "1234", "朝阳", None, None, 100, None),
        (5, "李雷", "ID", b"\xbb", None, "5678", "", None, None, 200, None),
    ]


def test_credentials_keep_their_indices_generations_and_states(migrated: Database) -> None:
    with migrated.read() as connection:
        rows = connection.execute(select(credentials).order_by(credentials.c.credential_index)).all()
    assert rows == [(1, 1, 1, 3, 1, None, 110, None, None), (2, 5, 2, 1, 3, None, 210, None, None)]


def test_the_next_ids_follow_on_the_old_ones(migrated: Database) -> None:
    with migrated.write() as connection:
        new = {"name": "", "document_type": "", "document_last_four": "", "region": "", "enrolled_at": 0}
        assert connection.execute(insert(holders).values(new)).inserted_primary_key == (6,)
        added = connection.execute(insert(outbox).values(credential_index=1))
        assert added.inserted_primary_key == (43,)


def test_the_status_of_holders_does_not_end_by_itself(migrated: Database) -> None:
    with migrated.read() as connection:
        rows = connection.execute(select(holder_status).order_by(holder_status.c.holder_id)).all()
    assert rows == [(1, 1, 7, 30_000_001, None), (5, 3, 9, 30_000_000, None)]


def test_the_history_is_chained_as_changes_by_hand_and_verifies(migrated: Database) -> None:
    with migrated.read() as connection:
        rows = connection.execute(
            select(status_changes.c.seq, status_changes.c.holder_id, status_changes.c.source).order_by("seq")
        ).all()
    assert rows == [(1, 1, MANUAL), (2, 5, MANUAL), (3, 1, MANUAL)]
    *_, finding = history.verify(migrated)
    assert isinstance(finding, history.Finding)
    assert (finding.verified, finding.problem) == (3, "")


def test_a_history_that_is_longer_than_a_page_verifies(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(city_conversion, "_ROWS_AT_A_TIME", 2)
    migrate(first)
    database = Database.open(first)
    *_, finding = history.verify(database)
    assert isinstance(finding, history.Finding)
    assert (finding.verified, finding.problem) == (3, "")
    database.close()


def test_redis_is_written_anew_after_a_migration(migrated: Database) -> None:
    with migrated.read() as connection:
        for table in (outbox, publication):
            assert connection.execute(select(table)).all() == []


def test_keys_stay_active_for_as_long_as_codes_may_be_in_force(migrated: Database) -> None:
    with migrated.read() as connection:
        key = connection.execute(select(signing_keys)).one()
        migrated_at = connection.scalar(text("SELECT CAST(strftime('%s', 'now') AS INTEGER)"))
    assert migrated_at is not None
    assert (key.key_id, key.public_key, key.state) == (b"\x01\x02", b"\x03\x04", ACTIVE)
    assert (key.created_at, key.published_at, key.activated_at, key.ended_at) == (90, 90, 90, None)
    assert abs(key.last_expires_at - migrated_at - 180 * 86_400) < 60


def test_nothing_of_the_first_release_is_left(migrated: Database) -> None:
    with migrated.read() as connection:
        names = connection.scalars(text("SELECT name FROM sqlite_master")).all()
    assert [name for name in names if name.startswith("first_") or name == "schema_version"] == []


def test_a_migration_that_fails_leaves_the_register_as_it_was(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(first)
    monkeypatch.setattr(
        city_conversion, "_COPIES", (*city_conversion._COPIES, "INSERT INTO nowhere VALUES (1)")
    )
    with pytest.raises(RegisterUnavailable, match="nowhere"):
        migrate(first)
    assert dump(first) == before


def dump(path: Path) -> list[str]:
    register = sqlite3.connect(path)
    lines = list(register.iterdump())
    register.close()
    return lines


def test_rows_that_refer_to_nobody_stop_a_migration(first: Path) -> None:
    with sqlite3.connect(first) as register:
        register.execute("INSERT INTO credentials VALUES (9, 99, 1, 1, 1, 1)")
    register.close()
    with pytest.raises(SchemaMismatch, match="refer to others that are missing"):
        migrate(first)


def test_a_register_that_is_current_stays_as_it_is(database: Database, database_url: str) -> None:
    assert migrate(database_url) == (HEAD, HEAD)
    assert differences(database) == []


def test_a_register_that_is_newer_than_the_program_is_left_alone(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="run the version of gatelight that made it"):
        migrate(database_url)


def test_a_register_that_is_not_there_is_not_migrated(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="gatelight-issuer init"):
        migrate(tmp_path / "register.db")
    assert list(tmp_path.iterdir()) == []


def test_a_register_that_is_served_is_not_migrated(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    with database.lock_for_serving(), pytest.raises(AlreadyServed):
        migrate(postgres_url)
    database.close()


# What no program may do


@pytest.fixture
def staffed(database: Database) -> Database:
    """A register with a holder, two clients and a signing key."""
    with database.write() as connection:
        new = {"name": "", "document_type": "", "document_last_four": "", "region": "", "enrolled_at": 0}
        connection.execute(insert(holders).values(new))
        for name in ("clerk", "approver"):
            client = {"name": name, "roles": "", "bearer_key_sha256": name.encode(), "added_at": 0}
            connection.execute(insert(clients).values(client))
        key = {"key_id": b"k", "public_key": b"p", "state": ACTIVE, "created_at": 0, "last_expires_at": 0}
        connection.execute(insert(signing_keys).values(key))
    return database


def approval(database: Database, kind: int = SET_STATUSES, state: int = APPROVED) -> int:
    """Enter a request of client 1, settled by client 2 unless it is pending."""
    row = {
        "kind": kind,
        "payload": b"p",
        "summary": "",
        "requested_by": 1,
        "requested_at": NOW,
        "state": PENDING,
        "outcome": "",
    }
    with database.write() as connection:
        key = connection.execute(insert(approvals).values(row)).inserted_primary_key
        assert key is not None
        if state != PENDING:
            settled = {"state": state, "settled_by": 2, "settled_at": NOW}
            connection.execute(update(approvals).where(approvals.c.id == key[0]).values(settled))
        return int(key[0])


def change(
    database: Database,
    colour: int,
    source: int,
    approval_id: int | None,
    seq: int = 1,
    *,
    operator: str = "clerk",
) -> None:
    row = {
        "seq": seq,
        "holder_id": 1,
        "colour": colour,
        "reason": 1,
        "negative_test_min": 0,
        "valid_until": 0,
        "authority": "",
        "operator": operator,
        "evidence": "",
        "source": source,
        "approval_id": approval_id,
        "external_id": None,
        "changed_at": NOW,
        "previous_hash": bytes(32),
        "own_hash": bytes(32),
    }
    with database.write() as connection:
        connection.execute(insert(status_changes).values(row))


@pytest.mark.parametrize("statement", ["UPDATE status_changes SET reason = 2", "DELETE FROM status_changes"])
def test_the_history_is_append_only(staffed: Database, statement: str) -> None:
    change(staffed, GREEN, MANUAL, None)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("table", ["status_changes", "approvals", "calls"])
def test_tables_that_are_kept_cannot_be_emptied_at_once(postgres_url: str, table: str) -> None:
    database = Database.open(postgres_url)
    with pytest.raises(RegisterRefused), database.write() as connection:
        connection.execute(text(f"TRUNCATE {table} CASCADE"))
    database.close()


def test_a_change_is_not_replaced_by_another(sqlite_url: str) -> None:
    database = Database.open(sqlite_url)
    with database.write() as connection:
        connection.execute(
            text("INSERT INTO holders VALUES (1, '', '', NULL, NULL, '', '', NULL, NULL, 0, NULL)")
        )
    change(database, GREEN, MANUAL, None)
    with pytest.raises(RegisterRefused, match="append-only"), database.write() as connection:
        connection.execute(text("REPLACE INTO status_changes SELECT * FROM status_changes"))
    database.close()


@pytest.mark.parametrize("source", [MANUAL, IMPORT, TEST, ENDED])
def test_a_red_needs_an_approval_wherever_it_comes_from(staffed: Database, source: int) -> None:
    with pytest.raises(RegisterRefused):
        change(staffed, RED, source, None)


@pytest.mark.parametrize("state", [PENDING, REJECTED, EXPIRED, FAILED])
def test_a_red_needs_an_approval_that_was_given(staffed: Database, state: int) -> None:
    approval_id = approval(staffed, state=state)
    with pytest.raises(RegisterRefused):
        change(staffed, RED, MANUAL, approval_id)


def test_a_red_needs_an_approval_that_is_about_status(staffed: Database) -> None:
    approval_id = approval(staffed, kind=ADD_CLIENT)
    with pytest.raises(RegisterRefused):
        change(staffed, RED, MANUAL, approval_id)


def test_a_red_needs_an_approval_that_its_own_operator_asked_for(staffed: Database) -> None:
    approval_id = approval(staffed)
    for operator in ("approver", ""):
        with pytest.raises(RegisterRefused):
            change(staffed, RED, MANUAL, approval_id, operator=operator)


@pytest.mark.parametrize(
    "settled",
    [
        {"state": APPROVED, "settled_by": 2, "settled_at": NOW},
        {"state": REJECTED},
        {"state": PENDING, "settled_by": 2},
        {"state": PENDING, "settled_at": NOW},
    ],
)
def test_no_approval_is_born_settled(staffed: Database, settled: dict[str, int]) -> None:
    asked = {"kind": SET_STATUSES, "payload": b"", "summary": "", "requested_by": 1, "requested_at": NOW}
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(insert(approvals).values(asked | {"outcome": ""} | settled))


def call(database: Database, outcome: str = "") -> None:
    row = {"client_id": 1, "method": "m", "target": "t", "called_at": NOW, "outcome": outcome}
    with database.write() as connection:
        connection.execute(insert(calls).values(row))


def test_a_call_gets_its_outcome_once(staffed: Database) -> None:
    call(staffed)
    with staffed.write() as connection:
        connection.execute(update(calls).values(outcome="OK"))
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(update(calls).values(outcome="NOT_FOUND"))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM calls",
        *("UPDATE calls SET client_id = 2", "UPDATE calls SET method = 'x'", "UPDATE calls SET target = ''"),
        *("UPDATE calls SET called_at = 0", "UPDATE calls SET seq = 9"),
    ],
)
@pytest.mark.parametrize("outcome", ["", "OK"])
def test_a_call_is_kept_as_it_was(staffed: Database, statement: str, outcome: str) -> None:
    call(staffed, outcome)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(("source", "kind"), [(MANUAL, SET_STATUSES), (IMPORT, STATUS_IMPORT)])
def test_a_red_with_an_approval_is_entered(staffed: Database, source: int, kind: int) -> None:
    change(staffed, RED, source, approval(staffed, kind=kind))


@pytest.mark.parametrize(
    ("colour", "source"), [(GREEN, MANUAL), (2, MANUAL), (0, TEST), (2, TEST), (GREEN, ENDED)]
)
def test_other_changes_need_no_approval(staffed: Database, colour: int, source: int) -> None:
    change(staffed, colour, source, None)


def test_nobody_approves_what_he_asked_for(staffed: Database) -> None:
    approval(staffed, state=PENDING)
    settled = update(approvals).values(state=APPROVED, settled_by=1, settled_at=NOW)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(settled)


@pytest.mark.parametrize("state", [PENDING, APPROVED])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 99),
        ("kind", 2),
        ("payload", b"x"),
        ("summary", "x"),
        ("requested_by", 2),
        ("requested_at", 1),
    ],
)
def test_what_was_asked_for_stays_as_it_was_asked(
    staffed: Database, state: int, column: str, value: object
) -> None:
    approval(staffed, state=state)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(update(approvals).values({column: value}))


@pytest.mark.parametrize(("column", "value"), [("settled_by", 1), ("settled_by", None), ("settled_at", 1)])
def test_who_settled_it_and_when_stays(staffed: Database, column: str, value: int | None) -> None:
    approval(staffed, state=REJECTED)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(update(approvals).values({column: value}))


@pytest.mark.parametrize(
    ("before", "after", "is_allowed"),
    [
        (PENDING, APPROVED, True),
        (PENDING, REJECTED, True),
        (PENDING, EXPIRED, True),
        (PENDING, FAILED, True),
        (APPROVED, FAILED, True),
        (APPROVED, PENDING, False),
        (APPROVED, REJECTED, False),
        (REJECTED, APPROVED, False),
        (EXPIRED, APPROVED, False),
        (FAILED, APPROVED, False),
    ],
)
def test_a_settled_request_stays_settled(
    staffed: Database, before: int, after: int, is_allowed: bool
) -> None:
    approval(staffed, state=before)
    settled = update(approvals).values(state=after)
    if before == PENDING:
        settled = settled.values(settled_by=2, settled_at=NOW)
    if not is_allowed:
        with pytest.raises(RegisterRefused), staffed.write() as connection:
            connection.execute(settled)
        return
    with staffed.write() as connection:
        connection.execute(settled)


@pytest.mark.parametrize("state", [PENDING, APPROVED, REJECTED, EXPIRED, FAILED])
def test_a_request_gets_its_outcome_at_any_time(staffed: Database, state: int) -> None:
    approval(staffed, state=state)
    with staffed.write() as connection:
        connection.execute(update(approvals).values(outcome="done"))


@pytest.mark.parametrize("state", [PENDING, APPROVED])
def test_a_request_is_kept(staffed: Database, state: int) -> None:
    approval(staffed, state=state)
    with pytest.raises(RegisterRefused), staffed.write() as connection:
        connection.execute(text("DELETE FROM approvals"))


def revoke(database: Database, approval_id: int | None) -> None:
    with database.write() as connection:
        connection.execute(update(signing_keys).values(state=REVOKED, approval_id=approval_id))


def test_a_key_is_not_revoked_without_an_approval(staffed: Database) -> None:
    with pytest.raises(RegisterRefused):
        revoke(staffed, None)


@pytest.mark.parametrize(
    ("kind", "state"), [(REVOKE_KEY, PENDING), (REVOKE_KEY, REJECTED), (SET_STATUSES, APPROVED)]
)
def test_a_key_is_not_revoked_on_another_approval(staffed: Database, kind: int, state: int) -> None:
    approval_id = approval(staffed, kind=kind, state=state)
    with pytest.raises(RegisterRefused):
        revoke(staffed, approval_id)


@pytest.mark.parametrize("kind", [REVOKE_KEY, DRILL_KEYS])
def test_a_key_is_revoked_on_an_approval(staffed: Database, kind: int) -> None:
    revoke(staffed, approval(staffed, kind=kind))
    with staffed.write() as connection:
        connection.execute(update(signing_keys).values(ended_at=NOW))  # nothing more is asked of it then
