"""The history: its bytes are pinned, and whatever is done to it behind the issuer's back is found."""

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from issuer.errors import RegisterUnavailable
from issuer.register import history
from issuer.register.database import Database
from issuer.register.entries import ChangeSource
from issuer.register.history import (
    ZERO_HASH,
    ChangeRow,
    Finding,
    Head,
    Progress,
    append,
    encode,
    hash_change,
    verify,
)
from issuer.register.schema import history_head, holder_status, status_changes
from issuer.register.statuses import Statuses
from tests.issuer.register.people import NOW, enrol, green, negative_test, yellow

_EXAMPLE = ChangeRow(
    holder_id=17,
    colour=2,
    reason=12,
    negative_test_min=29_999_000,
    valid_until=1_800_600_000,
    authority="疾控中心",
    operator="clerk",
    evidence="file 4",
    source=1,
    approval_id=None,
    external_id=None,
    changed_at=NOW,
)


@pytest.fixture
def statuses(database: Database) -> Statuses:
    return Statuses(database=database)


@pytest.fixture
def holder_ids(database: Database, statuses: Statuses) -> list[int]:
    """Three holders with five changes between them."""
    ids = list(enrol(database, 3))
    first, second, third = ids
    for change in (
        yellow(first),
        yellow(second),
        negative_test(first, 29_000_000),
        green(first),
        yellow(third),
    ):
        statuses.set([change], operator="clerk", source=ChangeSource.MANUAL, now=NOW)
    return ids


def finding(database: Database, *, expected_head: Head | None = None) -> Finding:
    *_, last = verify(database, expected_head=expected_head)
    assert isinstance(last, Finding)
    return last


def head(database: Database) -> Head:
    with database.read() as connection:
        return history.read_head(connection) or Head(-1, b"")


def tamper(database: Database, change: Callable[[Connection], object]) -> None:
    """Do what somebody could who owns the database: first take the triggers away."""
    with database.write() as connection:
        if database.dialect == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'status_changes'"
            for name in connection.scalars(text(query)).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE status_changes DISABLE TRIGGER USER"))
        change(connection)


def test_the_bytes_of_a_change_are_pinned() -> None:
    assert encode(1, _EXAMPLE).hex() == (
        "474c4831"
        "0000000000000001" "0000000000000011" "0000000000000002" "000000000000000c"
        "0000000001c9bf98" "000000006b52f9c0" "0000000000000001" "000000006b49d200"
        "ffffffffffffffff"
        "0000000c" "e796bee68ea7e4b8ade5bf83"
        "00000005" "636c65726b"
        "00000006" "66696c652034"
        "ffffffff"
    )  # fmt: skip


def test_the_hash_of_a_change_is_pinned() -> None:
    assert hash_change(ZERO_HASH, 1, _EXAMPLE).hex() == (
        "ecbb35168619e39b72ccdebaa4204a2b6699496f4639e7c6acd6a000a9e19853"
    )


def test_the_hash_is_that_of_the_previous_hash_and_the_bytes() -> None:
    previous = hashlib.sha256(b"one before").digest()
    assert hash_change(previous, 2, _EXAMPLE) == hashlib.sha256(previous + encode(2, _EXAMPLE)).digest()


@pytest.mark.parametrize(
    "other",
    [
        _EXAMPLE._replace(authority="疾控中心c", operator="lerk"),
        _EXAMPLE._replace(external_id=""),
        _EXAMPLE._replace(approval_id=0),
        _EXAMPLE._replace(evidence="", external_id="file 4"),
        _EXAMPLE._replace(valid_until=_EXAMPLE.changed_at, changed_at=_EXAMPLE.valid_until),
    ],
)
def test_no_two_changes_have_the_same_bytes(other: ChangeRow) -> None:
    assert encode(1, other) != encode(1, _EXAMPLE)


@pytest.mark.parametrize("field", ChangeRow._fields)
def test_every_field_goes_into_the_hash(field: str) -> None:
    value = getattr(_EXAMPLE, field)
    other: Any = f"{value}x" if isinstance(value, str) or field == "external_id" else (value or 0) + 1
    changed: Any = {field: other}
    assert encode(1, _EXAMPLE._replace(**changed)) != encode(1, _EXAMPLE)


def test_seqs_have_no_gaps_and_each_change_has_the_hash_of_the_one_before(
    database: Database, holder_ids: list[int]
) -> None:
    with database.read() as connection:
        rows = connection.execute(select(status_changes).order_by(status_changes.c.seq)).all()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.previous_hash for row in rows] == [ZERO_HASH, *(row.own_hash for row in rows[:-1])]
    assert head(database) == Head(5, rows[-1].own_hash)


def test_a_transaction_that_is_undone_leaves_no_gap(database: Database, holder_ids: list[int]) -> None:
    row = _EXAMPLE._replace(holder_id=holder_ids[0])
    with contextlib.suppress(InterruptedError), database.write() as connection:
        assert append(connection, [row, row]) == range(6, 8)
        raise InterruptedError
    with database.write() as connection:
        assert append(connection, [row]) == range(6, 7)


