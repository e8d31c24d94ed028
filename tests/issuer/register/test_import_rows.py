"""What the imports share, on SQLite and PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import func, select

from issuer.register.database import Database
from issuer.register.import_rows import Outcome, find_rows, ids_by_external_id, insert_rows, take_ids
from issuer.register.schema import holders

_COLUMNS = (
    holders.c.id,
    holders.c.name,
    holders.c.document_type,
    holders.c.document_last_four,
    holders.c.region,
    holders.c.external_id,
    holders.c.enrolled_at,
)


def row(number: int, external_id: str | None = None) -> list[Any]:
    return [number, "", "", "", "", external_id, 0]


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_500])
def test_any_number_of_rows_is_inserted(database: Database, count: int) -> None:
    with database.write() as connection:
        insert_rows(connection, _COLUMNS, [row(number) for number in range(1, count + 1)])
    with database.read() as connection:
        found = connection.execute(select(func.count(), func.max(holders.c.id)).select_from(holders)).one()
    assert tuple(found) == (count, count or None)


def test_rows_are_found_by_any_of_many_values_and_none_is_skipped(database: Database) -> None:
    with database.write() as connection:
        insert_rows(connection, _COLUMNS, [row(1, "a"), row(2), row(3, "c")])
        assert ids_by_external_id(connection, holders, ["c", None, "x", "a", "a"]) == {"a": 1, "c": 3}
        assert find_rows(connection, _COLUMNS, holders.c.id, [None]) == ()
        assert find_rows(connection, _COLUMNS, holders.c.external_id, []) == ()


def test_ids_are_taken_in_order_and_only_once(database: Database) -> None:
    with database.write() as connection:
        assert list(take_ids(connection, holders.c.id, 0)) == []
        first = list(take_ids(connection, holders.c.id, 3))
        insert_rows(connection, _COLUMNS, [row(number) for number in first])
    with database.write() as connection:
        assert first + list(take_ids(connection, holders.c.id, 2)) == [1, 2, 3, 4, 5]


def test_an_outcome_has_an_id_for_every_row_that_is_in() -> None:
    outcome = Outcome(5)
    outcome.add(0, 0)
    outcome.keep(1, 17)
    outcome.refuse(2, "name: expected it")
    outcome.add(3, 1)
    outcome.repeat(4, 0)
    entered = outcome.entered([30, 31], 9)
    assert list(entered.ids) == [30, 17, 0, 31, 30]
    assert (entered.known, entered.refused, entered.outbox_seq) == (2, [(2, "name: expected it")], 9)
