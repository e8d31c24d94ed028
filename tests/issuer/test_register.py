"""The register on a real SQLite file."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from issuer.errors import FailedPrecondition, NotFound, NotInitialised, RegisterUnavailable, SchemaMismatch
from issuer.register import database as database_module
from issuer.register.database import Database
from issuer.register.entries import HolderStatus, NewCredential, NewHolder, StatusChange
from issuer.register.outbox import FeedPosition, Outbox
from issuer.register.register import Register
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack, unpack

NOW = 1_800_000_000
NOBODY = 999


def holder(number: int, name: str = "王小秀") -> NewHolder:
    return NewHolder(name, "ID", f"E{number}", "朝阳")


def change(holder_id: int, colour: Colour, *, reason: int = 1, test: int = 0) -> StatusChange:
    return StatusChange(holder_id, colour, reason, "District office", "li", test)


def enrol_one(register: Register, number: int = 1) -> int:
    return register.enrol_holders([holder(number)], now=NOW)[0]


def issue_one(
    register: Register, holder_id: int | None = None, kind: CredentialKind = CredentialKind.PHONE
) -> int:
    holder_id = enrol_one(register) if holder_id is None else holder_id
    return register.issue_credentials([NewCredential(holder_id, kind)], now=NOW).credential_indices[0]


def outbox_of(outbox: Outbox) -> list[tuple[int, StatusRecord]]:
    return [(row.credential_index, unpack(row.record)) for row in outbox.next_rows(10_000)]


# Holders


def test_holders_get_ids_in_the_order_given(register: Register) -> None:
    ids = register.enrol_holders([holder(number) for number in range(1_000)], now=NOW)
    assert ids == list(range(1, 1_001))


def test_a_name_is_stored_as_given(register: Register) -> None:
    name = "e\u0301lise  王小秀 '\"; DROP TABLE holders"
    holder_id = register.enrol_holders([holder(1, name)], now=NOW)[0]
    assert register.credential(issue_one(register, holder_id)).name == name


def test_a_document_number_is_not_in_the_file(register: Register, database: Database, tmp_path: Path) -> None:
    register.enrol_holders([NewHolder("王小秀", "ID", "CANARY110101", "")], now=NOW)
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("register.db*"))
    assert "王小秀".encode() in stored
    assert b"CANARY" not in stored


def test_a_document_that_is_known_is_refused_and_its_holder_named(register: Register) -> None:
    enrol_one(register, 7)
    with pytest.raises(FailedPrecondition, match=r"holders\[1\].document_number.*holder 1 already"):
        register.enrol_holders([holder(8), holder(7)], now=NOW)


def test_a_document_twice_in_one_list_is_refused(register: Register) -> None:
    with pytest.raises(FailedPrecondition, match=r"holders\[2\].document_number.*holders\[0\] already"):
        register.enrol_holders([holder(1), holder(2), holder(1)], now=NOW)


def test_a_list_of_holders_is_entered_whole_or_not_at_all(register: Register) -> None:
    with pytest.raises(FailedPrecondition):
        register.enrol_holders([holder(1), holder(1)], now=NOW)
    assert enrol_one(register) == 1


# Credentials


def test_credential_indices_are_dense_from_one(register: Register) -> None:
    ids = register.enrol_holders([holder(number) for number in range(3)], now=NOW)
    new = [NewCredential(holder_id, CredentialKind.PHONE) for holder_id in ids]
    assert register.issue_credentials(new, now=NOW).credential_indices == [1, 2, 3]
    with pytest.raises(NotFound):
        register.issue_credentials([*new, NewCredential(NOBODY, CredentialKind.PHONE)], now=NOW)
    assert register.issue_credentials(new, now=NOW).credential_indices == [4, 5, 6]


def test_an_unknown_holder_is_named_with_its_place(register: Register) -> None:
    known = enrol_one(register)
    new = [NewCredential(known, CredentialKind.PHONE), NewCredential(NOBODY, CredentialKind.PAPER)]
    with pytest.raises(NotFound, match=r"credentials\[1\].holder_id: there is no holder 999"):
        register.issue_credentials(new, now=NOW)


def test_a_new_credential_is_active_in_its_first_generation_and_has_no_colour(
    register: Register, outbox: Outbox
) -> None:
    index = issue_one(register)
    entry = register.credential(index)
    assert (entry.state, entry.generation) == (CredentialState.ACTIVE, 1)
    assert outbox_of(outbox) == [(index, StatusRecord(Colour.NONE, CredentialState.ACTIVE, 1))]


def test_a_new_credential_takes_over_the_status_of_its_holder(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    register.set_statuses([change(holder_id, Colour.RED, reason=31, test=500)], now=NOW)
    index = issue_one(register, holder_id)
    red = StatusRecord(Colour.RED, CredentialState.ACTIVE, 1, reason=31, last_negative_test_min=500)
    assert outbox_of(outbox) == [(index, red)]


def test_replacing_gives_the_next_generation_and_lifts_a_suspension(
    register: Register, outbox: Outbox
) -> None:
    index = issue_one(register)
    register.suspend_credential(index)
    assert register.replace_credential(index).generation == 2
    entry = register.credential(index)
    assert (entry.state, entry.generation) == (CredentialState.ACTIVE, 2)
    assert outbox_of(outbox)[-1] == (index, StatusRecord(Colour.NONE, CredentialState.ACTIVE, 2))


def test_no_replacement_brings_the_first_card_back_into_force(register: Register, outbox: Outbox) -> None:
    index = issue_one(register)
    for _ in range(255):
        register.replace_credential(index)
    assert register.credential(index).generation == 256
    assert outbox_of(outbox)[-1][1].generation == 0
    with pytest.raises(FailedPrecondition, match="issue a new one"):
        register.replace_credential(index)
    assert register.credential(index).generation == 256


def test_a_suspended_credential_can_be_resumed(register: Register, outbox: Outbox) -> None:
    index = issue_one(register)
    register.suspend_credential(index)
    register.resume_credential(index)
    states = [record.state for _, record in outbox_of(outbox)]
    assert states == [CredentialState.ACTIVE, CredentialState.SUSPENDED, CredentialState.ACTIVE]


def suspend(register: Register, index: int) -> object:
    return register.suspend_credential(index)


def resume(register: Register, index: int) -> object:
    return register.resume_credential(index)


def revoke(register: Register, index: int) -> object:
    return register.revoke_credential(index)


def replace(register: Register, index: int) -> object:
    return register.replace_credential(index)


def nothing(_register: Register, _index: int) -> None:
    return None


Step = Callable[[Register, int], object]


@pytest.mark.parametrize(
    ("before", "step", "state"),
    [
        (nothing, resume, "ACTIVE"),
        (suspend, suspend, "SUSPENDED"),
        (revoke, suspend, "REVOKED"),
        (revoke, resume, "REVOKED"),
        (revoke, revoke, "REVOKED"),
        (revoke, replace, "REVOKED"),
    ],
)
def test_a_step_that_the_state_forbids_is_refused_and_leaves_no_trace(
    register: Register, outbox: Outbox, before: Step, step: Step, state: str
) -> None:
    index = issue_one(register)
    before(register, index)
    entry, rows = register.credential(index), outbox_of(outbox)
    with pytest.raises(FailedPrecondition, match=f"credential {index} is {state}"):
        step(register, index)
    assert (register.credential(index), outbox_of(outbox)) == (entry, rows)


@pytest.mark.parametrize("step", [suspend, resume, revoke, replace, Register.credential])
def test_an_unknown_credential_is_not_found(register: Register, step: Step) -> None:
    with pytest.raises(NotFound, match="there is no credential 999"):
        step(register, NOBODY)


# Status


def test_a_status_covers_every_credential_of_its_holder_and_no_other(
    register: Register, outbox: Outbox
) -> None:
    holder_id, other = register.enrol_holders([holder(1), holder(2)], now=NOW)
    phone, _, paper = (
        issue_one(register, holder_id),
        issue_one(register, other),
        issue_one(register, holder_id, CredentialKind.PAPER),
    )
    before = len(outbox_of(outbox))
    register.set_statuses([change(holder_id, Colour.YELLOW, reason=5)], now=NOW)
    yellow = StatusRecord(Colour.YELLOW, CredentialState.ACTIVE, 1, reason=5)
    assert outbox_of(outbox)[before:] == [(phone, yellow), (paper, yellow)]


def test_a_status_leaves_state_and_generation_alone(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    index = issue_one(register, holder_id)
    register.replace_credential(index)
    register.suspend_credential(index)
    register.set_statuses([change(holder_id, Colour.GREEN, reason=0)], now=NOW)
    assert outbox_of(outbox)[-1][1] == StatusRecord(Colour.GREEN, CredentialState.SUSPENDED, 2)


def test_the_newest_test_stays_whatever_the_order_of_arrival(register: Register) -> None:
    holder_id = enrol_one(register)
    index = issue_one(register, holder_id)
    for test in (200, 300, 100, 0):
        register.set_statuses([change(holder_id, Colour.GREEN, test=test)], now=NOW)
    assert register.credential(index).status.last_negative_test_min == 300


def test_changes_in_one_list_are_carried_out_in_order(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    index = issue_one(register, holder_id)
    before = len(outbox_of(outbox))
    changes = [change(holder_id, Colour.RED, test=200), change(holder_id, Colour.GREEN, reason=9, test=100)]
    register.set_statuses(changes, now=NOW)
    assert register.credential(index).status == HolderStatus(Colour.GREEN, 9, 200)
    assert len(outbox_of(outbox)) == before + 1  # verifiers are told what holds in the end


def test_a_status_of_a_holder_without_credentials_has_nothing_to_publish(register: Register) -> None:
    assert register.set_statuses([change(enrol_one(register), Colour.RED)], now=NOW) == 0


def test_a_list_of_changes_is_carried_out_whole_or_not_at_all(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    index = issue_one(register, holder_id)
    rows = outbox_of(outbox)
    with pytest.raises(NotFound, match=r"changes\[1\].holder_id"):
        register.set_statuses([change(holder_id, Colour.RED), change(NOBODY, Colour.RED)], now=NOW)
    assert register.credential(index).status.colour is Colour.NONE
    assert outbox_of(outbox) == rows


def test_every_change_is_kept_and_the_status_is_their_sum(register: Register, tmp_path: Path) -> None:
    holder_id = enrol_one(register)
    index = issue_one(register, holder_id)
    changes = [
        change(holder_id, Colour.RED, reason=3, test=100),
        change(holder_id, Colour.YELLOW, reason=4, test=90),
        change(holder_id, Colour.GREEN, reason=0, test=120),
    ]
    for number, one in enumerate(changes):
        register.set_statuses([one], now=NOW + number)
    with sqlite3.connect(tmp_path / "register.db") as raw:
        kept = raw.execute(
            "SELECT holder_id, colour, reason, authority, operator, negative_test_min, changed_at "
            "FROM status_changes ORDER BY seq"
        ).fetchall()
    raw.close()
    status = HolderStatus(Colour.NONE, 0, 0)
    for number, row in enumerate(kept):
        assert row[-1] == NOW + number
        kept_change = StatusChange(row[0], Colour(row[1]), *row[2:6])
        assert kept_change == changes[number]
        status = status.after(kept_change)
    assert register.credential(index).status == status


@pytest.mark.parametrize("statement", ["UPDATE status_changes SET colour = 1", "DELETE FROM status_changes"])
def test_the_history_refuses_to_be_changed_by_any_program(
    register: Register, tmp_path: Path, statement: str
) -> None:
    register.set_statuses([change(enrol_one(register), Colour.RED)], now=NOW)
    raw = sqlite3.connect(tmp_path / "register.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    raw.close()


# Outbox


def test_the_outbox_keeps_its_order_and_never_reuses_a_number(register: Register, outbox: Outbox) -> None:
    index = issue_one(register)
    register.suspend_credential(index)
    first = [row.seq for row in outbox.next_rows(10)]
    outbox.settle(first[-1], {0: FeedPosition("e1", "1-0")})
    assert outbox.next_rows(10) == []
    register.resume_credential(index)
    assert [*first, *(row.seq for row in outbox.next_rows(10))] == [1, 2, 3]


def test_records_with_the_highest_bit_are_kept_exactly(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    issue_one(register, holder_id)
    register.set_statuses([change(holder_id, Colour.GREEN, reason=65_535, test=2**32 - 1)], now=NOW)
    last = StatusRecord(Colour.GREEN, CredentialState.ACTIVE, 1, 65_535, 2**32 - 1)
    assert outbox.next_rows(10)[-1].record == pack(last)  # bit 63 is set: negative in SQL


def test_a_snapshot_is_of_one_instant(register: Register, outbox: Outbox) -> None:
    holder_id = enrol_one(register)
    for _ in range(3):
        issue_one(register, holder_id)
    with outbox.snapshot() as snapshot:
        register.set_statuses([change(holder_id, Colour.RED)], now=NOW)
        records = dict(snapshot.records)
    assert {index: unpack(record).colour for index, record in records.items()} == dict.fromkeys(
        (1, 2, 3), Colour.NONE
    )
    assert (snapshot.record_count, snapshot.last_seq) == (3, 3)


# The file


def test_a_register_is_for_its_owner_alone(register: Register, tmp_path: Path) -> None:
    enrol_one(register)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("register.db*")}
    assert modes == dict.fromkeys(("register.db", "register.db-wal", "register.db-shm"), 0o600)


def test_what_was_acknowledged_is_synced_to_disk(database: Database) -> None:
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_register_is_never_overwritten(database: Database, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Database.create(tmp_path / "register.db")


def test_a_register_is_opened_again(register: Register, tmp_path: Path) -> None:
    enrol_one(register)
    Database.open(tmp_path / "register.db").close()


def test_a_missing_register_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="gatelight-issuer init"):
        Database.open(tmp_path / "register.db")
    assert list(tmp_path.iterdir()) == []


def test_a_register_of_another_version_is_refused(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    with pytest.raises(SchemaMismatch, match="schema 99"):
        Database.open(tmp_path / "register.db")


def test_a_file_that_is_no_register_is_refused(tmp_path: Path) -> None:
    (tmp_path / "register.db").touch()
    with pytest.raises(SchemaMismatch, match="not a register"):
        Database.open(tmp_path / "register.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "register.db").write_bytes(b"nonsense" * 1_000)
    with pytest.raises(RegisterUnavailable, match="not a database"):
        Database.open(tmp_path / "register.db")


def test_a_locked_register_is_unavailable_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, register: Register
) -> None:
    monkeypatch.setattr(database_module, "_LOCK_WAIT_S", 0.05)
    impatient = Database(tmp_path / "register.db")
    other = sqlite3.connect(tmp_path / "register.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegisterUnavailable, match="locked"), impatient.write():
        pass
    other.close()
    with impatient.write():
        pass
    impatient.close()


def test_an_error_of_the_database_carries_no_parameters(database: Database) -> None:
    with pytest.raises(RegisterUnavailable) as caught, database.write() as connection:
        connection.exec_driver_sql("INSERT INTO holders (name) VALUES (?)", ("CANARY",))
    assert "CANARY" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_many_threads_write_without_losing_a_change(register: Register, outbox: Outbox) -> None:
    ids = register.enrol_holders([holder(number) for number in range(8)], now=NOW)
    for holder_id in ids:
        issue_one(register, holder_id)

    def work(holder_id: int) -> None:
        for test in range(1, 26):
            register.set_statuses([change(holder_id, Colour.GREEN, test=test)], now=NOW)

    threads = [threading.Thread(target=work, args=(holder_id,)) for holder_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.seq for row in outbox.next_rows(1_000)] == list(range(1, 8 + 8 * 25 + 1))
    for index in range(1, 9):
        assert register.credential(index).status.last_negative_test_min == 25