def test_an_empty_history_verifies(database: Database) -> None:
    assert finding(database) == Finding(0, Head(0, ZERO_HASH))


def test_a_history_verifies(database: Database, holder_ids: list[int]) -> None:
    assert finding(database) == Finding(5, head(database))


def test_a_verification_tells_how_far_it_is(
    database: Database, holder_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_ROWS_PER_PAGE", 2)
    *progress, last = verify(database)
    assert progress == [Progress(2, 5), Progress(4, 5), Progress(5, 5)]
    assert last == Finding(5, head(database))


def test_changes_that_are_appended_meanwhile_do_not_disturb_it(
    database: Database, statuses: Statuses, holder_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_ROWS_PER_PAGE", 2)
    before = head(database)
    verification = verify(database)
    assert next(verification) == Progress(2, 5)
    statuses.set([green(holder_ids[1])], operator="clerk", source=ChangeSource.MANUAL, now=NOW)
    *_, last = verification
    assert last == Finding(5, before)


@pytest.mark.parametrize(
    "edit",
    [
        {"colour": 1},
        {"reason": 11},
        {"authority": "nobody"},
        {"evidence": "another file"},
        {"operator": "another clerk"},
        {"changed_at": NOW - 1},
        {"valid_until": 1},
        {"external_id": "x"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_a_change_that_was_edited_is_found(
    database: Database, holder_ids: list[int], edit: dict[str, object]
) -> None:
    tamper(
        database, lambda c: c.execute(update(status_changes).where(status_changes.c.seq == 2).values(edit))
    )
    found = finding(database)
    assert (found.verified, found.broken_seq, found.problem) == (1, 2, "change 2 was edited")


def test_an_edited_change_with_a_new_hash_of_its_own_is_found_at_the_next(
    database: Database, holder_ids: list[int]
) -> None:
    def edit(connection: Connection) -> None:
        row = connection.execute(select(status_changes).where(status_changes.c.seq == 2)).one()
        values = dict(
            zip(ChangeRow._fields, ChangeRow(**{f: getattr(row, f) for f in ChangeRow._fields}), strict=True)
        )
        edited = ChangeRow(**{**values, "reason": 11})  # type: ignore[arg-type]
        new_hash = hash_change(row.previous_hash, 2, edited)
        this_one = update(status_changes).where(status_changes.c.seq == 2)
        connection.execute(this_one.values(reason=11, own_hash=new_hash))

    tamper(database, edit)
    found = finding(database)
    assert (found.broken_seq, found.problem) == (3, "change 3 does not follow on the one before it")


def test_a_change_that_was_taken_out_is_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(delete(status_changes).where(status_changes.c.seq == 3)))
    found = finding(database)
    assert (found.verified, found.broken_seq, found.problem) == (2, 3, "change 3 is missing")


def test_the_first_change_taken_out_is_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(delete(status_changes).where(status_changes.c.seq == 1)))
    assert finding(database).problem == "change 1 is missing"


def test_a_tail_that_was_taken_off_is_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(delete(status_changes).where(status_changes.c.seq > 3)))
    found = finding(database)
    assert (found.broken_seq, found.problem) == (4, "changes 4 to 5 are missing")


def test_all_changes_taken_out_are_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(delete(status_changes)))
    assert finding(database).problem == "changes 1 to 5 are missing"


def test_a_tail_taken_off_together_with_the_head_is_found_by_a_head_that_was_noted(
    database: Database, holder_ids: list[int]
) -> None:
    noted = head(database)

    def cut(connection: Connection) -> None:
        connection.execute(delete(status_changes).where(status_changes.c.seq > 3))
        own_hash = connection.scalar(select(status_changes.c.own_hash).where(status_changes.c.seq == 3))
        connection.execute(update(history_head).values(seq=3, own_hash=own_hash))

    tamper(database, cut)
    found = finding(database, expected_head=noted)
    assert (found.broken_seq, found.problem) == (4, "the history ends at 3, before 5, which was noted")


def test_a_history_that_was_written_anew_is_found_by_a_head_that_was_noted(
    database: Database, holder_ids: list[int]
) -> None:
    noted = head(database)

    def rewrite(connection: Connection) -> None:
        rows = connection.execute(select(status_changes).order_by(status_changes.c.seq)).all()
        connection.execute(delete(status_changes))
        connection.execute(update(history_head).values(seq=0, own_hash=ZERO_HASH))
        changes = [ChangeRow(**{f: getattr(row, f) for f in ChangeRow._fields}) for row in rows]
        append(connection, [changes[0]._replace(evidence="as we like it"), *changes[1:]])

    tamper(database, rewrite)
    assert finding(database).problem == ""
    found = finding(database, expected_head=noted)
    assert (found.broken_seq, found.problem) == (5, "change 5 is another than when its hash was noted")


def test_a_noted_head_that_is_still_in_the_chain_is_no_finding(
    database: Database, statuses: Statuses, holder_ids: list[int]
) -> None:
    noted = head(database)
    assert finding(database, expected_head=noted).problem == ""
    statuses.set([green(holder_ids[1])], operator="clerk", source=ChangeSource.MANUAL, now=NOW)
    assert finding(database, expected_head=noted).problem == ""


def test_a_change_that_was_put_in_behind_the_head_is_found(database: Database, holder_ids: list[int]) -> None:
    def put_in(connection: Connection) -> None:
        row = connection.execute(select(status_changes).where(status_changes.c.seq == 5)).mappings().one()
        connection.execute(insert(status_changes).values({**row, "seq": 6}))

    tamper(database, put_in)
    found = finding(database)
    assert (found.broken_seq, found.problem) == (6, "change 6 stands behind the head of the history")


def test_a_change_that_was_put_in_before_the_first_is_found(
    database: Database, holder_ids: list[int]
) -> None:
    def put_in(connection: Connection) -> None:
        row = connection.execute(select(status_changes).where(status_changes.c.seq == 5)).mappings().one()
        connection.execute(insert(status_changes).values({**row, "seq": 0}))

    tamper(database, put_in)
    assert finding(database).problem == "change 0 stands before the first"


def test_a_change_that_was_put_in_between_is_found(database: Database, holder_ids: list[int]) -> None:
    def put_in(connection: Connection) -> None:
        for seq in (5, 4, 3):
            connection.execute(update(status_changes).where(status_changes.c.seq == seq).values(seq=seq + 1))
        row = connection.execute(select(status_changes).where(status_changes.c.seq == 2)).mappings().one()
        connection.execute(insert(status_changes).values({**row, "seq": 3}))
        connection.execute(update(history_head).values(seq=6))

    tamper(database, put_in)
    assert finding(database).broken_seq == 3


def test_two_changes_in_the_other_order_are_found(database: Database, holder_ids: list[int]) -> None:
    def swap(connection: Connection) -> None:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            connection.execute(update(status_changes).where(status_changes.c.seq == old).values(seq=new))

    tamper(database, swap)
    found = finding(database)
    assert (found.broken_seq, found.problem) == (2, "change 2 does not follow on the one before it")


def test_a_head_with_another_hash_is_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(update(history_head).values(own_hash=ZERO_HASH)))
    assert finding(database).problem == "the head of the history is not the hash of change 5"


def test_a_missing_head_is_found(database: Database, holder_ids: list[int]) -> None:
    tamper(database, lambda c: c.execute(delete(history_head)))
    assert finding(database).problem == "the head of the history is missing"


def test_nothing_is_appended_without_a_head(
    database: Database, statuses: Statuses, holder_ids: list[int]
) -> None:
    tamper(database, lambda c: c.execute(delete(history_head)))
    with pytest.raises(RegisterUnavailable, match="the head of the history is missing"):
        statuses.set([green(holder_ids[0])], operator="clerk", source=ChangeSource.MANUAL, now=NOW)


@pytest.mark.parametrize(
    "edit", [{"colour": 1}, {"reason": 11}, {"last_negative_test_min": 1}, {"valid_until": NOW}], ids=str
)
def test_a_status_that_is_not_the_sum_of_its_changes_is_found(
    database: Database, holder_ids: list[int], edit: dict[str, int]
) -> None:
    second = holder_ids[1]
    tamper(
        database,
        lambda c: c.execute(update(holder_status).where(holder_status.c.holder_id == second).values(edit)),
    )
    assert finding(database).problem == f"the status of holder {second} is not the sum of its changes"


def test_a_status_that_was_taken_out_is_found(database: Database, holder_ids: list[int]) -> None:
    first = holder_ids[0]
    tamper(database, lambda c: c.execute(delete(holder_status).where(holder_status.c.holder_id == first)))
    assert finding(database).problem == f"the status of holder {first} is not the sum of its changes"


def test_a_status_without_any_change_is_found(database: Database, holder_ids: list[int]) -> None:
    (fourth,) = enrol(database)
    row = insert(holder_status).values(holder_id=fourth, colour=1, reason=0, last_negative_test_min=0)
    tamper(database, lambda c: c.execute(row))
    assert finding(database).problem == f"the status of holder {fourth} is not the sum of its changes"


@pytest.mark.parametrize("page", [1, 2, 3])
def test_statuses_are_compared_on_every_page(
    database: Database, holder_ids: list[int], monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(history, "_HOLDERS_PER_PAGE", page)
    assert finding(database).problem == ""
    third = holder_ids[2]
    edit = update(holder_status).where(holder_status.c.holder_id == third).values(colour=1)
    tamper(database, lambda c: c.execute(edit))
    assert finding(database).problem == f"the status of holder {third} is not the sum of its changes"


@pytest.mark.parametrize(
    "statement",
    [
        update(status_changes).where(status_changes.c.seq == 2).values(evidence="edited"),
        delete(status_changes).where(status_changes.c.seq == 5),
    ],
    ids=["update", "delete"],
)
def test_the_database_refuses_to_edit_the_history(
    database: Database, holder_ids: list[int], statement: object
) -> None:
    with pytest.raises(RegisterUnavailable), database.write() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    assert finding(database).problem == ""
